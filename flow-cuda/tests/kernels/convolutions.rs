use flow_cuda::kernels::convolution::Convolution;
use flow_cuda::kernels::product::{add_product, product, Epilogue, Function, Matrix};
use flow_cuda::kernels::rows::{accumulate, fill, gather, multiply, Rows};
use flow_cuda::{Op, Slot};

use super::{close_sums, numbers, Trial};

/// For each entry of an image's patches its place in the image, −1 outside.
fn places(c: Convolution) -> Vec<isize> {
    let Convolution { height, width, side, inputs, .. } = c;
    let reach = side / 2;
    let mut places = Vec::new();
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        for (dy, dx) in (0..side).flat_map(|dy| (0..side).map(move |dx| (dy, dx))) {
            let (row, column) = ((y + dy).wrapping_sub(reach), (x + dx).wrapping_sub(reach));
            let inside = row < height && column < width;
            let at = |channel| ((row * width + column) * inputs + channel) as isize;
            places.extend((0..inputs).map(|channel| if inside { at(channel) } else { -1 }));
        }
    }
    places
}

/// Each pair of an output and an input of an image with the weight's entry between them.
fn each(c: Convolution, mut job: impl FnMut(usize, usize, usize)) {
    let entries = c.side * c.side * c.inputs;
    for (at, &place) in places(c).iter().enumerate().filter(|(_, &place)| place >= 0) {
        let (pixel, entry) = (at / entries, at % entries);
        for output in 0..c.outputs {
            job(pixel * c.outputs + output, place as usize, output * entries + entry);
        }
    }
}

struct Case {
    c: Convolution,
    images: Vec<f32>,
    weight: Vec<f32>,
    by_out: Vec<f32>,
}

impl Case {
    fn new(c: Convolution) -> Self {
        let pixels = c.images * c.height * c.width;
        Self {
            c,
            images: numbers(1, pixels * c.inputs),
            weight: numbers(2, c.outputs * c.side * c.side * c.inputs),
            by_out: numbers(3, pixels * c.outputs),
        }
    }

    /// The output, and the gradients by images and weight, in f64.
    fn oracle(&self) -> [Vec<f64>; 3] {
        let Self { c, images, weight, by_out } = self;
        let mut out = vec![0.0; by_out.len()];
        let (mut by_images, mut by_weight) = (vec![0.0; images.len()], vec![0.0; weight.len()]);
        let (reads, writes) = (images.len() / c.images, by_out.len() / c.images);
        for image in 0..c.images {
            each(*c, |o, i, w| {
                let (o, i) = (image * writes + o, image * reads + i);
                let [x, v, g] = [images[i], weight[w], by_out[o]].map(f64::from);
                out[o] += x * v;
                by_images[i] += g * v;
                by_weight[w] += g * x;
            });
        }
        [out, by_images, by_weight]
    }
}

/// What a test reads: output, slopes, and the gradients by images and weight.
type Found = [Vec<f32>; 4];

/// The same operands for both paths, `odd` numbers behind the start of their lines.
fn run(
    case: &Case,
    odd: usize,
    record: impl FnOnce(&mut Trial, [Slot; 5], [Slot; 4]) -> Vec<Op>,
) -> Option<Found> {
    let mut trial = Trial::new()?;
    let Case { c, images, weight, by_out } = case;
    let mut put = |numbers: &[f32]| {
        let slot = trial.put(&[vec![7.0; odd], numbers.to_vec()].concat());
        slot.part(odd, numbers.len())
    };
    let (bias, factor) = (numbers(4, c.outputs), numbers(5, images.len()));
    let operands = [put(images), put(weight), put(by_out), put(&bias), put(&factor)];
    let out = [0; 2].map(|_| trial.room(by_out.len()));
    let by_images = trial.room(images.len());
    let by_weight = trial.put(&numbers(6, weight.len()));
    let results = [out[0], out[1], by_images, by_weight];
    let ops = record(&mut trial, operands, results);
    trial.run(ops, &results).try_into().ok()
}

