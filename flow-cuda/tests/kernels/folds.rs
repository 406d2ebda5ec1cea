use flow_cuda::kernels::folds::{add_stretches, radial, radial_product, stretch_product};

use super::{close, close_sums, dot, numbers, slopes, wide, Trial};

const SHAPES: [(usize, usize); 4] = [(1, 1), (1, 5), (7, 2), (131, 3)];

#[test]
fn stretches_and_their_product() {
    for (rows, count) in SHAPES {
        let Some(mut trial) = Trial::new() else { return };
        let bent = numbers(1, rows * count);
        let t: Vec<f32> = bent.iter().map(|v| (2.0 * v).tanh()).collect();
        let kappa: Vec<f32> = numbers(2, count).iter().map(|v| v + 1.01).collect();
        let (start, by) = (numbers(3, rows), numbers(4, rows * count));
        let [ts, kappas, log_det, by_log, gradient] =
            [&t, &kappa, &start, &start, &by].map(|v| trial.put(v));
        let by_kappa = trial.room(rows * count);
        let ops = vec![
            add_stretches(log_det, ts, kappas),
            stretch_product(gradient, ts, kappas, by_log, by_kappa),
        ];
        let found = trial.run(ops, &[log_det, gradient, by_kappa]);
        let (t, kappa, start, by) = (wide(&t), wide(&kappa), wide(&start), wide(&by));
        let log = |t: f64, k: f64| (1.0 + (1.0 - t * t) * (k - 1.0)).ln();
        for row in 0..rows {
            let own = row * count..(row + 1) * count;
            let t = &t[own.clone()];
            let sum: f64 = t.iter().zip(&kappa).map(|(&t, &k)| log(t, k)).sum();
            close_sums("log-determinants", &found[0][row..=row], &[start[row] + sum], 8 * count);
            // By v, of which t is the hyperbolic tangent.
            let v: Vec<f64> = t.iter().map(|t| t.atanh()).collect();
            let want = slopes(&v, |v| {
                let each = v.iter().zip(&kappa).zip(&by[own.clone()]);
                each.map(|((v, &k), b)| b * v.tanh() + start[row] * log(v.tanh(), k)).sum()
            });
            close_sums("by v", &found[1][own.clone()], &want, 100);
            let want = slopes(&kappa, |kappa| {
                start[row] * t.iter().zip(kappa).map(|(&t, &k)| log(t, k)).sum::<f64>()
            });
            close_sums("by stretches", &found[2][own], &want, 1000);
        }
    }
}

#[test]
fn a_fold_that_is_nearly_flat_keeps_its_logarithm() {
    let Some(mut trial) = Trial::new() else { return };
    let (t, kappa, log_det) = (trial.put(&[0.0]), trial.put(&[1e-30]), trial.put(&[0.0]));
    let found = trial.run(vec![add_stretches(log_det, t, kappa)], &[log_det]).remove(0);
    assert!((found[0] - 1e-30_f32.ln()).abs() < 1e-4, "{found:?}");
}

/// The map of a row, then the logarithm of its Jacobian's determinant.
fn map(x: &[f64], center: &[f64], numbers: &[f64]) -> Vec<f64> {
    let [alpha, kappa] = [numbers[0], numbers[1]];
    let by: Vec<f64> = x.iter().zip(center).map(|(x, c)| x - c).collect();
    let r = dot(&by, &by).sqrt();
    let growth = (kappa - alpha) / (alpha + r);
    let mut out: Vec<f64> = x.iter().zip(&by).map(|(x, by)| x + growth * by).collect();
    let along = 1.0 + alpha * (kappa - alpha) / (alpha + r).powi(2);
    out.push((x.len() - 1) as f64 * (1.0 + growth).ln() + along.ln());
    out
}

#[test]
fn radial_maps_and_their_product() {
    for (rows, d) in SHAPES {
        let Some(mut trial) = Trial::new() else { return };
        let (x, center, both) = (numbers(1, rows * d), numbers(2, d), [0.7_f32, 1.9]);
        let (start, by) = (numbers(3, rows), numbers(4, rows * d));
        let [at, c, n] = [trial.put(&x), trial.put(&center), trial.put(&both)];
        let [kept, gradient] = [trial.put(&x), trial.put(&by)];
        let [log_det, by_log] = [trial.put(&start), trial.put(&start)];
        let (by_center, by_numbers) = (trial.room(rows * d), trial.room(2 * rows));
        let ops = vec![
            radial(at, c, n, log_det),
            radial_product(gradient, kept, [c, n], by_log, [by_center, by_numbers]),
        ];
        let found = trial.run(ops, &[at, log_det, gradient, by_center, by_numbers]);
        let [x, center, both, start, by] = [&x[..], &center, &both, &start, &by].map(wide);
        for row in 0..rows {
            let own = row * d..(row + 1) * d;
            let (x, by) = (&x[own.clone()], &by[own.clone()]);
            let out = map(x, &center, &both);
            close("rows", &found[0][own.clone()], &out[..d]);
            close_sums("log-determinants", &found[1][row..=row], &[start[row] + out[d]], 20);
            let loss = |x: &[f64], center: &[f64], both: &[f64]| {
                let out = map(x, center, both);
                dot(&out[..d], by) + start[row] * out[d]
            };
            close_sums("by x", &found[2][own.clone()], &slopes(x, |x| loss(x, &center, &both)), 40);
            let want = slopes(&center, |c| loss(x, c, &both));
            close_sums("by the center", &found[3][own], &want, 40);
            let want = slopes(&both, |n| loss(x, &center, n));
            close_sums("by its numbers", &found[4][2 * row..][..2], &want, 80);
        }
    }
}

#[test]
fn radial_maps_hold_at_their_center_and_far_out() {
    let Some(mut trial) = Trial::new() else { return };
    let x = [1.0, -2.0, 2e25, 1e25];
    let [at, kept, gradient] = [trial.put(&x), trial.put(&x), trial.put(&[1.0; 4])];
    let [c, n] = [trial.put(&[1.0, -2.0]), trial.put(&[0.5, 2.0])];
    let [log_det, by_log] = [trial.put(&[0.0; 2]), trial.put(&[1.0; 2])];
    let (by_center, by_numbers) = (trial.room(4), trial.room(4));
    let ops = vec![
        radial(at, c, n, log_det),
        radial_product(gradient, kept, [c, n], by_log, [by_center, by_numbers]),
    ];
    let found = trial.run(ops, &[at, log_det, gradient, by_center, by_numbers]);
    assert_eq!(found[0], x);
    // At the center the map grows by κ/α every way, far out by nothing.
    assert!((found[1][0] - 2.0 * 4_f32.ln()).abs() < 1e-6 && found[1][1].abs() < 1e-6, "{found:?}");
    assert_eq!(found[2][..2], [4.0, 4.0]);
    assert!(found.concat().iter().all(|v| v.is_finite()), "{found:?}");
}
