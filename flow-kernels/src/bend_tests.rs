use super::*;
use crate::element::unit;

/// The functions with value and slope in f64, from the library.
const ALL: [(Function<f32>, fn(f64) -> (f64, f64)); 5] = [
    (Function::Leaky { below: 0.25 }, |v| if v <= 0.0 { (v * 0.25, 0.25) } else { (v, 1.0) }),
    (Function::Elu, |v| if v <= 0.0 { (v.exp_m1(), v.exp()) } else { (v, 1.0) }),
    (Function::Tanh, |v| (v.tanh(), v.cosh().powi(-2))),
    (Function::Swish, |v| {
        let (up, down) = (sigmoid(v), sigmoid(-v));
        (v * up, up * (1.0 + v * down))
    }),
    (Function::Softplus, |v| (v.max(0.0) + (-v.abs()).exp().ln_1p(), sigmoid(v))),
];

fn sigmoid(v: f64) -> f64 {
    let small = (-v.abs()).exp();
    if v < 0.0 {
        small / (1.0 + small)
    } else {
        1.0 / (1.0 + small)
    }
}

fn double(function: Function<f32>) -> Function<f64> {
    match function {
        Function::Leaky { below } => Function::Leaky { below: below.into() },
        Function::Elu => Function::Elu,
        Function::Tanh => Function::Tanh,
        Function::Swish => Function::Swish,
        Function::Softplus => Function::Softplus,
    }
}

/// Value, slope and curvature of each number.
fn at<E: Element>(function: Function<E>, numbers: &[E]) -> [Vec<E>; 3] {
    let mut all = [0; 3].map(|_| numbers.to_vec());
    let [values, slopes, curvatures] = &mut all;
    bend(function, values, &[], slopes, curvatures);
    all
}

#[test]
fn singles_are_within_a_few_units() {
    let numbers: Vec<f32> = (0..u32::MAX / 40_009)
        .map(|k| f32::from_bits(k * 40_009))
        .chain((-120_000..120_000).map(|k| k as f32 * 1e-3 + 1e-6))
        .filter(|v| v.is_finite())
        .collect();
    for (function, truth) in ALL {
        let [values, slopes, _] = at(function, &numbers);
        for ((&v, value), slope) in numbers.iter().zip(values).zip(slopes) {
            let (want, want_slope) = truth(f64::from(v));
            let lost = f64::from(v.abs()).max(1.0) * f64::from(f32::from_bits(1));
            let gate = if function == Function::Swish { sigmoid(v.into()) } else { 0.0 };
            for (got, want, size, most) in [(value, want, 0.0, 4.0), (slope, want_slope, gate, 6.0)]
            {
                let off = (f64::from(got) - want).abs();
                let most = most * f64::max(unit(want), unit(size));
                assert!(off <= lost.max(most), "{function:?} at {v:e}: {got:e}, not {want:e}");
            }
        }
    }
}

#[test]
fn doubles_are_those_of_the_library() {
    let numbers: Vec<f64> = (-80_000..80_000).map(|k| f64::from(k) * 5e-4 + 1e-7).collect();
    for (function, truth) in ALL {
        let [values, slopes, _] = at(double(function), &numbers);
        for ((&v, value), slope) in numbers.iter().zip(values).zip(slopes) {
            let (want, want_slope) = truth(v);
            let gate = if function == Function::Swish { sigmoid(v) } else { 0.0 };
            for (got, want, size) in [(value, want, 0.0), (slope, want_slope, gate)] {
                let off = (got - want).abs() / (f64::EPSILON * size.max(want.abs()));
                assert!(off <= 8.0, "{function:?} at {v}: {got:e}, not {want:e}: {off}");
            }
        }
    }
}

#[test]
fn derivatives_are_those_of_the_values() {
    let numbers: Vec<f64> = (-80..80).map(|k| 0.1 * f64::from(k) + 0.05).collect();
    let step = 1e-5;
    let moved = |by: f64| numbers.iter().map(|v| v + by).collect::<Vec<_>>();
    for (function, _) in ALL {
        let function = double(function);
        let [_, slopes, curvatures] = at(function, &numbers);
        let (above, below) = (at(function, &moved(step)), at(function, &moved(-step)));
        for i in 0..numbers.len() {
            for (got, of) in [(slopes[i], 0), (curvatures[i], 1)] {
                let want = (above[of][i] - below[of][i]) / (2.0 * step);
                assert!(
                    (got - want).abs() < 1e-9,
                    "{function:?} at {}: {got}, not {want}",
                    numbers[i]
                );
            }
        }
    }
}

#[test]
fn buffers_that_are_not_wanted_change_nothing() {
    let numbers: Vec<f32> = (-30..30).map(|k| 0.3 * k as f32).collect();
    for (function, _) in ALL {
        let [values, slopes, _] = at(function, &numbers);
        let (mut alone, mut with) = (numbers.clone(), numbers.clone());
        let mut slope = numbers.clone();
        bend(function, &mut alone, &[], &mut [], &mut []);
        bend(function, &mut with, &[], &mut slope, &mut []);
        assert_eq!(alone, values);
        assert_eq!((with, slope), (values, slopes));
    }
}

#[test]
fn each_row_meets_its_bias() {
    for width in [1, 3, 16, 37] {
        let bias: Vec<f64> = (0..width).map(|k| 0.25 * k as f64 - 3.0).collect();
        let numbers: Vec<f64> = (0..4 * width).map(|k| 0.5 * k as f64 - 5.0).collect();
        let moved: Vec<f64> = numbers.iter().zip(bias.iter().cycle()).map(|(v, b)| v + b).collect();
        for (function, _) in ALL {
            let function = double(function);
            let want = at(function, &moved);
            let mut all = [0; 3].map(|_| numbers.clone());
            let [values, slopes, curvatures] = &mut all;
            bend(function, values, &bias, slopes, curvatures);
            assert_eq!(all, want, "{function:?}, {width} numbers a row");
            let [values, slopes, _] = &mut all;
            values.copy_from_slice(&numbers);
            bend(function, values, &bias, slopes, &mut []);
            assert_eq!((&*values, &*slopes), (&want[0], &want[1]));
            values.copy_from_slice(&numbers);
            bend(function, values, &bias, &mut [], &mut []);
            assert_eq!(*values, want[0]);
        }
    }
}

#[test]
fn limits_and_nan() {
    for (function, _) in ALL {
        let [values, slopes, curvatures] = at(function, &[-1e30, -800.0, 800.0, 1e30, f32::NAN]);
        for all in [&values, &slopes, &curvatures] {
            assert!(all[..4].iter().all(|v| v.is_finite()), "{function:?}: {all:?}");
        }
        assert!(values[4].is_nan(), "{function:?}");
    }
}
