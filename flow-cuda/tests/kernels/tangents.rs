use flow_cuda::kernels::product::Function;
use flow_cuda::kernels::tangents::{
    add_bent, add_power, add_trace, bend_twice, multiply_each, next_term, scale_rows, unit_vectors,
    Terms,
};

use super::{close, close_sums, numbers, wide, Trial};

/// Each function in f64, by its formula.
fn bent(function: Function, v: f64) -> f64 {
    match function {
        Function::Identity => v,
        Function::Relu => v.max(0.0),
        Function::Elu => v.max(0.0) + v.min(0.0).exp_m1(),
        Function::LeakyRelu => v.max(0.01 * v),
        Function::Tanh => v.tanh(),
        Function::Swish => v / (1.0 + (-v).exp()),
        Function::Gelu => {
            // Φ by Simpson's rule from 0.
            let steps = 400;
            let density = |t: f64| (-0.5 * t * t).exp() / std::f64::consts::TAU.sqrt();
            let h = v / f64::from(steps);
            let weight =
                |i: i32| if i == 0 || i == steps { 1.0 } else { f64::from(2 + 2 * (i % 2)) };
            let sum: f64 = (0..=steps).map(|i| weight(i) * density(h * f64::from(i))).sum();
            v * (0.5 + h / 3.0 * sum)
        }
        Function::Softplus => v.exp().ln_1p(),
    }
}

const ALL: [Function; 8] = [
    Function::Identity,
    Function::Relu,
    Function::Elu,
    Function::LeakyRelu,
    Function::Tanh,
    Function::Swish,
    Function::Gelu,
    Function::Softplus,
];

#[test]
fn functions_have_their_slopes_and_second_derivatives() {
    for function in ALL {
        let Some(mut trial) = Trial::new() else { return };
        // No number is at a kink.
        let x: Vec<f32> = numbers(1, 131).iter().map(|v| 4.0 * v + 0.001).collect();
        let from = trial.put(&x);
        let [into, slopes, curvatures] = [0; 3].map(|_| trial.room(131));
        let op = bend_twice(into, from, function, slopes, curvatures);
        let found = trial.run(vec![op], &[into, slopes, curvatures]);
        let f = |v| bent(function, v);
        let h = 1e-3;
        let first =
            |v: f64| (8.0 * (f(v + h) - f(v - h)) - f(v + 2.0 * h) + f(v - 2.0 * h)) / 12e-3;
        let second = |v: f64| {
            (16.0 * (f(v + h) + f(v - h)) - f(v + 2.0 * h) - f(v - 2.0 * h) - 30.0 * f(v)) / 12e-6
        };
        // Where differences do not reach over a kink.
        let smooth = |v: &f64| v.abs() > 2.0 * h;
        let x = wide(&x);
        for (i, &v) in x.iter().enumerate().filter(|(_, v)| smooth(v)) {
            let what = format!("{function:?} at {v}");
            close(&what, &[found[0][i], found[1][i]], &[f(v), first(v)]);
            let off = (f64::from(found[2][i]) - second(v)).abs();
            assert!(off < 1e-5, "{what}: {}, not {}", found[2][i], second(v));
        }
    }
}

#[test]
fn functions_are_numbers_far_out() {
    for function in ALL {
        let Some(mut trial) = Trial::new() else { return };
        let from = trial.put(&[-3e38, -1e4, -90.0, 90.0, 1e4, 3e38]);
        let [into, slopes, curvatures] = [0; 3].map(|_| trial.room(6));
        let op = bend_twice(into, from, function, slopes, curvatures);
        let found = trial.run(vec![op], &[into, slopes, curvatures]).concat();
        assert!(found.iter().all(|v| v.is_finite()), "{function:?}: {found:?}");
    }
}

