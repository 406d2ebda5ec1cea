use super::*;
use crate::testing::normal;
use crate::Noise;

fn random(rows: usize, columns: usize, seed: u64) -> Vec<f64> {
    normal(rows * columns, seed)
}

/// A lower bound: ‖Wv‖/‖v‖ for a v that many steps of power iteration have turned.
fn observed(w: &[f64], rows: usize, columns: usize) -> f64 {
    let length = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let mut v = random(columns, 1, 99);
    let mut image = vec![0.0; rows];
    for _ in 0..3000 {
        let scale = 1.0 / length(&v);
        v.iter_mut().for_each(|x| *x *= scale);
        for (i, y) in image.iter_mut().enumerate() {
            *y = (0..columns).map(|j| w[i * columns + j] * v[j]).sum();
        }
        for (j, x) in v.iter_mut().enumerate() {
            *x = (0..rows).map(|i| w[i * columns + j] * image[i]).sum();
        }
    }
    let scale = 1.0 / length(&v);
    v.iter_mut().for_each(|x| *x *= scale);
    let image: Vec<f64> =
        (0..rows).map(|i| (0..columns).map(|j| w[i * columns + j] * v[j]).sum()).collect();
    length(&image)
}

fn check(w: &[f64], rows: usize, columns: usize) {
    let (bound, seen) = (norm(w, rows, columns), observed(w, rows, columns));
    assert!(bound >= seen * (1.0 - 1e-13), "{rows}×{columns}: {bound} is below {seen}");
    assert!(bound <= seen * 1.01, "{rows}×{columns}: {bound} is far above {seen}");
}

fn matrix(outputs: usize, inputs: usize) -> Map {
    Map { outputs, inputs, window: Window::POINT, image: false }
}

#[test]
fn random_matrices_of_all_forms() {
    for (rows, columns) in [(1, 1), (1, 7), (7, 1), (3, 5), (5, 3), (16, 16), (40, 9)] {
        for seed in 0..3 {
            check(&random(rows, columns, seed), rows, columns);
        }
    }
}

#[test]
fn the_bound_survives_its_own_rounding() {
    // σ² of u·vᵀ is the integer |u|²·|v|², and the Frobenius norm is the spectral one: only
    // rounding separates the bound from it. Compared in exact integers.
    let noise = Noise::seed(4);
    for case in 0..200 {
        let draw = |at: u64| noise.below(100 * case + at, 15) as i64 - 7;
        let (rows, columns) = (2 + case as usize % 5, 2 + case as usize % 3);
        let u: Vec<i64> = (0..rows as u64).map(draw).collect();
        let v: Vec<i64> = (50..50 + columns as u64).map(draw).collect();
        let squares = |v: &[i64]| v.iter().map(|x| x * x).sum::<i64>() as u128;
        let exact = squares(&u) * squares(&v);
        let w: Vec<f64> = u.iter().flat_map(|a| v.iter().map(move |b| (a * b) as f64)).collect();
        let single: Vec<f32> = w.iter().map(|&v| v as f32).collect();
        let map = matrix(rows, columns);
        for (bound, most) in [
            (norm(&w, rows, columns), 1e-12),
            (norm_and_direction(&w, map).0, 1e-12),
            (norm_and_direction(&single, map).0, 1e-5),
        ] {
            // A number of 1 or more is a whole multiple of 2⁻⁵², so this is exact.
            let scaled = (bound * (1u64 << 52) as f64) as u128;
            assert!(scaled * scaled >= exact << 104, "{bound}² is below {exact}");
            assert!(bound <= (exact as f64).sqrt() * (1.0 + most));
        }
    }
}

