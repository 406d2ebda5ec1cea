use super::*;
use crate::backend::cpu::convolution::Window;
use crate::lipschitz::norm::norm;
use crate::testing::normal;
use crate::Noise;

fn map(outputs: usize, inputs: usize, kernel: usize, height: usize, width: usize) -> Map {
    Map { outputs, inputs, window: Window { kernel, height, width }, image: true }
}

/// The matrix of the zero-padded convolution, `height·width·outputs × height·width·inputs`, entry by
/// entry from its definition.
fn matrix(weights: &[f64], map: Map) -> Vec<f64> {
    let Window { kernel, height, width } = map.window;
    let reach = kernel as i64 / 2;
    let mut matrix = vec![];
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        for o in 0..map.outputs {
            for (from_y, from_x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                let dy = from_y as i64 - y as i64 + reach;
                let dx = from_x as i64 - x as i64 + reach;
                let inside = (0..kernel as i64).contains(&dy) && (0..kernel as i64).contains(&dx);
                for i in 0..map.inputs {
                    let tap = (dy * kernel as i64 + dx) as usize;
                    let at = || (o * map.window.taps() + tap) * map.inputs + i;
                    matrix.push(if inside { weights[at()] } else { 0.0 });
                }
            }
        }
    }
    matrix
}

/// A lower bound on the greatest singular value, by power iteration.
fn observed(matrix: &[f64], columns: usize) -> f64 {
    let rows = matrix.len() / columns;
    let mut v = normal(columns, 7);
    let mut image = vec![0.0; rows];
    let mut seen = 0.0;
    for _ in 0..200 {
        let length = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        v.iter_mut().for_each(|v| *v /= length);
        multiply(
            &mut image,
            Into::Replace,
            Matrix::new(matrix, rows, columns),
            Matrix::new(&v, columns, 1),
        );
        seen = image.iter().map(|v| v * v).sum::<f64>().sqrt();
        multiply(
            &mut v,
            Into::Replace,
            Matrix::new(matrix, rows, columns).t(),
            Matrix::new(&image, rows, 1),
        );
    }
    seen
}

/// The bound over the norm that is observed.
fn ratio(weights: &[f64], map: Map) -> f64 {
    let seen = observed(&matrix(weights, map), map.inputs * map.window.pixels());
    norm_and_direction(weights, map).0 / seen
}

#[test]
fn no_padded_convolution_exceeds_the_bound() {
    for (case, &(outputs, inputs, kernel, height, width)) in [
        (1, 1, 3, 1, 1),
        (1, 1, 3, 4, 1),
        (2, 3, 3, 2, 5),
        (3, 2, 3, 5, 4),
        (4, 4, 3, 3, 3),
        (1, 5, 5, 2, 3),
        (2, 2, 5, 6, 1),
        (3, 1, 7, 3, 3),
        (2, 2, 9, 2, 2),
    ]
    .iter()
    .enumerate()
    {
        let map = map(outputs, inputs, kernel, height, width);
        for seed in 0..4 {
            let weights = normal(map.len(), 10 * case as u64 + seed);
            let ratio = ratio(&weights, map);
            assert!(ratio >= 1.0 - 1e-12, "{map:?}: {ratio}");
            // Each pixel lies in at most k² patches.
            let whole = norm(&weights, outputs, inputs * map.window.taps());
            let (bound, _) = norm_and_direction(&weights, map);
            assert!(bound <= kernel as f64 * whole * 1.005, "{map:?}: {bound}, {whole}");
        }
    }
}

#[test]
fn on_a_larger_image_the_bound_is_close() {
    for (outputs, inputs, side) in [(1, 1, 24), (2, 2, 16), (3, 1, 17)] {
        let map = map(outputs, inputs, 3, side, side);
        for seed in 0..2 {
            let ratio = ratio(&normal(map.len(), seed), map);
            assert!((1.0 - 1e-12..1.02).contains(&ratio), "{map:?}: {ratio}");
        }
    }
}

#[test]
fn a_single_pixel_meets_the_middle_of_the_kernel_alone() {
    let map = map(2, 3, 3, 1, 1);
    let weights = normal(map.len(), 1);
    let middle: Vec<f64> = (0..2).flat_map(|o| weights[(o * 9 + 4) * 3..][..3].to_vec()).collect();
    let (bound, direction) = norm_and_direction(&weights, map);
    assert!((bound / norm(&middle, 2, 3) - 1.0).abs() < 1e-12);
    for (i, by) in direction.iter().enumerate() {
        assert_eq!(*by != 0.0, i / 3 % 9 == 4, "entry {i}");
    }
}

/// −1, 2, −1 across an image of one row.
const SECOND_DIFFERENCE: [f64; 9] = [0.0, 0.0, 0.0, -1.0, 2.0, -1.0, 0.0, 0.0, 0.0];

