use flow_cuda::kernels::affine::{
    additive, additive_product, affine, affine_product, Left, Moved, Scale,
};
use flow_cuda::kernels::diagonal::{scale_and_shift, scale_gradient, Features};
use flow_cuda::kernels::rows::Rows;

use super::{close, numbers, Trial};

const ROWS: usize = 11;
const WIDTH: usize = 4;

/// g of each scale in f64.
fn factor(scale: Scale, s: f64) -> f64 {
    match scale {
        Scale::Exp => s.exp(),
        Scale::Tanh { limit } => (limit * (s / limit).tanh()).exp(),
        Scale::Sigmoid { low, high, shift } => low + (high - low) / (1.0 + (-s - shift).exp()),
    }
}

/// One row's entries through the affine map in f64, and `Σ ±log g`.
fn map(
    scale: Scale,
    inverse: bool,
    x: &[f64],
    theta: &[f64],
    moved: &[(usize, usize)],
) -> Vec<f64> {
    let mut out = x.to_vec();
    let mut log_det = 0.0;
    for &(entry, place) in moved {
        let (g, t) = (factor(scale, theta[2 * place]), theta[2 * place + 1]);
        out[entry] = if inverse { (x[entry] - t) / g } else { x[entry] * g + t };
        log_det += if inverse { -g.ln() } else { g.ln() };
    }
    out.push(log_det);
    out
}

#[test]
fn affine_maps_and_their_products() {
    let scales = [
        Scale::Exp,
        Scale::Tanh { limit: 1.5 },
        Scale::Sigmoid { low: 0.5, high: 1.0, shift: 2.0 },
    ];
    for scale in scales {
        for inverse in [false, true] {
            check_affine(scale, inverse, &[(3, 0), (1, 2)]);
            check_affine(scale, inverse, &[(2, 1)]);
        }
    }
}

fn check_affine(scale: Scale, inverse: bool, moved: &[(usize, usize)]) {
    let Some(mut trial) = Trial::new() else { return };
    let (x, theta) = (numbers(1, ROWS * WIDTH), numbers(2, ROWS * 6));
    let (by, by_log) = (numbers(3, ROWS * WIDTH), numbers(4, ROWS));
    let count = ROWS * moved.len();
    let [at, parameters, gradient, by_log_det] =
        [trial.put(&x), trial.put(&theta), trial.put(&by), trial.put(&by_log)];
    let kept = trial.room(count);
    let logs = trial.put(&vec![0.0; count]);
    let by_parameters = trial.put(&[0.0; ROWS * 6]);
    let entries = trial.recording.table(moved.iter().map(|m| m.0 as isize));
    let places = trial.recording.table(moved.iter().map(|m| m.1 as isize));
    let (x_rows, theta_rows) = (Rows::new(at, WIDTH), Rows::new(parameters, 6));
    let parts = Moved { rows: ROWS, entries, places, inverse, step: 1 };
    let left = Left { kept: Some(kept), logs };
    let ops = vec![
        affine(scale, parts, x_rows, theta_rows, left),
        affine_product(
            parts,
            Rows::new(gradient, WIDTH),
            kept,
            theta_rows,
            by_parameters,
            by_log_det,
        ),
    ];
    let found = trial.run(ops, &[at, logs, gradient, by_parameters, parameters, kept]);
    for row in 0..ROWS {
        let wide = |v: &[f32], width| -> Vec<f64> {
            v[row * width..][..width].iter().map(|&v| f64::from(v)).collect()
        };
        let (x, theta, by) = (wide(&x, WIDTH), wide(&theta, 6), wide(&by, WIDTH));
        let out = map(scale, inverse, &x, &theta, moved);
        close("rows", &found[0][row * WIDTH..][..WIDTH], &out[..WIDTH]);
        let logs: f64 = wide(&found[1], moved.len()).iter().sum();
        assert!((logs - out[WIDTH]).abs() < 1e-6, "{scale:?}: {logs}, not {}", out[WIDTH]);
        // The loss is linear in rows and log-determinant.
        let loss = |x: &[f64], theta: &[f64]| {
            let out = map(scale, inverse, x, theta, moved);
            let rows: f64 = out.iter().zip(&by).map(|(v, by)| v * by).sum();
            rows + out[WIDTH] * f64::from(by_log[row])
        };
        let slope = |i: usize, of_theta: bool| {
            let at = |step: f64| {
                let (mut x, mut theta) = (x.clone(), theta.clone());
                let moved = if of_theta { &mut theta } else { &mut x };
                moved[i] += step;
                loss(&x, &theta)
            };
            (at(1e-5) - at(-1e-5)) / 2e-5
        };
        let by_x: Vec<f64> = (0..WIDTH).map(|i| slope(i, false)).collect();
        let by_theta: Vec<f64> = (0..6).map(|i| slope(i, true)).collect();
        close("the gradient", &found[2][row * WIDTH..][..WIDTH], &by_x);
        close("that by parameters", &found[3][row * 6..][..6], &by_theta);
    }
}

