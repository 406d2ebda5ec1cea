use flow_cuda::kernels::norms::{Limit, Measured, Normed, Norms, Part, Spread};
use flow_cuda::Slot;

use super::{dot, numbers, slopes, times, wide, Trial};

/// Squarings, as flow-core chooses them: the bound is within 0.5 % of the norm.
fn squarings(side: usize) -> usize {
    let order = (side as f64).ln() / 0.01;
    (order - 1.0).max(1.0).log2().ceil() as usize
}

/// `tr((WᵀW)ᵖ)^(1/2p)` with p = 2ᵏ + 1, an upper bound on the norm, from powers in f64.
fn schatten(w: &[f64], rows: usize, columns: usize) -> f64 {
    let most = w.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
    if most == 0.0 {
        return 0.0;
    }
    let scaled: Vec<f64> = w.iter().map(|v| v / most).collect();
    let turned: Vec<f64> =
        (0..rows * columns).map(|i| scaled[i % rows * columns + i / rows]).collect();
    let gram = times(&turned, &scaled, rows);
    let (mut power, mut log) = (gram.clone(), 0.0);
    let k = squarings(rows.min(columns));
    for _ in 0..k {
        let size = dot(&power, &power).sqrt();
        let unit: Vec<f64> = power.iter().map(|v| v / size).collect();
        power = times(&unit, &unit, columns);
        log = 2.0 * (log + size.ln());
    }
    let p = (1_u64 << k) as f64 + 1.0;
    most * ((dot(&gram, &power).ln() + log) / (2.0 * p)).exp()
}

/// The norm by the power method.
fn norm(w: &[f64], columns: usize) -> f64 {
    let mut x: Vec<f64> = wide(&numbers(9, columns));
    let mut size = 0.0;
    for _ in 0..3000 {
        let y = times(w, &x, columns);
        x = (0..columns).map(|j| (0..y.len()).map(|i| w[i * columns + j] * y[i]).sum()).collect();
        size = dot(&x, &x).sqrt();
        x.iter_mut().for_each(|v| *v /= size);
    }
    size.sqrt()
}

pub(crate) struct Scaled {
    pub(crate) factor: f32,
    pub(crate) scaled: Vec<Vec<f32>>,
    pub(crate) directions: Vec<Vec<f32>>,
    pub(crate) by_numbers: Vec<Vec<f32>>,
}

/// What a weight is, once it is known where its numbers lie.
pub(crate) type Kind<'a> = &'a dyn Fn(Slot) -> Measured;

