use flow_cuda::kernels::affine::Left;
use flow_cuda::kernels::contraction::STATUS;
use flow_cuda::kernels::curves::{curve, curve_product, find_outside, Bent, Curve};
use flow_cuda::kernels::rows::Rows;

use super::{numbers, slopes, Trial};

const ALL: [Curve; 7] = [
    Curve::Tanh,
    Curve::Sigmoid,
    Curve::Logit { alpha: 0.05 },
    Curve::NormalCdf,
    Curve::Softplus,
    Curve::LeakyRelu { slope: 0.3 },
    Curve::Scale { factor: -2.5 },
];

/// Φ by Simpson's rule from far out.
fn normal_cdf(x: f64) -> f64 {
    let (low, steps) = (-9.0, 600);
    let h = (x - low) / f64::from(steps);
    let weight = |i: i32| if i == 0 || i == steps { 1.0 } else { f64::from(2 + 2 * (i % 2)) };
    let density = |t: f64| (-0.5 * t * t).exp() / std::f64::consts::TAU.sqrt();
    (0..=steps).map(|i| weight(i) * density(low + h * f64::from(i))).sum::<f64>() * h / 3.0
}

/// Each function by its formula.
fn f(curve: Curve, x: f64) -> f64 {
    match curve {
        Curve::Tanh => x.tanh(),
        Curve::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Curve::Logit { alpha } => {
            let p = alpha + (1.0 - 2.0 * alpha) * x;
            (p / (1.0 - p)).ln()
        }
        Curve::NormalCdf => normal_cdf(x),
        Curve::Softplus => x.exp().ln_1p(),
        Curve::LeakyRelu { slope } => x.max(0.0) + slope * x.min(0.0),
        Curve::Scale { factor } => factor * x,
    }
}