fn implicit(c: Convolution) -> impl FnOnce(&mut Trial, [Slot; 5], [Slot; 4]) -> Vec<Op> {
    move |trial, [images, weight, by_out, bias, factor], [out, slopes, by_images, by_weight]| {
        let (function, slopes) = (Some(Function::Swish), Some(slopes));
        let epilogue = Epilogue { bias: Some(bias), function, slopes, ..Epilogue::default() };
        let mut ops = vec![
            c.forward(out, images, weight, epilogue),
            c.by_input(by_images, by_out, weight, Some(factor)),
        ];
        ops.extend(c.add_by_weight(&mut trial.recording, by_weight, by_out, images));
        ops
    }
}

/// The same with patches in memory.
fn gathered(c: Convolution) -> impl FnOnce(&mut Trial, [Slot; 5], [Slot; 4]) -> Vec<Op> {
    move |trial, [images, weight, by_out, bias, factor], [out, slopes, by_images, by_weight]| {
        let (pixels, entries) = (c.height * c.width, c.side * c.side * c.inputs);
        let recording = &mut trial.recording;
        let [patches, by_patches] = [0; 2].map(|_| recording.scratch(c.images * pixels * entries));
        let places = places(c);
        let from = recording.table(places.iter().copied());
        let (image, none) = (Rows::new(images, pixels * c.inputs), Rows::new(Slot::NONE, 0));
        let matrix = Matrix::new(weight, c.outputs, entries);
        let left = Matrix::new(patches, c.images * pixels, entries);
        let gradient = Matrix::new(by_out, c.images * pixels, c.outputs);
        let (function, slopes) = (Some(Function::Swish), Some(slopes));
        let epilogue = Epilogue { bias: Some(bias), function, slopes, ..Epilogue::default() };
        let mut ops = vec![
            gather(c.images, image, none, from, patches),
            product(out, left, matrix.t(), epilogue),
            product(by_patches, gradient, matrix, Epilogue::default()),
            fill(by_images, 0.0),
        ];
        let mut pairs: Vec<(usize, Vec<usize>)> =
            (0..pixels * c.inputs).map(|entry| (entry, Vec::new())).collect();
        for (at, &place) in places.iter().enumerate().filter(|(_, &place)| place >= 0) {
            pairs[place as usize].1.push(at);
        }
        let into = Rows::new(by_images, pixels * c.inputs);
        let values = Rows::new(by_patches, pixels * entries);
        ops.push(accumulate(recording, c.images, into, values, &pairs));
        ops.push(multiply(by_images, factor));
        ops.extend(add_product(recording, by_weight, gradient.t(), left));
        ops
    }
}

/// Against the definition in f64.
fn check(case: &Case, found: &Found, what: &str) {
    let (c, [out, by_images, by_weight]) = (case.c, case.oracle());
    let (bias, factor) = (numbers(4, c.outputs), numbers(5, case.images.len()));
    let bent = |v: f64| {
        let logistic = 1.0 / (1.0 + (-v).exp());
        (v * logistic, logistic * (1.0 + v * (1.0 - logistic)))
    };
    let biased = out.iter().enumerate().map(|(i, v)| v + f64::from(bias[i % c.outputs]));
    let (values, slopes): (Vec<f64>, Vec<f64>) = biased.map(bent).unzip();
    let taps = c.side * c.side;
    close_sums(&format!("{what}: output"), &found[0], &values, taps * c.inputs);
    close_sums(&format!("{what}: slopes"), &found[1], &slopes, taps * c.inputs);
    let scaled: Vec<f64> = by_images.iter().zip(&factor).map(|(v, &f)| v * f64::from(f)).collect();
    close_sums(&format!("{what}: by the images"), &found[2], &scaled, taps * c.outputs);
    let start = numbers(6, by_weight.len());
    let added: Vec<f64> = by_weight.iter().zip(&start).map(|(v, &s)| v + f64::from(s)).collect();
    let terms = c.images * c.height * c.width;
    close_sums(&format!("{what}: by the weight"), &found[3], &added, terms);
}

