use flow_cuda::kernels::product::{add_product, product, Epilogue, Function, Matrix};

use super::{close, close_sums, numbers, Trial};

/// `Σ left · right`, with either transposed.
fn oracle(
    left: &[f32],
    right: &[f32],
    (m, n, k): (usize, usize, usize),
    (left_t, right_t): (bool, bool),
) -> Vec<f64> {
    let l = |i: usize, j: usize| f64::from(left[if left_t { j * m + i } else { i * k + j }]);
    let r = |i: usize, j: usize| f64::from(right[if right_t { j * k + i } else { i * n + j }]);
    (0..m * n).map(|at| (0..k).map(|p| l(at / n, p) * r(p, at % n)).sum()).collect()
}

#[test]
fn products_are_those_of_the_definition() {
    let both = [(false, false), (true, false), (false, true), (true, true)];
    for (m, n, k) in [(1, 1, 1), (3, 5, 2), (33, 31, 17), (65, 40, 50)] {
        for transposed in both {
            let Some(mut trial) = Trial::new() else { return };
            let (left, right) = (numbers(1, m * k), numbers(2, k * n));
            let [a, b, out] = [trial.put(&left), trial.put(&right), trial.room(m * n)];
            let a = if transposed.0 { Matrix::new(a, k, m).t() } else { Matrix::new(a, m, k) };
            let b = if transposed.1 { Matrix::new(b, n, k).t() } else { Matrix::new(b, k, n) };
            let found = trial.run(vec![product(out, a, b, Epilogue::default())], &[out]);
            close("a product", &found[0], &oracle(&left, &right, (m, n, k), transposed));
        }
    }
}

/// Sides that no tile divides, operands at odd places, so that nothing is read four at once, and at
/// even ones. Grids of 128 large tiles and more take the kernel of large tiles.
#[test]
fn large_products_are_those_of_the_definition() {
    let sizes = [(1031, 900, 19), (16385, 65, 6), (2048, 512, 20)];
    for ((m, n, k), transposed) in
        sizes.into_iter().zip([(false, true), (true, false), (true, true)])
    {
        for odd in [0, 3] {
            let Some(mut trial) = Trial::new() else { return };
            let (left, right) = (numbers(1, odd + m * k), numbers(2, odd + k * n));
            let [a, b, out] = [trial.put(&left), trial.put(&right), trial.room(m * n)];
            let [a, b] = [a.part(odd, m * k), b.part(odd, k * n)];
            let a = if transposed.0 { Matrix::new(a, k, m).t() } else { Matrix::new(a, m, k) };
            let b = if transposed.1 { Matrix::new(b, n, k).t() } else { Matrix::new(b, k, n) };
            let op = product(out, a, b, Epilogue::default());
            assert_eq!(op.kernel.name, "large_product");
            let found = trial.run(vec![op], &[out]);
            let expected = oracle(&left[odd..], &right[odd..], (m, n, k), transposed);
            close("a large product", &found[0], &expected);
        }
    }
}

/// Rows of the whole matrices allow four numbers at once, but the parts end inside of such four.
#[test]
fn products_of_parts_leave_the_rest_alone() {
    let Some(mut trial) = Trial::new() else { return };
    let (m, n, k, wide) = (40, 38, 19, 64);
    let (left, right) = (numbers(1, m * wide), numbers(2, n * wide));
    let [a, b, out] = [trial.put(&left), trial.put(&right), trial.room(m * n)];
    let a = Matrix::new(a, m, wide).part(0..m, 0..k);
    let b = Matrix::new(b, n, wide).part(0..n, 0..k).t();
    let found = trial.run(vec![product(out, a, b, Epilogue::default())], &[out]);
    let cut =
        |all: &[f32]| -> Vec<f32> { all.chunks(wide).flat_map(|row| row[..k].to_vec()).collect() };
    let expected = oracle(&cut(&left), &cut(&right), (m, n, k), (false, true));
    close("a product of parts", &found[0], &expected);
}

