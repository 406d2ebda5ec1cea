use super::*;
use crate::Bin;

const LEAST: f64 = 1e-3;

fn numbers(count: usize, seed: usize, spread: f64) -> Vec<f64> {
    let share = |i: usize| (((i + seed) * 7919 + 104_729) % 10_007) as f64 / 10_007.0;
    (0..count).map(|i| spread * (2.0 * share(i) - 1.0)).collect()
}

/// The bin of one number as the paper has it, in plain lists, and its index.
fn bin(splines: &Splines, theta: &[f64], v: f64, along_heights: bool) -> Option<(usize, Bin<f64>)> {
    let &Splines { bins, bound, least } = splines;
    let sizes = |logits: &[f64]| {
        let sum: f64 = logits.iter().map(|v| v.exp()).sum();
        let size = |v: &f64| 2.0 * bound * (least + (1.0 - bins as f64 * least) * v.exp() / sum);
        logits.iter().map(size).collect::<Vec<_>>()
    };
    let knots = |sizes: &[f64]| {
        let sum = |at: usize| -bound + sizes[..at].iter().sum::<f64>();
        (0..=bins).map(sum).collect::<Vec<_>>()
    };
    let (widths, heights) = (sizes(&theta[..bins]), sizes(&theta[bins..2 * bins]));
    let (x, y) = (knots(&widths), knots(&heights));
    let mut slopes = vec![1.0];
    slopes.extend(theta[2 * bins..].iter().map(|v| least + v.exp().ln_1p()));
    slopes.push(1.0);
    if v <= -bound || v >= bound {
        return None;
    }
    let k = (1..bins).filter(|&k| v >= if along_heights { y[k] } else { x[k] }).count();
    let slopes = (slopes[k], slopes[k + 1]);
    Some((k, Bin { left: x[k], bottom: y[k], width: widths[k], height: heights[k], slopes }))
}

fn close(got: f64, want: f64, what: &str) {
    assert!((got - want).abs() <= 1e-11 * (1.0 + want.abs()), "{what}: {got}, not {want}");
}

const KINDS: [(usize, f64, f64); 4] = [(1, 3.0, 1.0), (2, 1.0, 2.0), (8, 3.0, 2.0), (33, 5.0, 3.0)];

#[test]
fn values_and_slopes_are_those_of_each_bin() {
    for (bins, bound, wild) in KINDS {
        let splines = Splines { bins, bound, least: LEAST };
        let each = splines.parameters();
        for count in [0, 1, 15, 16, 17, 50] {
            let theta = numbers(count * each, count, wild);
            let from = numbers(count, 3 * bins, 1.2 * bound);
            for back in [false, true] {
                let (mut values, mut kept) = (from.clone(), theta.clone());
                let mut logs = vec![f64::NAN; count];
                match back {
                    false => splines.forward(&mut values, &mut kept, &mut logs),
                    true => splines.inverse(&mut values, &mut kept, &mut logs),
                }
                for (i, &v) in from.iter().enumerate() {
                    let found = bin(&splines, &theta[i * each..(i + 1) * each], v, back);
                    let (want, slope) = match found {
                        None => (v, 1.0),
                        Some((_, bin)) if back => bin.inverse(v),
                        Some((_, bin)) => bin.forward(v),
                    };
                    let what = format!("{i} of {count} at {v}, back: {back}, {bins} bins");
                    close(values[i], want, &what);
                    close(logs[i], slope.ln(), &what);
                }
            }
        }
    }
}

/// Outside its bounds a spline is the identity to the bit, whose slope has the logarithm 0: neither the
/// value nor the slope of the last bin, which rounding moves.
#[test]
fn values_outside_pass_with_a_slope_of_one() {
    fn check<E: crate::Element + PartialEq + std::fmt::Debug>(infinity: E) {
        for (bins, bound, wild) in KINDS {
            let splines = Splines { bins, bound, least: LEAST };
            let each = splines.parameters();
            let single = |v: Vec<f64>| v.into_iter().map(E::constant).collect::<Vec<_>>();
            let far = [1.0, 1.0 + 1e-6, 1.5, 7.0, 1e3, 1e30].map(|v| E::constant(v * bound));
            let from: Vec<E> =
                far.into_iter().chain([infinity]).flat_map(|v| [v, -v]).cycle().take(140).collect();
            let theta = single(numbers(from.len() * each, bins, wild));
            for back in [false, true] {
                let (mut values, mut kept) = (from.clone(), theta.clone());
                let mut logs = vec![E::constant(f64::NAN); from.len()];
                match back {
                    false => splines.forward(&mut values, &mut kept, &mut logs),
                    true => splines.inverse(&mut values, &mut kept, &mut logs),
                }
                assert_eq!(values, from, "{bins} bins, back: {back}");
                let none = vec![E::default(); from.len()];
                assert_eq!(logs, none, "{bins} bins, back: {back}");
                let by = single(numbers(from.len(), 7, 1.0));
                let mut gradient = by.clone();
                match back {
                    false => splines.forward_vjp(&from, &mut kept, &mut gradient, &by),
                    true => splines.inverse_vjp(&from, &mut kept, &mut gradient, &by),
                }
                assert_eq!(gradient, by, "{bins} bins, back: {back}");
                assert!(kept.iter().all(|&v| v == E::default()), "{bins} bins, back: {back}");
            }
        }
    }
    check(f64::INFINITY);
    check(f32::INFINITY);
}

