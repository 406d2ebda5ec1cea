use flow_cuda::kernels::net::{Kept, Linear, Net};
use flow_cuda::kernels::product::{add_product, product, Epilogue, Function, Matrix};
use flow_cuda::kernels::rows::{add_column_products, Rows, Vectors};
use flow_cuda::{Area, Device, Recording, Slot};

use super::{numbers, Trial};

/// A net's pass and product layer by layer, of the kernels that one for all layers replaces.
#[test]
fn whole_nets_are_those_of_their_layers() {
    let cases: [(usize, &[usize]); 6] = [
        (19, &[3, 17, 128, 5, 2]),
        (256, &[1, 64, 64, 2]),
        (33, &[1, 128, 128, 128, 128, 2]),
        (1, &[2, 2]),
        (8, &[128, 128]),
        (50, &[5, 33, 70]),
    ];
    for (rows, widths) in cases {
        compare(rows, widths);
    }
}

fn compare(rows: usize, widths: &[usize]) {
    let Some(trial) = Trial::new() else { return };
    let device = trial.device;
    let mut recording = Recording::new();
    let (mut end, mut layers) = (3, Vec::new());
    for pair in widths.windows(2) {
        let &[inputs, outputs] = pair else { continue };
        let mut next = |len| {
            let slot = Slot::new(Area::Parameters, end, len);
            end += len;
            slot
        };
        let (weight, bias) = (next(inputs * outputs), next(outputs));
        layers.push(Linear { weight, bias, inputs, outputs });
    }
    let (first, last) = (rows * widths[0], rows * widths[widths.len() - 1]);
    let [input, by_output] = [first, last].map(|len| recording.frame(len));
    let function = Function::Swish;
    let net = Net::new(&mut recording, layers.clone(), function, rows).expect("a net that fits");

    let [whole, alone, by_input] = [last, last, first].map(|len| recording.frame(len));
    let [values, slopes] = [0; 2].map(|_| recording.frame(net.hidden()));
    let kept = Kept { values, slopes };
    let mut fused = vec![net.forward(input, whole, Some(kept)), net.forward(input, alone, None)];
    fused.extend(net.backward(&mut recording, [input, by_input], by_output, kept));

    let (mut below, mut bent, mut single) = (vec![input], Vec::new(), Vec::new());
    for (i, layer) in layers.iter().enumerate() {
        let out = recording.frame(rows * layer.outputs);
        let hidden = (i + 1 < layers.len()).then_some(function);
        let slopes = hidden.map(|_| recording.frame(rows * layer.outputs));
        let weight = Matrix::new(layer.weight, layer.outputs, layer.inputs).t();
        let bias = Some(layer.bias);
        let epilogue = Epilogue { bias, function: hidden, slopes, ..Epilogue::default() };
        single.push(product(out, Matrix::new(below[i], rows, layer.inputs), weight, epilogue));
        below.push(out);
        bent.extend(slopes);
    }
    let mut gradient = by_output;
    for (i, layer) in layers.iter().enumerate().rev() {
        let by_below = recording.frame(rows * layer.inputs);
        let by = Matrix::new(gradient, rows, layer.outputs);
        let twin = |slot: Slot| Slot::new(Area::Gradient, slot.offset, slot.len);
        let left = Matrix::new(below[i], rows, layer.inputs);
        single.extend(add_product(&mut recording, twin(layer.weight), by.t(), left));
        let all = Vectors { count: rows, features: layer.outputs, pixels: 1 };
        let (bias, dense) = (twin(layer.bias), Rows::new(gradient, layer.outputs));
        single.extend(add_column_products(&mut recording, bias, all, dense, None, None, 1.0));
        let factor = i.checked_sub(1).map(|before| bent[before]);
        let weight = Matrix::new(layer.weight, layer.outputs, layer.inputs);
        single.push(product(by_below, by, weight, Epilogue { factor, ..Epilogue::default() }));
        gradient = by_below;
    }

    let plan = recording.finish(vec![fused, single]);
    let tables = device.tables(plan.tables()).unwrap();
    let mut frame = device.memory(plan.frame_len()).unwrap();
    let scratch = device.memory(plan.scratch_len()).unwrap();
    let mut parameters = device.memory(end).unwrap();
    let weights: Vec<f32> = numbers(1, end).iter().map(|v| 0.3 * v).collect();
    device.write(&mut parameters, 0, &weights).unwrap();
    device.write(&mut frame, input.offset, &numbers(2, first)).unwrap();
    device.write(&mut frame, by_output.offset, &numbers(3, last)).unwrap();
    let gradients = plan.parts().iter().map(|ops| {
        let mut by_parameters = device.memory(end).unwrap();
        device.write(&mut by_parameters, 0, &numbers(4, end)).unwrap();
        let mut memory = |area| match area {
            Area::Frame => Some(&frame),
            Area::Scratch => Some(&scratch),
            Area::Parameters => Some(&parameters),
            Area::Gradient => Some(&by_parameters),
            _ => None,
        };
        device.run(ops, &mut memory, &tables).unwrap();
        let mut found = vec![0.0; end];
        device.read(&by_parameters, 0, &mut found).unwrap();
        found
    });
    let gradients: Vec<Vec<f32>> = gradients.collect();
    let get = |slot: Slot| {
        let mut found = vec![0.0; slot.len];
        device.read(&frame, slot.offset, &mut found).unwrap();
        found
    };
    let what = format!("{rows} rows of {widths:?}");
    let want = get(below[layers.len()]);
    near(&format!("{what}: output"), &get(whole), &want);
    near(&format!("{what}: output alone"), &get(alone), &want);
    near(&format!("{what}: by input"), &get(by_input), &get(gradient));
    near(&format!("{what}: by parameters"), &gradients[0], &gradients[1]);
}

/// Sums of the same terms in another order.
fn near(what: &str, found: &[f32], want: &[f32]) {
    for (i, (a, b)) in found.iter().zip(want).enumerate() {
        assert!((a - b).abs() <= 3e-5 * (1.0 + b.abs()), "{what}[{i}] is {a}, not {b}");
    }
}

#[test]
fn nets_that_do_not_fit_are_left_to_products() {
    let mut recording = Recording::new();
    let slot = |area, len| Slot::new(area, 0, len);
    let layer = |area, inputs, outputs| Linear {
        weight: slot(area, inputs * outputs),
        bias: slot(Area::Parameters, outputs),
        inputs,
        outputs,
    };
    let mut fits = |layers, rows| Net::new(&mut recording, layers, Function::Relu, rows).is_some();
    assert!(fits(vec![layer(Area::Parameters, 128, 128)], 5));
    assert!(!fits(vec![layer(Area::Parameters, 128, 129)], 5));
    assert!(!fits(vec![layer(Area::Parameters, 129, 8)], 5));
    assert!(!fits(vec![layer(Area::Derived, 8, 8)], 5));
    assert!(!fits(vec![layer(Area::Parameters, 8, 8)], 0));
    assert!(!fits(vec![], 5));
}
