use super::*;

fn number(i: usize) -> f64 {
    ((i * 37 + 11) % 23) as f64 - 11.0
}

/// One layer on a few rows, with everything that belongs to it as rows and as runs.
struct Case {
    layout: Runs,
    kernel: usize,
    rows: usize,
    sides: (usize, usize),
    outputs: usize,
    inputs: usize,
    weights: Vec<f64>,
}

impl Case {
    fn new(
        rows: usize,
        sides: (usize, usize),
        kernel: usize,
        outputs: usize,
        inputs: usize,
    ) -> Self {
        let layout = if (sides, kernel) == ((1, 1), 1) {
            Runs::of(rows)
        } else {
            // Another layer of the same net may reach farther.
            Runs::of_images(rows, kernel / 2 + rows % 2, sides)
        };
        let weights = (0..outputs * kernel * kernel * inputs).map(number).collect();
        Self { layout, kernel, rows, sides, outputs, inputs, weights }
    }

    fn weight(&self) -> Weight<'_, f64> {
        Weight::convolution(&self.weights, self.outputs, self.inputs, self.kernel)
    }

    fn pixels(&self) -> usize {
        self.sides.0 * self.sides.1
    }

    fn runs(&self, features: usize, start: usize) -> (Vec<f64>, Vec<f64>) {
        let each = self.pixels() * features;
        let rows: Vec<f64> = (0..self.rows * each).map(|i| number(i + start)).collect();
        let mut runs = vec![f64::NAN; self.layout.len(features)];
        self.layout.gather(&rows, each, &mut runs);
        (rows, runs)
    }

    fn rows_of(&self, runs: &[f64], features: usize) -> Vec<f64> {
        let each = self.pixels() * features;
        let mut rows = vec![f64::NAN; self.rows * each];
        self.layout.scatter(runs, each, &mut rows);
        rows
    }

    /// Calls `each(place of the weight, of the output, of the input)` for every product of the
    /// layer, as three places in row-major buffers.
    fn products(&self, mut each: impl FnMut(usize, usize, usize)) {
        let (height, width) = self.sides;
        let reach = self.kernel / 2;
        for row in 0..self.rows {
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                for (dy, dx) in (0..self.kernel).flat_map(|y| (0..self.kernel).map(move |x| (y, x)))
                {
                    let (from_y, from_x) = (y + dy, x + dx);
                    if !(reach..height + reach).contains(&from_y)
                        || !(reach..width + reach).contains(&from_x)
                    {
                        continue;
                    }
                    let to = (row * height + y) * width + x;
                    let from = (row * height + from_y - reach) * width + from_x - reach;
                    for (o, i) in
                        (0..self.outputs).flat_map(|o| (0..self.inputs).map(move |i| (o, i)))
                    {
                        let tap = (o * self.kernel + dy) * self.kernel + dx;
                        each(tap * self.inputs + i, to * self.outputs + o, from * self.inputs + i);
                    }
                }
            }
        }
    }

    fn check(&self) {
        let bias: Vec<f64> = (0..self.outputs).map(|i| number(i + 3)).collect();
        let (x, x_runs) = self.runs(self.inputs, 5);
        let (y, y_runs) = self.runs(self.outputs, 8);
        let layout = self.layout;
        let name = format!(
            "{} × {} features, kernel {}, {} rows of {:?}",
            self.outputs, self.inputs, self.kernel, self.rows, self.sides
        );

        let mut want = vec![0.0; y.len()];
        self.products(|w, out, input| want[out] += self.weights[w] * x[input]);
        let mut out = vec![f64::NAN; y_runs.len()];
        product(layout, &mut out, self.weight(), &x_runs, None);
        assert_eq!(self.rows_of(&out, self.outputs), want, "{name}");
        product(layout, &mut out, self.weight(), &x_runs, Some(&bias));
        want.iter_mut().enumerate().for_each(|(k, v)| *v += bias[k % self.outputs]);
        assert_eq!(self.rows_of(&out, self.outputs), want, "{name} with bias");

        let mut want = vec![0.0; x.len()];
        self.products(|w, out, input| want[input] += self.weights[w] * y[out]);
        let mut input = vec![f64::NAN; x_runs.len()];
        product_transposed(layout, &mut input, self.weight(), &y_runs);
        assert_eq!(self.rows_of(&input, self.inputs), want, "{name} transposed");

        let mut want = vec![1.0; self.weights.len()];
        self.products(|w, out, input| want[w] += y[out] * x[input]);
        let mut sums = vec![1.0; self.weights.len()];
        add_outer(layout, &mut sums, self.kernel, &y_runs, &x_runs);
        assert_eq!(sums, want, "gradient of {name}");

        let mut want = vec![1.0; self.outputs];
        y.iter().enumerate().for_each(|(k, &v)| want[k % self.outputs] += v);
        let mut sums = vec![1.0; self.outputs];
        add_sums(layout, &mut sums, &y_runs);
        assert_eq!(sums, want, "sums of {name}");
    }
}

