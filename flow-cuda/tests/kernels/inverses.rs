use flow_cuda::kernels::inverses::{add_turned, invert, scale_columns, Inverted};
use flow_cuda::kernels::reflections::Reflections;

use super::{close, close_sums, dot, numbers, times, wide, Trial};

/// The inverse, the log-determinant and the condition that the device finds.
fn inverted(w: &[f32]) -> Option<[Vec<f32>; 3]> {
    let mut trial = Trial::new()?;
    let weight = trial.put(w);
    let (inverse, log_det, condition) = (trial.room(w.len()), trial.room(1), trial.room(1));
    let op = invert(&mut trial.recording, weight, Inverted { inverse, log_det, condition });
    trial.run(vec![op], &[inverse, log_det, condition]).try_into().ok()
}

#[test]
fn matrices_have_inverses_and_determinants() {
    for (d, size) in [(1, 1.0), (2, 1e-20), (3, 1.0), (5, 1e15), (33, 1.0), (40, 1.0)] {
        let mut w: Vec<f32> = numbers(1, d * d).iter().map(|v| v * size).collect();
        if d > 1 {
            // A pivot at zero, and a row of another size.
            w[0] = 0.0;
            w[d..2 * d].iter_mut().for_each(|v| *v *= 1e-3);
        }
        let Some([inverse, log_det, condition]) = inverted(&w) else { return };
        let (w, x) = (wide(&w), wide(&inverse));
        let largest =
            times(&w, &x, d).into_iter().enumerate().fold(0.0, |most: f64, (i, entry)| {
                most.max((entry - f64::from(u8::from(i.is_multiple_of(d + 1)))).abs())
            });
        // Entries of the inverse are rounded once.
        let sum = |m: &[f64], i: usize| m[i * d..][..d].iter().map(|v| v.abs()).sum::<f64>();
        let rounding = (0..d)
            .map(|i| {
                (0..d)
                    .map(|k| {
                        w[i * d + k].abs()
                            * x[k * d..][..d].iter().fold(0.0, |m: f64, v| m.max(v.abs()))
                    })
                    .sum::<f64>()
            })
            .fold(0.0, f64::max);
        assert!(largest <= 1e-7 * rounding, "{d}: off by {largest}, {rounding}");
        let want = (0..d)
            .map(|i| (0..d).map(|j| x[i * d + j].abs() * sum(&w, j)).sum::<f64>())
            .fold(0.0, f64::max);
        assert!((f64::from(condition[0]) / want - 1.0).abs() < 1e-5, "{d}: {condition:?}, {want}");

        // By elimination without pivots of a matrix that needs none, WᵀW.
        let turned: Vec<f64> = (0..d * d).map(|i| w[i % d * d + i / d]).collect();
        let mut gram = times(&turned, &w, d);
        let mut log = 0.0;
        for k in 0..d {
            log += 0.5 * gram[k * d + k].ln();
            for i in k + 1..d {
                let factor = gram[i * d + k] / gram[k * d + k];
                (k..d).for_each(|j| gram[i * d + j] -= factor * gram[k * d + j]);
            }
        }
        let off = (f64::from(log_det[0]) - log).abs();
        assert!(off < 1e-4 * (1.0 + log.abs()), "{d}: {log_det:?}, not {log}");
    }
}

#[test]
fn singular_matrices_and_those_that_are_no_numbers() {
    for w in [vec![0.0; 9], vec![1.0, 2.0, 2.0, 4.0], vec![0.0]] {
        let Some([inverse, log_det, condition]) = inverted(&w) else { return };
        assert_eq!((log_det[0], condition[0]), (f32::NEG_INFINITY, f32::INFINITY));
        assert!(inverse.iter().any(|v| !v.is_finite()));
    }
    for at in 0..4 {
        let mut w = vec![1.0, 2.0, 3.0, 5.0];
        w[at] = f32::NAN;
        let Some([inverse, log_det, _]) = inverted(&w) else { return };
        assert!(log_det[0].is_nan() && inverse.iter().any(|v| v.is_nan()), "{at}");
    }
}

