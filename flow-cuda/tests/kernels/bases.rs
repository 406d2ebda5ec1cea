use std::f64::consts::TAU;

use flow_cuda::kernels::bases::{logistic_log_prob, logistic_product, uniform_log_prob, Mixture};

use super::{close_sums, numbers, slopes, wide, Trial};

const SHAPES: [(usize, usize); 4] = [(1, 1), (1, 5), (7, 3), (130, 2)];

#[test]
fn a_uniform_density_ends_at_its_cube() {
    let Some(mut trial) = Trial::new() else { return };
    let z = [0.0, 1.0, 0.5, 0.5, -1e-7, 0.5, 0.5, 1.000_000_2, f32::NAN, 0.5];
    let (at, log_prob) = (trial.put(&z), trial.put(&[1.0, 2.0, 3.0, 4.0, 5.0]));
    let found = trial.run(vec![uniform_log_prob(log_prob, at)], &[log_prob]).remove(0);
    let none = f32::NEG_INFINITY;
    assert_eq!(found[..4], [1.0, 2.0, none, none]);
    assert!(found[4].is_nan(), "{found:?}");
}

#[test]
fn logistics_and_their_product() {
    for (rows, width) in SHAPES {
        let Some(mut trial) = Trial::new() else { return };
        let z: Vec<f32> = numbers(1, rows * width).iter().map(|v| 6.0 * v).collect();
        let (start, weight, by) = (numbers(2, rows), numbers(3, rows), numbers(4, rows * width));
        let [at, log_prob, w, gradient] = [&z, &start, &weight, &by].map(|v| trial.put(v));
        let ops = vec![logistic_log_prob(log_prob, at), logistic_product(gradient, w, at)];
        let found = trial.run(ops, &[log_prob, gradient]);
        let density = |z: &[f64]| -> f64 {
            z.iter().map(|z| ((-z).exp() / (1.0 + (-z).exp()).powi(2)).ln()).sum()
        };
        let z = wide(&z);
        for (row, z) in z.chunks(width).enumerate() {
            let want = f64::from(start[row]) + density(z);
            close_sums("log-densities", &found[0][row..=row], &[want], 8 * width);
            let by = wide(&by[row * width..][..width]);
            let slopes = slopes(z, density);
            let want: Vec<f64> =
                by.iter().zip(slopes).map(|(b, s)| b + f64::from(weight[row]) * s).collect();
            close_sums("the gradient", &found[1][row * width..][..width], &want, 8);
        }
    }
    let Some(mut trial) = Trial::new() else { return };
    let (at, log_prob) = (trial.put(&[-1e30, 1e4]), trial.put(&[0.0, 0.0]));
    let found = trial.run(vec![logistic_log_prob(log_prob, at)], &[log_prob]).remove(0);
    assert_eq!(found, [-1e30, -1e4]);
}

/// The log-density of a row, by the sum of all components.
fn mixture(z: &[f64], logits: &[f64], means: &[f64], logs: &[f64]) -> f64 {
    let total: f64 = logits.iter().map(|v| v.exp()).sum();
    let each = logits.iter().enumerate().map(|(k, logit)| {
        let of = k * z.len()..(k + 1) * z.len();
        let parts = z.iter().zip(&means[of.clone()]).zip(&logs[of]);
        let density: f64 = parts
            .map(|((z, m), s)| (-0.5 * ((z - m) / s.exp()).powi(2)).exp() / (s.exp() * TAU.sqrt()))
            .product();
        logit.exp() / total * density
    });
    each.sum::<f64>().ln()
}

#[test]
fn mixtures_and_their_products() {
    for ((rows, width), count) in SHAPES.into_iter().zip([1, 3, 2, 7]) {
        let Some(mut trial) = Trial::new() else { return };
        let z: Vec<f32> = numbers(1, rows * width).iter().map(|v| 3.0 * v).collect();
        let (logits, means, logs) =
            (numbers(2, count), numbers(3, count * width), numbers(4, count * width));
        let (start, weight, by) = (numbers(5, rows), numbers(6, rows), numbers(7, rows * width));
        let [at, l, m, s] = [&z, &logits, &means, &logs].map(|v| trial.put(v));
        let [log_prob, w, gradient] = [&start, &weight, &by].map(|v| trial.put(v));
        let [by_logits, by_means, by_logs] = [&logits, &means, &logs].map(|v| trial.put(v));
        let shares = trial.room(rows * count);
        let of = Mixture { logits: l, means: m, log_scales: s };
        let mut ops = of.log_prob(log_prob, at, shares).to_vec();
        ops.extend(of.product(gradient, w, at, shares, [by_logits, by_means, by_logs]));
        let read = [log_prob, gradient, by_logits, by_means, by_logs, shares];
        let found = trial.run(ops, &read);

        let [z, logits, means, logs] = [&z, &logits, &means, &logs].map(|v| wide(v));
        let weight = wide(&weight);
        for (row, z) in z.chunks(width).enumerate() {
            let want = f64::from(start[row]) + mixture(z, &logits, &means, &logs);
            close_sums("log-densities", &found[0][row..=row], &[want], 40 * width);
            let slopes = slopes(z, |z| mixture(z, &logits, &means, &logs));
            let by = wide(&by[row * width..][..width]);
            let want: Vec<f64> = by.iter().zip(slopes).map(|(b, s)| b + weight[row] * s).collect();
            close_sums("by z", &found[1][row * width..][..width], &want, 60);
            let total: f64 = wide(&found[5][row * count..][..count]).iter().sum();
            assert!((total - 1.0).abs() < 1e-5, "shares add up to {total}");
        }
        let loss = |logits: &[f64], means: &[f64], logs: &[f64]| -> f64 {
            let rows = z.chunks(width).zip(&weight);
            rows.map(|(z, w)| w * mixture(z, logits, means, logs)).sum()
        };
        let plus = |start: &[f64], slopes: Vec<f64>| -> Vec<f64> {
            start.iter().zip(slopes).map(|(a, b)| a + b).collect()
        };
        let terms = 60 * rows;
        let want = plus(&logits, slopes(&logits, |v| loss(v, &means, &logs)));
        close_sums("by logits", &found[2], &want, terms);
        let want = plus(&means, slopes(&means, |v| loss(&logits, v, &logs)));
        close_sums("by means", &found[3], &want, terms);
        let want = plus(&logs, slopes(&logs, |v| loss(&logits, &means, v)));
        close_sums("by log-scales", &found[4], &want, terms);
    }
}

#[test]
fn far_from_all_components_the_nearest_counts() {
    let Some(mut trial) = Trial::new() else { return };
    let [z, l, m, s] = [&[1e3][..], &[0.0, 0.0], &[-1.0, 1.0], &[0.0, 0.0]].map(|v| trial.put(v));
    let (log_prob, shares) = (trial.put(&[0.0]), trial.room(2));
    let of = Mixture { logits: l, means: m, log_scales: s };
    let found = trial.run(of.log_prob(log_prob, z, shares).to_vec(), &[log_prob, shares]);
    let want = -0.5 * 999.0_f64.powi(2) - 0.5 * TAU.ln() - 2_f64.ln();
    assert!((f64::from(found[0][0]) - want).abs() < 0.1, "{found:?}, not {want}");
    assert_eq!(found[1], [0.0, 1.0]);
}