#[test]
fn the_torus_of_the_image_would_be_too_small() {
    let exact = 2.0 + 2f64.sqrt();
    let around = 2.0 - 2.0 * (2.0 * std::f64::consts::PI / 3.0).cos();
    assert!(around < 0.9 * exact);
    let (bound, _) = norm_and_direction(&SECOND_DIFFERENCE, map(1, 1, 3, 1, 3));
    // On five pixels, around which no tap goes.
    let want = 2.0 - 2.0 * (4.0 * std::f64::consts::PI / 5.0).cos();
    assert!(bound > exact && (bound / want - 1.0).abs() < 1e-13, "{bound}");
}

#[test]
fn a_shift_and_a_mean_have_the_norms_that_one_knows() {
    let shift = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    for (weights, want) in [(shift, 1.0), ([1.0 / 9.0; 9], 1.0), (SECOND_DIFFERENCE, 4.0)] {
        let (bound, _) = norm_and_direction(&weights, map(1, 1, 3, 6, 8));
        assert!((want..want * (1.0 + 1e-13)).contains(&bound), "{bound}, not {want}");
    }
}

#[test]
fn huge_tiny_and_mixed_entries() {
    let map = map(2, 3, 3, 4, 3);
    let unit = normal(map.len(), 3);
    let (whole, direction) = norm_and_direction(&unit, map);
    for exponent in [1000, 300, -300, -1000] {
        let scale = power_of_two(1.0, exponent);
        let scaled: Vec<f64> = unit.iter().map(|v| v * scale).collect();
        let (bound, by) = norm_and_direction(&scaled, map);
        assert!((bound / scale / whole - 1.0).abs() < 1e-13, "2^{exponent}: {bound:e}");
        assert!((by[5] * scale - direction[5]).abs() < 1e-12, "2^{exponent}");
    }
    let subnormal: Vec<f64> = (0..map.len()).map(|i| ETA * i as f64).collect();
    let whole: Vec<f64> = (0..map.len()).map(|i| i as f64).collect();
    let (bound, exact) = (norm_and_direction(&subnormal, map).0, norm_and_direction(&whole, map).0);
    assert!(bound >= exact * ETA && bound <= 1.1 * exact * ETA, "{bound:e}");
    let mut mixed = vec![1e-200; map.len()];
    mixed[4] = 1e200;
    let (bound, _) = norm_and_direction(&mixed, map);
    assert!((1e200..1.000_000_1e200).contains(&bound), "{bound:e}");
    let single: Vec<f32> = unit.iter().map(|&v| v as f32).collect();
    let double: Vec<f64> = single.iter().map(|&v| v.into()).collect();
    assert_eq!(norm_and_direction(&single, map), norm_and_direction(&double, map));
}

#[test]
fn zeros_have_norm_0_and_what_is_not_finite_has_none() {
    let map = map(2, 1, 3, 2, 2);
    assert_eq!(norm_and_direction(&[0.0; 18], map), (0.0, vec![0.0; 18]));
    let mut weights = [1.0; 18];
    weights[17] = f64::NAN;
    assert_eq!(norm_and_direction(&weights, map), (f64::INFINITY, vec![0.0; 18]));
}

#[test]
fn the_bound_survives_its_own_rounding() {
    // With one tap u·vᵀ the norm is |u|·|v| at every frequency, and the Frobenius norm is the
    // spectral one: only rounding separates the bound from it. Compared in exact integers.
    let noise = Noise::seed(4);
    for case in 0..60 {
        let draw = |at: u64| noise.below(100 * case + at, 15) as i64 - 7;
        let map = map(2 + case as usize % 4, 2 + case as usize % 3, 3, 2 + case as usize % 5, 3);
        let u: Vec<i64> = (0..map.outputs as u64).map(draw).collect();
        let v: Vec<i64> = (50..50 + map.inputs as u64).map(draw).collect();
        let mut weights = vec![0.0; map.len()];
        for (o, a) in u.iter().enumerate() {
            for (i, b) in v.iter().enumerate() {
                weights[(o * 9 + (case as usize + 3) % 9) * map.inputs + i] = (a * b) as f64;
            }
        }
        let squares = |v: &[i64]| v.iter().map(|x| x * x).sum::<i64>() as u128;
        let exact = squares(&u) * squares(&v);
        let (bound, _) = norm_and_direction(&weights, map);
        let scaled = (bound * (1u64 << 52) as f64) as u128;
        let meets = map.window.height > 1 || (case as usize + 3) % 9 / 3 == 1;
        assert!(!meets || scaled * scaled >= exact << 104, "{bound}² is below {exact}");
        assert!(bound <= (exact as f64).sqrt() * (1.0 + 1e-12));
    }
}

#[test]
fn the_direction_is_that_of_central_differences() {
    for (outputs, inputs, kernel, height, width) in
        [(1, 1, 3, 3, 2), (2, 3, 3, 2, 3), (4, 2, 3, 3, 1), (3, 3, 5, 2, 4)]
    {
        let map = map(outputs, inputs, kernel, height, width);
        let weights = normal(map.len(), 8);
        let (_, direction) = norm_and_direction(&weights, map);
        for i in 0..weights.len() {
            let at = |by: f64| {
                let mut moved = weights.clone();
                moved[i] += by;
                norm_and_direction(&moved, map).0.ln()
            };
            let want = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((direction[i] - want).abs() < 1e-7, "{i}: {}, not {want}", direction[i]);
        }
    }
}