#[test]
fn long_sums_are_added_in_parts() {
    for k in [40, 64, 700] {
        let Some(mut trial) = Trial::new() else { return };
        let (m, n) = (5, 35);
        let (left, right, start) = (numbers(1, m * k), numbers(2, k * n), numbers(3, m * n));
        let [a, b, out] = [trial.put(&left), trial.put(&right), trial.put(&start)];
        let (a, b) = (Matrix::new(a, k, m).t(), Matrix::new(b, k, n));
        let ops = add_product(&mut trial.recording, out, a, b);
        assert_eq!(ops.len(), if k > 64 { 2 } else { 1 });
        let found = trial.run(ops, &[out]).remove(0);
        let mut expected = oracle(&left, &right, (m, n, k), (true, false));
        expected.iter_mut().zip(&start).for_each(|(v, &s)| *v += f64::from(s));
        close_sums("a sum", &found, &expected, k);
    }
}

/// The function and its slope in f64.
fn bent(function: Function, v: f64) -> (f64, f64) {
    let value = |v: f64| match function {
        Function::Identity => v,
        Function::Relu => v.max(0.0),
        Function::Elu => {
            if v > 0.0 {
                v
            } else {
                v.exp_m1()
            }
        }
        Function::LeakyRelu => {
            if v > 0.0 {
                v
            } else {
                0.01 * v
            }
        }
        Function::Tanh => v.tanh(),
        Function::Swish => v / (1.0 + (-v).exp()),
        Function::Softplus => v.exp().ln_1p(),
        // By Simpson's rule.
        Function::Gelu => {
            let density = |t: f64| (-0.5 * t * t).exp() / std::f64::consts::TAU.sqrt();
            let h = v / 200.0;
            let sum: f64 = (0..100)
                .map(|i| 2.0 * f64::from(i) * h)
                .map(|t| density(t) + 4.0 * density(t + h) + density(t + 2.0 * h))
                .sum();
            v * (0.5 + sum * h / 3.0)
        }
    };
    (value(v), (value(v + 1e-5) - value(v - 1e-5)) / 2e-5)
}

#[test]
fn what_stands_beside_a_product() {
    use Function::{Elu, Gelu, Identity, LeakyRelu, Relu, Softplus, Swish, Tanh};
    let all = [Identity, Relu, Elu, LeakyRelu, Tanh, Swish, Gelu, Softplus];
    let small = all.map(|function| (function, (9, 34, 6)));
    // In tiles of both kernels.
    for (function, (m, n, k)) in small.into_iter().chain([(Swish, (16385, 35, 3))]) {
        let Some(mut trial) = Trial::new() else { return };
        let (left, right) = (numbers(1, m * k), numbers(2, k * n));
        let (bias, factor) = (numbers(3, n), numbers(4, m * n));
        let [a, b, beside, by] =
            [trial.put(&left), trial.put(&right), trial.put(&bias), trial.put(&factor)];
        let [out, slopes, scaled] = [0; 3].map(|_| trial.room(m * n));
        let (a, b) = (Matrix::new(a, m, k), Matrix::new(b, k, n));
        let epilogue = Epilogue {
            bias: Some(beside),
            function: Some(function),
            slopes: Some(slopes),
            ..Epilogue::default()
        };
        let only = Epilogue { factor: Some(by), ..Epilogue::default() };
        let ops = vec![product(out, a, b, epilogue), product(scaled, a, b, only)];
        let kernel = if m > 9 { "large_product" } else { "product" };
        assert!(ops.iter().all(|op| op.kernel.name == kernel));
        let found = trial.run(ops, &[out, slopes, scaled]);
        let plain = oracle(&left, &right, (m, n, k), (false, false));
        let biased = plain.iter().enumerate().map(|(i, v)| v + f64::from(bias[i % n]));
        let (values, steepness): (Vec<f64>, Vec<f64>) = biased.map(|v| bent(function, v)).unzip();
        close(&format!("{function:?}"), &found[0], &values);
        close(&format!("the slope of {function:?}"), &found[1], &steepness);
        let each: Vec<f64> = plain.iter().zip(&factor).map(|(v, &f)| v * f64::from(f)).collect();
        close("a scaled product", &found[2], &each);
    }
}