fn convolution([images, height, width, side, inputs, outputs]: [usize; 6]) -> Convolution {
    Convolution { images, height, width, side, inputs, outputs }
}

/// Channels that are read four at once and such that are not, images smaller than the square, and the
/// last numbers of a tile in the middle of an image.
#[test]
fn convolutions_are_those_of_the_definition() {
    let channels = [(1, 1), (3, 5), (12, 3), (4, 128), (128, 6), (3, 12), (5, 33)];
    for (inputs, outputs) in channels {
        for [images, height, width, side] in
            [[1, 1, 1, 3], [2, 5, 3, 3], [3, 4, 7, 1], [2, 2, 3, 5], [5, 6, 6, 3]]
        {
            let case = Case::new(convolution([images, height, width, side, inputs, outputs]));
            for odd in [0, 1] {
                let Some(found) = run(&case, odd, implicit(case.c)) else { return };
                check(&case, &found, &format!("{:?}, {odd} off", case.c));
            }
        }
    }
}

/// The largest convolutions of the flows here, and pixels for grids of large tiles.
#[test]
fn large_convolutions_are_those_of_the_definition() {
    let cases = [
        ([1, 5, 7, 3, 128, 128], [false, false]),
        ([5, 58, 57, 3, 1, 33], [true, false]),
        ([130, 11, 12, 1, 36, 3], [false, true]),
        ([129, 16, 8, 3, 36, 1], [false, true]),
    ];
    for (sizes, large) in cases {
        let case = Case::new(convolution(sizes));
        let mut names = Vec::new();
        let found = run(&case, 0, |trial, operands, results| {
            let ops = implicit(case.c)(trial, operands, results);
            names.extend(ops.iter().map(|op| op.kernel.name));
            ops
        });
        let Some(found) = found else { return };
        let of = |name: &'static str, large: &'static str, is| if is { large } else { name };
        assert_eq!(names[0], of("convolution", "large_convolution", large[0]));
        let by_input = ("convolution_by_input", "large_convolution_by_input");
        assert_eq!(names[1], of(by_input.0, by_input.1, large[1]));
        check(&case, &found, &format!("{:?}", case.c));
    }
}

/// A weight for a grid of large tiles: two images are enough for its gradient.
#[test]
fn gradients_by_large_weights_are_those_of_the_definition() {
    let case = Case::new(convolution([2, 3, 3, 3, 124, 1030]));
    let Some(mut trial) = Trial::new() else { return };
    let [images, by_out] = [&case.images, &case.by_out].map(|numbers| trial.put(numbers));
    let by_weight = trial.put(&vec![0.0; case.weight.len()]);
    let ops = case.c.add_by_weight(&mut trial.recording, by_weight, by_out, images);
    assert_eq!(ops[0].kernel.name, "large_convolution_by_weight");
    let found = trial.run(ops, &[by_weight]);
    close_sums("by the weight", &found[0], &case.oracle()[2], 18);
}

/// The same numbers to the last bits: both paths add in the same order but for the gradient by images.
#[test]
fn convolutions_are_those_of_gathered_patches() {
    for sizes in [[2, 5, 3, 3, 3, 12], [3, 4, 4, 3, 12, 128], [1, 7, 5, 1, 128, 3]] {
        let case = Case::new(convolution(sizes));
        let found = run(&case, 0, implicit(case.c));
        let want = run(&case, 0, gathered(case.c));
        let (Some(found), Some(want)) = (found, want) else { return };
        for (i, what) in ["output", "slopes"].iter().enumerate() {
            assert_eq!(found[i], want[i], "{:?}: {what}", case.c);
        }
        let want = |i: usize| want[i].iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        let terms = case.c.side * case.c.side * case.c.outputs;
        close_sums("by the images", &found[2], &want(2), 2 * terms);
        assert_eq!(found[3], want(3).iter().map(|&v| v as f32).collect::<Vec<_>>());
    }
}