#[test]
fn single_precision_is_certain_and_close() {
    for (rows, columns) in [(1, 7), (16, 16), (2, 64), (50, 50), (20, 60)] {
        let single: Vec<f32> = random(rows, columns, 3).iter().map(|&v| v as f32).collect();
        let double: Vec<f64> = single.iter().map(|&v| v.into()).collect();
        let map = matrix(rows, columns);
        let (bound, direction) = norm_and_direction(&single, map);
        let (want, want_direction) = norm_and_direction(&double, map);
        let seen = observed(&double, rows, columns);
        assert!(bound >= seen * (1.0 - 1e-13), "{rows}×{columns}: {bound} is below {seen}");
        assert!((1.0..1.002).contains(&(bound / want)), "{rows}×{columns}: {bound}, not {want}");
        let size = want_direction.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        for (got, want) in direction.iter().zip(want_direction) {
            assert!((got - want).abs() < 1e-3 * size, "{rows}×{columns}: {got}, not {want}");
        }
    }
}

#[test]
fn equal_singular_values_are_the_loosest() {
    for n in [2, 17, 64] {
        // A reflection: all singular values are 1.
        let v = random(n, 1, 5);
        let square: f64 = v.iter().map(|x| x * x).sum();
        let w: Vec<f64> = (0..n * n)
            .map(|i| f64::from(i / n == i % n) - 2.0 * v[i / n] * v[i % n] / square)
            .collect();
        let bound = norm(&w, n, n);
        assert!((1.0 - 1e-14..1.0051).contains(&bound), "{bound}");
    }
}

#[test]
fn rank_deficient_zero_and_empty_matrices() {
    let (a, b) = (random(9, 2, 1), random(2, 7, 2));
    let w: Vec<f64> =
        (0..63).map(|i| (0..2).map(|k| a[i / 7 * 2 + k] * b[k * 7 + i % 7]).sum()).collect();
    check(&w, 9, 7);
    assert_eq!(norm(&[0.0; 12], 3, 4), 0.0);
    assert_eq!(norm::<f64>(&[], 3, 0), 0.0);
}

#[test]
fn huge_tiny_and_mixed_entries() {
    for scale in [1e30, 1e-30, 1e150, 1e-150, 1e300, 1e-300] {
        let w: Vec<f64> = random(6, 5, 3).iter().map(|v| v * scale).collect();
        let unit: Vec<f64> = w.iter().map(|v| v / scale).collect();
        let (bound, seen) = (norm(&w, 6, 5), observed(&unit, 6, 5) * scale);
        assert!(bound >= seen * (1.0 - 1e-13) && bound <= 1.01 * seen, "{bound}, {seen}");
    }
    let subnormal = norm(&[3e-322, 4e-322], 1, 2);
    assert!((5e-322..6e-322).contains(&subnormal), "{subnormal:e}");
    let mixed = norm(&[1e200, 1.0, 1e-200, 1e-100], 2, 2);
    assert!((1e200..1.0000001e200).contains(&mixed), "{mixed:e}");
    let single: Vec<f32> = random(4, 4, 6).iter().map(|&v| v as f32 * 1e30).collect();
    let double: Vec<f64> = single.iter().map(|&v| v.into()).collect();
    assert_eq!(norm(&single, 4, 4), norm(&double, 4, 4));
}

#[test]
fn what_is_not_finite_has_no_bound() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(norm(&[1.0, bad, 0.0, 2.0], 2, 2), f64::INFINITY);
    }
    assert_eq!(norm_and_direction(&[f64::NAN], matrix(1, 1)), (f64::INFINITY, vec![0.0]));
}

#[test]
fn the_direction_is_that_of_central_differences() {
    for (rows, columns) in [(1, 1), (1, 4), (4, 1), (4, 6), (6, 4), (12, 12)] {
        let w = random(rows, columns, 8);
        let (_, direction) = norm_and_direction(&w, matrix(rows, columns));
        for i in 0..w.len() {
            let at = |by: f64| {
                let mut moved = w.clone();
                moved[i] += by;
                norm(&moved, rows, columns).ln()
            };
            let step = 1e-5;
            let want = (at(step) - at(-step)) / (2.0 * step);
            assert!((direction[i] - want).abs() < 1e-7, "{i}: {}, not {want}", direction[i]);
        }
    }
}
