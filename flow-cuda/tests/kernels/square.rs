use flow_cuda::kernels::square::{invert_shifted, log_det_shifted, times_own_matrix};

use super::{close, dot, numbers, times, wide, Trial};

/// By the first row.
fn determinant(m: &[f64], d: usize) -> f64 {
    let minor = |column: usize| -> Vec<f64> {
        let rest = m[d..].iter().enumerate().filter(|(i, _)| i % d != column);
        rest.map(|(_, &v)| v).collect()
    };
    match d {
        0 => 1.0,
        _ => (0..d)
            .map(|j| (1.0 - 2.0 * (j % 2) as f64) * m[j] * determinant(&minor(j), d - 1))
            .sum(),
    }
}

/// I + M.
fn shifted(m: &[f32], d: usize) -> Vec<f64> {
    let diagonal = |i: usize| f64::from(u8::from(i.is_multiple_of(d + 1)));
    m.iter().enumerate().map(|(i, &v)| f64::from(v) + diagonal(i)).collect()
}

#[test]
fn determinants_and_inverses_of_each_row() {
    for (rows, d) in [(1, 1), (1, 4), (7, 2), (130, 3), (33, 5)] {
        let Some(mut trial) = Trial::new() else { return };
        let mut m = numbers(1, rows * d * d);
        if d > 1 {
            // A pivot at zero.
            m[0] = -1.0;
        }
        let start = numbers(2, rows);
        let [used, inverted] = [trial.put(&m), trial.put(&m)];
        let [plain, beside] = [trial.put(&start), trial.put(&start)];
        let order = trial.room(rows * d);
        let ops = vec![
            log_det_shifted(used, plain, d, -2.0),
            invert_shifted(inverted, beside, order, d, 1.0),
        ];
        let found = trial.run(ops, &[plain, beside, inverted, used, order]);
        let logs: Vec<f64> =
            m.chunks(d * d).map(|m| determinant(&shifted(m, d), d).abs().ln()).collect();
        let want = |sign: f64| -> Vec<f64> {
            start.iter().zip(&logs).map(|(&s, log)| f64::from(s) + sign * log).collect()
        };
        for (found, sign) in [(&found[0], -2.0), (&found[1], 1.0)] {
            for (&found, want) in found.iter().zip(want(sign)) {
                let off = (f64::from(found) - want).abs();
                assert!(off <= 2e-5 * (1.0 + want.abs()), "{rows} of {d}: {found}, not {want}");
            }
        }
        for (m, x) in m.chunks(d * d).zip(found[2].chunks(d * d)) {
            let (m, x) = (shifted(m, d), wide(x));
            let size = dot(&x, &x).sqrt();
            for (i, entry) in times(&m, &x, d).into_iter().enumerate() {
                let want = f64::from(u8::from(i.is_multiple_of(d + 1)));
                assert!((entry - want).abs() <= 3e-6 * (1.0 + size), "{d}: {entry}");
            }
        }
    }
}

#[test]
fn determinants_that_overflow_have_a_logarithm() {
    let Some(mut trial) = Trial::new() else { return };
    let m: Vec<f32> = numbers(3, 9).iter().map(|v| 1e30 * v).collect();
    let (used, log_det) = (trial.put(&m), trial.put(&[0.0]));
    let found = trial.run(vec![log_det_shifted(used, log_det, 3, 1.0)], &[log_det, used]);
    let small: Vec<f64> = wide(&m).iter().map(|v| v / 1e30).collect();
    let want = determinant(&small, 3).abs().ln() + 90.0 * 10_f64.ln();
    assert!((f64::from(found[0][0]) - want).abs() < 1e-4, "{found:?}, not {want}");

    let Some(mut trial) = Trial::new() else { return };
    // −I, then a row of ordinary size.
    let m = [[-1.0, 0.0, 0.0, -1.0], [1.0, 0.0, 0.0, 1.0]].concat();
    let (used, log_det) = (trial.put(&m), trial.put(&[0.0; 2]));
    let found = trial.run(vec![log_det_shifted(used, log_det, 2, 1.0)], &[log_det, used]);
    assert!(!found[0][0].is_finite(), "a singular matrix");
    assert!((found[0][1] - 4_f32.ln()).abs() < 1e-6);
}

#[test]
fn rows_are_multiplied_by_their_own_matrix() {
    for (rows, d) in [(1, 1), (5, 3), (43, 6)] {
        let Some(mut trial) = Trial::new() else { return };
        let (v, m) = (numbers(1, rows * d), numbers(2, rows * d * d));
        let [at, matrices, out] = [trial.put(&v), trial.put(&m), trial.room(rows * d)];
        let found = trial.run(vec![times_own_matrix(out, at, matrices, d)], &[out]);
        let (v, m) = (wide(&v), wide(&m));
        let each = v.chunks(d).zip(m.chunks(d * d)).flat_map(|(v, m)| times(v, m, d));
        close("products", &found[0], &each.collect::<Vec<_>>());
    }
}