#[test]
fn translations_and_their_products() {
    for inverse in [false, true] {
        let Some(mut trial) = Trial::new() else { return };
        let (x, t, by) = (numbers(1, ROWS * WIDTH), numbers(2, ROWS * 3), numbers(3, ROWS * WIDTH));
        let [at, shifts, gradient] = [trial.put(&x), trial.put(&t), trial.put(&by)];
        let by_parameters = trial.put(&[0.0; ROWS * 3]);
        let entries = trial.recording.table([3, 1]);
        let places = trial.recording.table([0, 2]);
        let moved = Moved { rows: ROWS, entries, places, inverse, step: 1 };
        let ops = vec![
            additive(moved, Rows::new(at, WIDTH), Rows::new(shifts, 3)),
            additive_product(moved, Rows::new(gradient, WIDTH), Rows::new(by_parameters, 3)),
        ];
        let found = trial.run(ops, &[at, by_parameters]);
        let sign = if inverse { -1.0 } else { 1.0 };
        for row in 0..ROWS {
            let (x, t, by) = (&x[row * WIDTH..], &t[row * 3..], &by[row * WIDTH..]);
            let moved = [x[0], x[1] + sign * t[2], x[2], x[3] + sign * t[0]];
            assert_eq!(found[0][row * WIDTH..][..WIDTH], moved);
            assert_eq!(found[1][row * 3..][..3], [sign * by[3], 0.0, sign * by[1]]);
        }
    }
}

#[test]
fn scales_and_shifts_of_features() {
    for inverse in [false, true] {
        let Some(mut trial) = Trial::new() else { return };
        let (x, by) = (numbers(1, ROWS * 5), numbers(2, ROWS * 5));
        let (scale, shift) = ([0.5, -2.0], [0.25, 1.0]);
        let [at, gradient, s, t] =
            [trial.put(&x), trial.put(&by), trial.put(&scale), trial.put(&shift)];
        let kept = trial.room(ROWS * 4);
        // Two pixels of two features; entry 2 stands aside.
        let order = [4, 0, 3, 1];
        let entries = trial.recording.table(order);
        let features = Features { rows: ROWS, entries, features: 2, inverse };
        let ops = vec![
            scale_and_shift(features, Rows::new(at, 5), s, Some(t), Some(kept)),
            scale_gradient(features, Rows::new(gradient, 5), s),
        ];
        let found = trial.run(ops, &[at, gradient, kept]);
        for row in 0..ROWS {
            for (place, &entry) in order.iter().enumerate() {
                let (f, i) = (place % 2, row * 5 + entry as usize);
                let (v, s) = (x[i], scale[f]);
                let (out, keep) = if inverse {
                    ((v - shift[f]) / s, (v - shift[f]) / s)
                } else {
                    (v * s + shift[f], v * s)
                };
                assert_eq!((found[0][i], found[2][row * 4 + place]), (out, keep));
                assert_eq!(found[1][i], if inverse { by[i] / s } else { by[i] * s });
            }
            assert_eq!(found[0][row * 5 + 2], x[row * 5 + 2]);
        }
    }
}