#[test]
fn vectors_of_rows_are_multiplied_and_added_up() {
    for (rows, width, count) in [(1, 1, 1), (3, 5, 2), (7, 2, 9)] {
        let Some(mut trial) = Trial::new() else { return };
        let len = rows * width * count;
        let (left, right) = (numbers(1, len), numbers(2, len));
        let (by, start) = (numbers(3, rows * width), numbers(4, rows * width));
        let scales = numbers(5, rows);
        let [l, r, b, s] = [&left, &right, &by, &scales].map(|v| trial.put(v));
        let [each, scaled, sums] = [trial.room(len), trial.room(len), trial.put(&start)];
        let units = trial.room(len);
        let ops = vec![
            multiply_each(each, l, b, width, count),
            add_bent(sums, b, [l, r], width, count),
            scale_rows(scaled, l, s),
            unit_vectors(units, width, 1, count),
        ];
        let found = trial.run(ops, &[each, sums, scaled, units]);
        let [left, right, by, start, scales] =
            [&left, &right, &by, &start, &scales].map(|v| wide(v));
        let mut want = [vec![0.0; len], start, vec![0.0; len], vec![0.0; len]];
        for (row, &scale) in scales.iter().enumerate() {
            for k in 0..count {
                for j in 0..width {
                    let (i, at) = ((row * count + k) * width + j, row * width + j);
                    want[0][i] = left[i] * by[at];
                    want[1][at] += by[at] * left[i] * right[i];
                    want[2][i] = left[i] * scale;
                    want[3][i] = f64::from(u8::from(k + 1 == j));
                }
            }
        }
        close("vectors times numbers", &found[0], &want[0]);
        close_sums("sums of products", &found[1], &want[1], count);
        close("scaled rows", &found[2], &want[2]);
        close("unit vectors", &found[3], &want[3]);
    }
}

/// All terms of a series one after the other, of rows that have some of them.
#[test]
fn series_count_the_terms_that_a_row_has() {
    for (rows, width) in [(1, 1), (6, 3), (131, 40)] {
        let Some(mut trial) = Trial::new() else { return };
        let (exact, per_term, factor) = (2, 2.5, -0.5);
        let counts: Vec<f32> = (0..rows).map(|row| (2 + row % 4) as f32).collect();
        let (left, right) = (numbers(1, rows * width), numbers(2, rows * width));
        let (start, powers) = (numbers(3, rows), numbers(4, rows * width));
        let [l, r, c, p] = [&left, &right, &counts, &powers].map(|v| trial.put(v));
        let number = trial.put(&[1.0]);
        let [traces, sums] = [trial.put(&start), trial.put(&powers)];
        let status = trial.room(4);
        let terms = Terms { number, counts: c, exact, per_term };
        let mut ops = Vec::new();
        for _ in 0..5 {
            ops.push(add_trace(traces, l, r, terms, factor));
            ops.push(add_power(sums, p, terms));
            ops.push(next_term(terms, status));
        }
        let found = trial.run(ops, &[traces, sums, number, status]);
        assert_eq!(found[2], [6.0]);
        assert_eq!(found[3][..2], [0.0, -1.0]);
        let [left, right, start, powers] = [&left, &right, &start, &powers].map(|v| wide(v));
        let weight = |row: usize, k: usize| {
            let beyond = k.saturating_sub(exact) as i32;
            let counts = k <= 2 + row % 4;
            let sign = if k % 2 == 1 { 1.0 } else { -1.0 };
            if counts {
                sign * f64::powi(per_term, beyond)
            } else {
                0.0
            }
        };
        for row in 0..rows {
            let own = row * width..(row + 1) * width;
            let dot: f64 =
                left[own.clone()].iter().zip(&right[own.clone()]).map(|(a, b)| a * b).sum();
            let trace: f64 = (1..=5).map(|k| factor * weight(row, k) / k as f64 * dot).sum();
            close_sums("traces", &found[0][row..=row], &[start[row] + trace], 5 * width);
            let all: f64 = (1..=5).map(|k| weight(row, k)).sum();
            let want: Vec<f64> = powers[own.clone()].iter().map(|p| p + all * p).collect();
            close_sums("powers", &found[1][own], &want, 40);
        }
    }
}

#[test]
fn rows_with_the_next_term_are_counted() {
    let Some(mut trial) = Trial::new() else { return };
    let counts: Vec<f32> = (0..301).map(|row| (row % 5) as f32).collect();
    let (c, number, status) = (trial.put(&counts), trial.put(&[2.0]), trial.room(4));
    let terms = Terms { number, counts: c, exact: 1, per_term: 1.0 };
    let found = trial.run(vec![next_term(terms, status)], &[number, status]);
    let open = counts.iter().filter(|&&count| count >= 3.0).count();
    assert_eq!((found[0][0], found[1][0], found[1][1]), (3.0, open as f32, -1.0));
}