#[test]
fn products_are_those_of_differences() {
    for (bins, bound, wild) in KINDS {
        let splines = Splines { bins, bound, least: LEAST };
        let (each, count) = (splines.parameters(), 19);
        let theta = numbers(count * each, 5, wild);
        let x = numbers(count, 2, 1.1 * bound);
        let (by_value, by_log) = (numbers(count, 11, 1.0), numbers(count, 13, 1.0));
        for back in [false, true] {
            let from = if back {
                let mut z = x.clone();
                splines.forward(&mut z, &mut theta.clone(), &mut [0.0; 19]);
                z
            } else {
                x.clone()
            };
            let run = |from: &[f64], theta: &[f64]| {
                let (mut values, mut kept) = (from.to_vec(), theta.to_vec());
                let mut logs = vec![0.0; count];
                match back {
                    false => splines.forward(&mut values, &mut kept, &mut logs),
                    true => {
                        splines.inverse(&mut values, &mut kept, &mut logs);
                        logs.iter_mut().for_each(|log| *log = -*log);
                    }
                }
                (values, logs, kept)
            };
            let loss = |from: &[f64], theta: &[f64], i: usize| {
                let (values, logs, _) = run(from, theta);
                by_value[i] * values[i] + by_log[i] * logs[i]
            };
            let (_, _, mut kept) = run(&from, &theta);
            let mut gradient = by_value.clone();
            match back {
                false => splines.forward_vjp(&x, &mut kept, &mut gradient, &by_log),
                true => splines.inverse_vjp(&x, &mut kept, &mut gradient, &by_log),
            }
            let near = |got: f64, want: f64, what: &str| {
                assert!(
                    (got - want).abs() <= 2e-4 * (1.0 + want.abs()),
                    "{what}: {got}, not {want}"
                );
            };
            let step = 1e-6;
            for i in 0..count {
                // Slopes of the gradient jump at knots: bins must be the same on both sides.
                let same = |a: &[f64], b: &[f64]| {
                    let part = i * each..(i + 1) * each;
                    let at = |theta: &[f64], v| bin(&splines, &theta[part.clone()], v, back);
                    at(a, from[i] - step).map(|b| b.0) == at(b, from[i] + step).map(|b| b.0)
                };
                let what = format!("{bins} bins, back: {back}, number {i}");
                if !same(&theta, &theta) {
                    continue;
                }
                let moved = |d: f64| {
                    let mut from = from.clone();
                    from[i] += d;
                    loss(&from, &theta, i)
                };
                near(gradient[i], (moved(step) - moved(-step)) / (2.0 * step), &what);
                for k in 0..each {
                    let moved = |d: f64| {
                        let mut theta = theta.clone();
                        theta[i * each + k] += d;
                        theta
                    };
                    let (up, down) = (moved(step), moved(-step));
                    if same(&up, &down) && same(&down, &up) {
                        let want = (loss(&from, &up, i) - loss(&from, &down, i)) / (2.0 * step);
                        near(kept[i * each + k], want, &format!("{what}, parameter {k}"));
                    }
                }
            }
        }
    }
}

#[test]
fn splines_do_not_depend_on_those_beside_them() {
    let splines = Splines { bins: 5, bound: 2.0, least: LEAST };
    let each = splines.parameters();
    let single = |v: Vec<f64>| v.into_iter().map(|v| v as f32).collect::<Vec<_>>();
    let (theta, from) = (single(numbers(37 * each, 1, 2.0)), single(numbers(37, 2, 2.2)));
    let run = |from: &[f32], theta: &[f32]| {
        let (mut values, mut kept) = (from.to_vec(), theta.to_vec());
        let mut logs = vec![0.0; from.len()];
        splines.forward(&mut values, &mut kept, &mut logs);
        let mut gradient = vec![1.0; from.len()];
        splines.forward_vjp(from, &mut kept, &mut gradient, &vec![0.5; from.len()]);
        (values, logs, gradient, kept)
    };
    let all = run(&from, &theta);
    for i in 0..37 {
        let own = i * each..(i + 1) * each;
        let (value, log, gradient, by_theta) = run(&from[i..=i], &theta[own.clone()]);
        assert_eq!((value[0], log[0], gradient[0]), (all.0[i], all.1[i], all.2[i]), "{i}");
        assert_eq!(by_theta, all.3[own], "{i}");
    }
}

#[test]
fn large_logits_do_not_overflow_and_nan_stays_where_it_is() {
    let splines = Splines { bins: 3, bound: 1.0, least: LEAST };
    let mut theta = [[1e30_f32, 1e30, -1e30, 0.0, 1.0, 2.0, 1e30, -1e30], [f32::NAN; 8], [0.0; 8]];
    let (mut values, mut logs) = ([0.5, 0.5, f32::NAN], [0.0; 3]);
    splines.forward(&mut values, theta.as_flattened_mut(), &mut logs);
    assert!(values[0].is_finite() && values[1].is_nan() && values[2].is_nan(), "{values:?}");
    assert_eq!(logs[2], 0.0);
    let mut gradient = [1.0; 3];
    splines.forward_vjp(&[0.5, 0.5, f32::NAN], theta.as_flattened_mut(), &mut gradient, &[0.0; 3]);
    assert_eq!((gradient[2], theta[2]), (1.0, [0.0; 8]));
}

#[test]
#[should_panic(expected = "parameters of 2 splines")]
fn parameters_belong_to_as_many_splines() {
    let splines = Splines { bins: 2, bound: 1.0, least: LEAST };
    splines.forward(&mut [0.0; 2], &mut [0.0; 9], &mut [0.0; 2]);
}