/// Matrices under a limit, and the gradients by them from those by the ones that are used.
fn limited(
    weights: &[(Vec<f32>, usize, usize)],
    by_used: &[Vec<f32>],
    limit: &Limit,
    double: bool,
) -> Option<Scaled> {
    let matrix = |&(_, rows, columns): &(Vec<f32>, usize, usize)| {
        move |numbers| {
            let squarings = squarings(rows.min(columns));
            Measured::Matrix(Normed { numbers, rows, columns, squarings, double })
        }
    };
    let kinds: Vec<_> = weights.iter().map(matrix).collect();
    let weights: Vec<(&[f32], Kind<'_>)> =
        weights.iter().zip(&kinds).map(|((w, ..), kind)| (&w[..], kind as Kind<'_>)).collect();
    limited_of(&weights, by_used, limit)
}

/// As [`limited`] for weights of any kind.
pub(crate) fn limited_of(
    weights: &[(&[f32], Kind<'_>)],
    by_used: &[Vec<f32>],
    limit: &Limit,
) -> Option<Scaled> {
    let mut trial = Trial::new()?;
    let put: Vec<Slot> = weights.iter().map(|(w, ..)| trial.put(w)).collect();
    let by: Vec<Slot> = by_used.iter().map(|by| trial.put(by)).collect();
    let room = |trial: &mut Trial| -> Vec<Slot> {
        weights.iter().map(|(w, ..)| trial.room(w.len())).collect()
    };
    let [scaled, directions, by_numbers] = [0; 3].map(|_| room(&mut trial));
    let factor = trial.room(1);
    let measured = weights.iter().zip(&put).map(|((_, kind), &numbers)| kind(numbers));
    let norms = Norms::new(&mut trial.recording, measured.collect());
    let mut ops = norms.record();
    let into: Vec<[Slot; 2]> = scaled.iter().zip(&directions).map(|(&a, &b)| [a, b]).collect();
    ops.extend(norms.scale(&mut trial.recording, limit, factor, &into));
    let all: Vec<Spread> = (0..put.len())
        .map(|i| Spread {
            numbers: put[i],
            by_used: by[i],
            direction: directions[i],
            by_numbers: by_numbers[i],
        })
        .collect();
    ops.extend(limit.spread(&mut trial.recording, factor, &all));
    let read = [&[factor], &scaled[..], &directions, &by_numbers].concat();
    let mut found = trial.run(ops, &read);
    let factor = found.remove(0)[0];
    let mut take = || found.drain(..weights.len()).collect();
    Some(Scaled { factor, scaled: take(), directions: take(), by_numbers: take() })
}

pub(crate) fn layer(weight: usize, gain: f64) -> Part {
    Part { weights: vec![weight], gain, skips: false }
}

/// The bound on one weight's norm, from the factor that a small constant asks for.
fn bound(w: &[f32], rows: usize, columns: usize, double: bool) -> Option<(f64, Vec<f32>)> {
    let constant = 1e-9 * f64::from(w.iter().fold(0.0, |most: f32, v| most.max(v.abs())));
    let limit = Limit { constant, slack: 0.0, parts: vec![layer(0, 1.0)] };
    let weights = [(w.to_vec(), rows, columns)];
    let Scaled { factor, mut directions, .. } = limited(&weights, &[w.to_vec()], &limit, double)?;
    Some((constant / f64::from(factor), directions.remove(0)))
}

#[test]
fn bounds_are_near_the_norm_from_above() {
    for (rows, columns) in [(1, 1), (1, 7), (7, 1), (5, 3), (3, 5), (17, 17), (40, 9)] {
        for (double, size) in [(false, 1.0), (true, 1.0), (false, 1e-30), (true, 1e30)] {
            let w: Vec<f32> = numbers(1, rows * columns).iter().map(|v| v * size).collect();
            let Some((bound, direction)) = bound(&w, rows, columns, double) else { return };
            let w = wide(&w);
            let unit: Vec<f64> = w.iter().map(|v| v / f64::from(size)).collect();
            let (norm, size) = (norm(&unit, columns), f64::from(size));
            let want = schatten(&unit, rows, columns);
            let what = format!("{rows} × {columns}, {double}, {size}");
            // As far as single precision tells.
            assert!(bound >= norm * size * (1.0 - 1e-7), "{what}: {bound}, below {norm}");
            assert!(bound >= want * size * (1.0 - 2e-7), "{what}: {bound}, below {want}");
            let unit_roundoff = if double { 1e-10 } else { 6e-8 };
            let rounding = 1e-6 + unit_roundoff * (rows.max(columns) * rows.min(columns)) as f64;
            assert!(bound <= want * size * (1.0 + rounding), "{what}: {bound}, not {want}");
            let slopes = slopes(&unit, |w| schatten(w, rows, columns).ln());
            for (&found, want) in direction.iter().zip(slopes) {
                let found = f64::from(found) * size;
                assert!(
                    (found - want).abs() < 3e-5 * (1.0 + want.abs()),
                    "{what}: {found}, {want}"
                );
            }
        }
    }
}

#[test]
fn bounds_are_those_that_the_derivative_is_of() {
    // With five equal singular values Schatten norms of other orders are others by 0.1 %.
    let w: Vec<f32> = (0..25).map(|i| if i % 6 == 0 { 1.0 } else { 0.0 }).collect();
    let want = schatten(&wide(&w), 5, 5);
    for double in [false, true] {
        let Some((bound, _)) = bound(&w, 5, 5, double) else { return };
        assert!((bound / want - 1.0).abs() < 1e-5, "{double}: {bound}, not {want}");
    }
}

#[test]
fn what_a_sum_loses_is_carried_along() {
    // 4096 squares of 2⁻²⁶ beside 1: none of them changes a sum in f32 that began with 1.
    let mut w = vec![2_f32.powi(-13); 4097];
    w[0] = 1.0;
    let exact = (1.0 + 2_f64.powi(-14)).sqrt();
    let Some((bound, _)) = bound(&w, 4097, 1, false) else { return };
    assert!(bound >= exact && bound < 1.001 * exact, "{bound}, not {exact}");
}

#[test]
fn weights_without_a_norm() {
    let limit = Limit { constant: 0.5, slack: 0.0, parts: vec![layer(0, 1.0), layer(1, 1.0)] };
    let by = [vec![1.0; 6], vec![1.0; 4]];
    let weights = [(vec![0.0; 6], 2, 3), (numbers(1, 4), 2, 2)];
    let Some(found) = limited(&weights, &by, &limit, false) else { return };
    assert_eq!((found.factor, &found.scaled[1]), (1.0, &weights[1].0));
    assert_eq!((&found.directions[0], &found.by_numbers), (&vec![0.0; 6], &by.to_vec()));

    let mut broken = numbers(2, 6);
    broken[4] = f32::NAN;
    let weights = [(broken, 2, 3), (numbers(1, 4), 2, 2)];
    let Some(found) = limited(&weights, &by, &limit, false) else { return };
    assert_eq!(found.factor, 0.0);
    assert!(found.scaled[0][4].is_nan() && found.directions[0] == [0.0; 6]);
}

/// Three layers, of which the middle one has two weights and a way past them, under a limit: `scale`
/// is given the limit and finds what the kernels make of them, `norms` are those of the weights in f64.
pub(crate) fn check_layers(
    weights: &[Vec<f32>],
    by_used: &[Vec<f32>],
    norms: [&dyn Fn(&[f64]) -> f64; 4],
    constant: f64,
    scale: impl FnOnce(&Limit) -> Option<Scaled>,
) {
    let skip = Part { weights: vec![1, 2], gain: 1.3, skips: true };
    let parts = vec![layer(0, 1.1), skip, layer(3, 1.0)];
    let Some(found) = scale(&Limit { constant, slack: 0.01, parts }) else { return };

    let used = |all: &[f64]| -> (f64, Vec<f64>) {
        let (mut rest, mut parts) = (all, Vec::new());
        for (weight, norm) in weights.iter().zip(norms) {
            let (own, others) = rest.split_at(weight.len());
            parts.push((own, norm(own)));
            rest = others;
        }
        let product = 1.1 * parts[0].1 * (1.0 + 1.3 * parts[1].1 * parts[2].1) * parts[3].1;
        let factor = if product <= constant { 1.0 } else { 0.99 * (constant / product).sqrt() };
        let by = |i: usize| if i == 0 || i == 3 { factor } else { 1.0 };
        let each =
            parts.iter().enumerate().flat_map(|(i, (w, _))| w.iter().map(move |w| w * by(i)));
        (factor, each.collect())
    };
    let all = wide(&weights.concat());
    let (factor, want) = used(&all);
    let near = |what: &str, found: &[f32], want: &[f64]| {
        for (&found, want) in found.iter().zip(want) {
            let off = (f64::from(found) - want).abs();
            assert!(off < 2e-5 * (1.0 + want.abs()), "{what}, {constant}: {found}, not {want}");
        }
    };
    near("the factor", &[found.factor], &[factor]);
    near("the weights", &found.scaled.concat(), &want);
    let by = wide(&by_used.concat());
    near("by the weights", &found.by_numbers.concat(), &slopes(&all, |w| dot(&used(w).1, &by)));
}

#[test]
fn limits_scale_what_everything_passes() {
    let shapes = [(3, 2), (4, 3), (3, 4), (2, 3)];
    let some = |first| (first..).zip(shapes).map(|(i, (m, n))| numbers(i, m * n)).collect();
    let (weights, by): (Vec<Vec<f32>>, Vec<Vec<f32>>) = (some(1), some(5));
    let norm = |i: usize| move |w: &[f64]| schatten(w, shapes[i].0, shapes[i].1);
    let norms = [0, 1, 2, 3].map(norm);
    for (double, constant) in [(false, 0.9), (true, 0.9), (false, 1e3)] {
        check_layers(&weights, &by, norms.each_ref().map(|norm| norm as _), constant, |limit| {
            let with_shapes = weights.iter().zip(shapes).map(|(w, (m, n))| (w.clone(), m, n));
            limited(&with_shapes.collect::<Vec<_>>(), &by, limit, double)
        });
    }
}