/// The inverse by bisection.
fn back(curve: Curve, z: f64) -> f64 {
    let rises = f(curve, 0.6) > f(curve, 0.4);
    let (mut low, mut high) = match curve {
        Curve::Logit { .. } => (0.0, 1.0),
        _ => (-30.0, 30.0),
    };
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if (f(curve, middle) < z) == rises {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Inputs inside of the domain.
fn inputs(curve: Curve, inverse: bool, count: usize) -> Vec<f32> {
    let from = numbers(1, count);
    from.iter()
        .map(|&v| {
            let x = match curve {
                Curve::Logit { .. } => 0.5 + 0.45 * f64::from(v),
                _ => 2.0 * f64::from(v) + 0.001,
            };
            if inverse {
                f(curve, x) as f32
            } else {
                x as f32
            }
        })
        .collect()
}

#[test]
fn functions_are_those_of_their_formulas_both_ways() {
    for of in ALL {
        for inverse in [false, true] {
            for rows in [1, 7] {
                check(of, inverse, rows, &[2, 0]);
                check(of, inverse, rows, &[1]);
            }
        }
    }
}

fn check(of: Curve, inverse: bool, rows: usize, entries: &[usize]) {
    let (width, n) = (3, entries.len());
    let Some(mut trial) = Trial::new() else { return };
    let x = inputs(of, inverse, rows * width);
    let (by, by_log) = (numbers(2, rows * width), numbers(3, rows));
    let [at, gradient, by_log_det] = [&x, &by, &by_log].map(|v| trial.put(v));
    let kept = trial.room(rows * n);
    let logs = trial.put(&vec![0.0; rows * n]);
    let table = trial.recording.table(entries.iter().map(|&i| i as isize));
    let bent = Bent { rows, entries: table, inverse };
    let ops = vec![
        curve(of, bent, Rows::new(at, width), Left { kept: Some(kept), logs }),
        curve_product(of, bent, Rows::new(gradient, width), kept, by_log_det),
    ];
    let found = trial.run(ops, &[at, logs, gradient, kept]);
    let map = |x: f64| if inverse { back(of, x) } else { f(of, x) };
    // By differences, wide enough for a function that is an integral or comes of halving.
    let slope = |x: f64| slopes(&[x], |x| map(x[0]))[0];
    for row in 0..rows {
        let mut sum = 0.0;
        for (place, &entry) in entries.iter().enumerate() {
            let i = row * width + entry;
            let v = f64::from(x[i]);
            let what = format!("{of:?}, inverse {inverse}, at {v}");
            let near = |part: &str, found: f32, want: f64| {
                let off = (f64::from(found) - want).abs();
                assert!(off <= 2e-5 * (1.0 + want.abs()), "{what}, {part}: {found}, not {want}");
            };
            near("value", found[0][i], map(v));
            let log = slope(v).abs().ln();
            if n > 1 {
                near("log-slope", found[1][row * n + place], log);
            }
            sum += log;
            let bend = slopes(&[v], |x| slope(x[0]).abs().ln())[0];
            near(
                "gradient",
                found[2][i],
                f64::from(by[i]) * slope(v) + f64::from(by_log[row]) * bend,
            );
            assert_eq!(found[3][row * n + place], x[i], "{what}");
        }
        if n == 1 {
            assert!((f64::from(found[1][row]) - sum).abs() < 2e-5 * (1.0 + sum.abs()), "{of:?}");
        }
        for i in (0..width).filter(|i| !entries.contains(i)).map(|i| row * width + i) {
            assert_eq!((found[0][i], found[2][i]), (x[i], by[i]));
        }
    }
}

#[test]
fn far_out_logarithms_stay_numbers() {
    let smooth = [Curve::Tanh, Curve::Sigmoid, Curve::Softplus];
    for of in smooth {
        let Some(mut trial) = Trial::new() else { return };
        let x = trial.put(&[-80.0, -30.0, 30.0, 80.0]);
        let logs = trial.put(&[0.0; 4]);
        let entries = trial.recording.table([0]);
        let bent = Bent { rows: 4, entries, inverse: false };
        let op = curve(of, bent, Rows::new(x, 1), Left { kept: None, logs });
        let found = trial.run(vec![op], &[x, logs]);
        assert!(found.concat().iter().all(|v| v.is_finite()), "{of:?}: {found:?}");
        // ln f' tends to −2|x|, −|x| and x or 0.
        let rate = if of == Curve::Tanh { 2.0 } else { 1.0 };
        assert!((found[1][0] - found[1][1] + 50.0 * rate).abs() < 1e-4, "{of:?}: {found:?}");
    }
    // At the ends of their domain inverses give the number next to it.
    for of in [Curve::Tanh, Curve::Sigmoid, Curve::NormalCdf] {
        let Some(mut trial) = Trial::new() else { return };
        let x = trial.put(&[1.0]);
        let logs = trial.put(&[0.0]);
        let entries = trial.recording.table([0]);
        let bent = Bent { rows: 1, entries, inverse: true };
        let op = curve(of, bent, Rows::new(x, 1), Left { kept: None, logs });
        let found = trial.run(vec![op], &[x, logs]);
        assert!(found[0][0] > 4.0 && found[0][0] < 20.0 && found[1][0].is_finite(), "{found:?}");
    }
}

#[test]
fn the_first_entry_outside_is_found() {
    for (rows, outside) in [(1, None), (300, None), (300, Some(299)), (300, Some(63)), (1, Some(0))]
    {
        let Some(mut trial) = Trial::new() else { return };
        let mut x: Vec<f32> = numbers(1, rows * 3);
        // Outside too, but in an entry that does not count.
        x[1] = 9.0;
        if let Some(row) = outside {
            x[row * 3] = -1.5;
            x[rows * 3 - 1] = 7.0;
        }
        let (at, status) = (trial.put(&x), trial.room(STATUS));
        let entries = trial.recording.table([2, 0]);
        let bent = Bent { rows, entries, inverse: true };
        let op = find_outside(bent, Rows::new(at, 3), status, [-1.0, 1.0]);
        let found = trial.run(vec![op], &[status]).remove(0);
        let want = match outside {
            None => [0.0, -1.0, 0.0, 0.0],
            // The other entry of the last row comes before.
            Some(row) if row + 1 == rows => [0.0, row as f32, 0.0, 7.0],
            Some(row) => [0.0, row as f32, 1.0, -1.5],
        };
        assert_eq!(found, want);
    }
}