#[test]
fn linear_layers_are_sums_of_products() {
    for rows in [0, 1, 2, 7, 16, 33, 125, 130] {
        for (outputs, inputs) in (1..=14).map(|n| (n, (n * 5) % 9 + 1)).chain([(31, 52), (2, 0)]) {
            Case::new(rows, (1, 1), 1, outputs, inputs).check();
        }
    }
}

#[test]
fn convolutions_are_sums_of_products() {
    for (rows, sides) in
        [(1, (4, 5)), (2, (3, 3)), (3, (1, 7)), (2, (8, 8)), (1, (1, 1)), (1, (2, 1))]
    {
        for kernel in [1, 3, 5] {
            for (outputs, inputs) in [(1, 1), (7, 3), (4, 9)] {
                Case::new(rows, sides, kernel, outputs, inputs).check();
            }
        }
    }
}

#[test]
fn a_margin_of_anything_stays_in_the_margin() {
    let case = Case::new(5, (1, 1), 1, 2, 3);
    let (_, mut x) = case.runs(3, 1);
    let mut want = vec![0.0; case.layout.len(2)];
    product(case.layout, &mut want, case.weight(), &x, None);
    x.chunks_exact_mut(16).for_each(|run| run[5..].fill(f64::NAN));
    let mut got = vec![0.0; case.layout.len(2)];
    product(case.layout, &mut got, case.weight(), &x, None);
    assert_eq!(case.rows_of(&got, 2), case.rows_of(&want, 2));
    assert!(got[5].is_nan());
}

#[test]
fn singles_are_doubles_rounded() {
    let layout = Runs::of(37);
    let (outputs, inputs) = (13, 50);
    let weights: Vec<f32> = (0..outputs * inputs).map(|i| number(i) as f32).collect();
    let x: Vec<f32> = (0..37 * inputs).map(|i| number(i + 9) as f32).collect();
    let mut x_runs = vec![0.0; layout.len(inputs)];
    layout.gather(&x, inputs, &mut x_runs);
    let (mut out, mut sums) = (vec![0.0; layout.len(outputs)], vec![0.0; outputs * inputs]);
    product(layout, &mut out, Weight::new(&weights, outputs, inputs), &x_runs, None);
    // The margin holds products of zeros.
    add_outer(layout, &mut sums, 1, &out, &x_runs);
    let mut y = vec![0.0; 37 * outputs];
    layout.scatter(&out, outputs, &mut y);
    for (b, o) in (0..37).flat_map(|b| (0..outputs).map(move |o| (b, o))) {
        let want: f32 = (0..inputs).map(|i| weights[o * inputs + i] * x[b * inputs + i]).sum();
        assert_eq!(y[b * outputs + o], want, "small integers are exact");
    }
    for (o, i) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))) {
        let want: f32 = (0..37).map(|b| y[b * outputs + o] * x[b * inputs + i]).sum();
        assert_eq!(sums[o * inputs + i], want, "small integers are exact");
    }
}