#[test]
fn matrices_are_turned_and_scaled() {
    for d in [1, 3, 13] {
        let Some(mut trial) = Trial::new() else { return };
        let (start, x, logs) = (numbers(1, d * d), numbers(2, d * d), numbers(3, d));
        let [into, none, at, by, zero, log] =
            [&start[..], &start, &x, &[-0.7], &[0.0], &logs].map(|v| trial.put(v));
        let scaled = trial.room(d * d);
        let lost = trial.put(&vec![f32::NAN; d * d]);
        let ops = vec![
            add_turned(into, at, by),
            add_turned(none, lost, zero),
            scale_columns(scaled, at, log, -1.0),
        ];
        let found = trial.run(ops, &[into, none, scaled, lost]);
        let (start, x, logs) = (wide(&start), wide(&x), wide(&logs));
        let by = f64::from(-0.7_f32);
        let want: Vec<f64> = (0..d * d).map(|i| start[i] + by * x[i % d * d + i / d]).collect();
        close("turned", &found[0], &want);
        assert_eq!(wide(&found[1]), start);
        let want: Vec<f64> = (0..d * d).map(|i| x[i] * (-logs[i % d]).exp()).collect();
        close("scaled", &found[2], &want);
    }
}

/// Written out as matrices.
fn reflected(vectors: &[f64], d: usize) -> Vec<f64> {
    let one = |i: usize| f64::from(u8::from(i.is_multiple_of(d + 1)));
    let mut q: Vec<f64> = (0..d * d).map(one).collect();
    for v in vectors.chunks(d).filter(|v| dot(v, v) > 0.0) {
        let square = dot(v, v);
        let h: Vec<f64> = (0..d * d).map(|i| one(i) - 2.0 * v[i / d] * v[i % d] / square).collect();
        q = times(&q, &h, d);
    }
    q
}

#[test]
fn reflections_and_their_gradients() {
    for (count, d) in [(1, 1), (3, 2), (5, 5), (2, 9), (37, 37)] {
        let Some(mut trial) = Trial::new() else { return };
        let mut vectors = numbers(1, count * d);
        if count > 2 {
            // One is the identity, and one is very short.
            vectors[d..2 * d].fill(0.0);
            vectors[2 * d..3 * d].iter_mut().for_each(|v| *v *= 1e-3);
        }
        let (by, start) = (numbers(2, d * d), numbers(3, count * d));
        let [v, g, into] = [&vectors, &by, &start].map(|v| trial.put(v));
        let product = trial.room(d * d);
        let of = Reflections { vectors: v, features: d };
        let mut ops = of.multiply(&mut trial.recording, product).to_vec();
        ops.extend(of.finish(&mut trial.recording, product, g, into));
        let found = trial.run(ops, &[product, into]);
        let (vectors, by, start) = (wide(&vectors), wide(&by), wide(&start));
        close_sums("the product", &found[0], &reflected(&vectors, d), 20 * count);
        if d > 9 {
            continue;
        }
        let length = |i: usize| vectors[i / d * d..][..d].iter().map(|v| v * v).sum::<f64>().sqrt();
        let step = |i: usize| 1e-4 * length(i);
        for i in (0..count * d).filter(|&i| length(i) > 0.0) {
            let at = |by_how: f64| {
                let mut vectors = vectors.clone();
                vectors[i] += by_how * step(i);
                dot(&reflected(&vectors, d), &by)
            };
            let slope = (8.0 * (at(1.0) - at(-1.0)) - at(2.0) + at(-2.0)) / (12.0 * step(i));
            let (found, want) = (f64::from(found[1][i]), start[i] + slope);
            let allowed = 1e-5 * (1.0 + want.abs() + 1.0 / length(i));
            assert!((found - want).abs() <= allowed, "{count} of {d}, {i}: {found}, not {want}");
        }
        if count > 2 {
            assert_eq!(wide(&found[1][d..2 * d]), start[d..2 * d]);
        }
    }
}

#[test]
fn reflections_of_any_size() {
    for size in [0.0, 1e-40, 1e-30, 1e30, 3e38] {
        let Some(mut trial) = Trial::new() else { return };
        let v = trial.put(&[0.6 * size, 0.8 * size]);
        let product = trial.room(4);
        let of = Reflections { vectors: v, features: 2 };
        let ops = of.multiply(&mut trial.recording, product).to_vec();
        let found = trial.run(ops, &[product]).remove(0);
        let none = size < f32::MIN_POSITIVE;
        let want = if none { [1.0, 0.0, 0.0, 1.0] } else { [0.28, -0.96, -0.96, -0.28] };
        close("a reflection", &found, &want);
    }
    let Some(mut trial) = Trial::new() else { return };
    let (v, product) = (trial.put(&[f32::NAN, 0.0]), trial.room(4));
    let of = Reflections { vectors: v, features: 2 };
    let ops = of.multiply(&mut trial.recording, product).to_vec();
    assert!(trial.run(ops, &[product])[0].iter().any(|v| v.is_nan()));
}
