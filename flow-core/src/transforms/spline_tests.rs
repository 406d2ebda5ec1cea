use super::super::testing::check_transform;
use super::*;
use crate::Noise;

/// Knots and slopes in plain vectors, and the interpolant of Gregory and Delbourgo written as a
/// quotient of two quadratics; its inverse by bisection.
struct Oracle {
    x: Vec<f64>,
    y: Vec<f64>,
    slopes: Vec<f64>,
}

impl Oracle {
    fn new(bins: usize, bound: f64, parameters: &[f64]) -> Self {
        let knots = |logits: &[f64]| {
            let total: f64 = logits.iter().map(|v| v.exp()).sum();
            let mut knots = vec![-bound];
            for logit in logits {
                let share = 1e-3 + (1.0 - 1e-3 * bins as f64) * logit.exp() / total;
                knots.push(knots[knots.len() - 1] + 2.0 * bound * share);
            }
            knots
        };
        let inner = parameters[2 * bins..].iter().map(|v| 1e-3 + (1.0 + v.exp()).ln());
        Self {
            x: knots(&parameters[..bins]),
            y: knots(&parameters[bins..2 * bins]),
            slopes: [1.0].into_iter().chain(inner).chain([1.0]).collect(),
        }
    }

    fn forward(&self, x: f64) -> f64 {
        let Some(k) = (0..self.x.len() - 1).find(|&k| self.x[k] <= x && x < self.x[k + 1]) else {
            return x;
        };
        let (width, height) = (self.x[k + 1] - self.x[k], self.y[k + 1] - self.y[k]);
        let (t, u) = ((x - self.x[k]) / width, (self.x[k + 1] - x) / width);
        let s = height / width;
        let top = s * self.y[k + 1] * t * t
            + (self.y[k] * self.slopes[k + 1] + self.y[k + 1] * self.slopes[k]) * t * u
            + s * self.y[k] * u * u;
        top / (s * t * t + (self.slopes[k] + self.slopes[k + 1]) * t * u + s * u * u)
    }

    fn inverse(&self, y: f64, bound: f64) -> f64 {
        if y.abs() >= bound {
            return y;
        }
        let (mut low, mut high) = (-bound, bound);
        for _ in 0..200 {
            let middle = 0.5 * (low + high);
            if self.forward(middle) < y {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }
}

fn parameters(spline: &Spline, spread: f64, seed: u64) -> Vec<f64> {
    let noise = Noise::seed(seed);
    (0..spline.parameters()).map(|i| spread * noise.normal(i as u64)).collect()
}

fn apply<E: Scalar>(spline: &Spline, inverse: bool, v: E, parameters: &[f64]) -> (E, E) {
    let mut theta: Vec<E> = parameters.iter().map(|&v| E::of(v)).collect();
    let (mut v, mut log) = ([v], [E::zero()]);
    if inverse {
        spline.inverse(&mut v, &mut theta, &mut log);
    } else {
        spline.forward(&mut v, &mut theta, &mut log);
    }
    (v[0], log[0])
}

#[test]
fn obeys_the_laws() {
    for (bins, bound) in [(1, 3.0), (2, 1.0), (8, 3.0), (5, 20.0)] {
        check_transform(&Spline::new(bins, bound), 1.2 * bound);
    }
}

#[test]
fn agrees_with_the_oracle() {
    for (bins, bound, spread) in [(1, 3.0, 1.0), (8, 3.0, 1.0), (8, 3.0, 6.0), (30, 5.0, 3.0)] {
        let spline = Spline::new(bins, bound);
        for seed in 0..20 {
            let theta = parameters(&spline, spread, seed);
            let oracle = Oracle::new(bins, bound, &theta);
            for i in -50..=50 {
                let v = 1.1 * bound * f64::from(i) / 50.0;
                let (z, _) = apply(&spline, false, v, &theta);
                assert!((z - oracle.forward(v)).abs() < 1e-12 * bound, "forward of {v}");
                let (x, _) = apply(&spline, true, v, &theta);
                let want = oracle.inverse(v, bound);
                // Where the spline is flat, many x share one z to rounding.
                let close = (x - want).abs() < 1e-11 * bound
                    || (oracle.forward(x) - v).abs() < 1e-13 * bound;
                assert!(close, "inverse of {v}: {x}, expected {want}");
            }
        }
    }
}

#[test]
fn knots_bounds_and_far_values_round_trip() {
    let spline = Spline::new(8, 3.0);
    let theta = parameters(&spline, 2.0, 3);
    let oracle = Oracle::new(8, 3.0, &theta);
    for (&x, &y) in oracle.x.iter().zip(&oracle.y) {
        assert!((apply(&spline, false, x, &theta).0 - y).abs() < 1e-13);
        assert!((apply(&spline, true, y, &theta).0 - x).abs() < 1e-13);
    }
    for far in [3.0, -3.0, 3.5, -100.0, 1e30, -1e30] {
        for inverse in [false, true] {
            assert_eq!(apply(&spline, inverse, far, &theta), (far, 0.0));
            assert_eq!(apply(&spline, inverse, far as f32, &theta), (far as f32, 0.0));
        }
    }
    let inside = 3.0_f64 - 1e-12;
    assert!((apply(&spline, false, inside, &theta).0 - inside).abs() < 1e-11);
}

#[test]
fn extreme_parameters_stay_monotone_and_finite() {
    let spline = Spline::new(6, 3.0);
    for spread in [30.0, 300.0, 1e4] {
        for seed in 0..10 {
            let theta = parameters(&spline, spread, seed);
            let mut last = f64::NEG_INFINITY;
            for i in -60..=60 {
                let x = f64::from(i) / 20.0;
                let (z, log_slope) = apply(&spline, false, x, &theta);
                assert!(z.is_finite() && log_slope.is_finite());
                assert!(z >= last - 1e-12, "{x} fell from {last} to {z}");
                last = z;
                let (back, _) = apply(&spline, true, z, &theta);
                let (again, _) = apply(&spline, false, back, &theta);
                assert!((again - z).abs() < 1e-10, "{z} became {again}");
            }
        }
    }
}

#[test]
fn not_a_number_passes_without_harm() {
    let spline = Spline::new(8, 3.0);
    let theta = parameters(&spline, 1.0, 3);
    for inverse in [false, true] {
        assert!(apply(&spline, inverse, f64::NAN, &theta).0.is_nan());
        let _ = apply(&spline, inverse, 0.5, &[f64::NAN; 23]);
        let _ = apply(&spline, inverse, 0.5, &[f64::INFINITY; 23]);
    }
    let (mut theta, mut gradient) = ([f64::NAN; 23], [1.0]);
    spline.forward_vjp(&[0.5], &mut theta, &mut gradient, &[1.0]);
    let (mut theta, mut gradient) = ([0.1; 23], [1.0]);
    spline.inverse_vjp(&[f64::NAN], &mut theta, &mut gradient, &[1.0]);
}

#[test]
fn single_precision_round_trips() {
    let spline = Spline::new(8, 3.0);
    for seed in 0..20 {
        let theta = parameters(&spline, 1.5, seed);
        for i in -40..=40 {
            let x = 3.2 * i as f32 / 40.0;
            let (z, log_slope) = apply(&spline, false, x, &theta);
            let (exact, exact_log) = apply(&spline, false, f64::from(x), &theta);
            // A knot moves by a few roundings of the bound; slopes carry that on.
            let steep = exact_log.exp().max(1.0);
            assert!((f64::from(z) - exact).abs() < 3e-6 * steep, "{x}: {z}, exactly {exact}");
            assert!((f64::from(log_slope) - exact_log).abs() < 1e-3, "{x}: log slope {log_slope}");
            let (back, _) = apply(&spline, true, z, &theta);
            let tolerance = 3e-6 * steep.max((-exact_log).exp());
            assert!(f64::from((back - x).abs()) < tolerance, "{x} came back as {back}");
        }
    }
}

#[test]
fn starts_as_the_identity() {
    let spline = Spline::new(8, 3.0);
    let theta: Vec<f64> = (0..spline.parameters()).map(|i| spline.start(i)).collect();
    for i in -30..=30 {
        let x = f64::from(i) / 10.0;
        let (z, log_slope) = apply(&spline, false, x, &theta);
        assert!((z - x).abs() < 1e-14 && log_slope.abs() < 1e-14, "{x} became {z}");
    }
}

#[test]
fn bad_options_are_errors() {
    for spline in [
        Spline::new(0, 3.0),
        Spline::new(1000, 3.0),
        Spline::new(8, 0.0),
        Spline::new(8, f64::INFINITY),
        Spline::new(8, f64::NAN),
    ] {
        assert!(spline.check().is_err(), "{spline:?}");
    }
    assert!(Spline::new(999, 1e-3).check().is_ok());
}

#[test]
fn enclosures_hold_values_slopes_and_derivatives() {
    use crate::lipschitz::Interval;
    let spline = Spline::new(3, 2.0);
    for seed in 0..600 {
        let noise = crate::Noise::seed(seed);
        let around = |centre: f64, half: f64| Interval::new(centre - half, centre + half);
        let half = [0.0, 0.01, 0.5][(seed % 3) as usize];
        let theta: Vec<_> = (0..8).map(|i| around(1.5 * noise.normal(i), half)).collect();
        let width = [0.0, 0.1, 1.0][(seed / 3 % 3) as usize];
        let at = around(1.5 * noise.normal(8), width);
        let there = spline.enclose(at, &theta, false);
        let back = spline.enclose(there.value, &theta, true);
        for k in 0..12 {
            let share = |i: u64| noise.uniform(100 + 16 * k + i);
            let within = |v: Interval, share: f64| (v.low + (v.high - v.low) * share).min(v.high);
            let x = within(at, share(9));
            let mut parameters: Vec<f64> =
                theta.iter().zip(0..).map(|(&v, i)| within(v, share(i))).collect();
            let (mut z, mut by_x) = ([x], [1.0]);
            spline.forward(&mut z, &mut parameters, &mut [0.0]);
            spline.forward_vjp(&[x], &mut parameters, &mut by_x, &[0.0]);
            // The rounding of the spline itself.
            let near = |v: Interval, p: f64| v.low - 1e-12 <= p && p <= v.high + 1e-12;
            for bent in [&there, &back] {
                let slope = bent.slope.low * (1.0 - 1e-10) <= by_x[0]
                    && by_x[0] <= bent.slope.high * (1.0 + 1e-10);
                assert!(slope, "seed {seed}: slope {by_x:?}, {bent:?}");
                for (by, bound) in parameters.iter().zip(&bent.by_parameters) {
                    assert!(near(*bound, *by), "seed {seed}: {parameters:?}, {bent:?}");
                }
            }
            assert!(near(there.value, z[0]), "seed {seed}: {x} to {z:?}, {there:?}");
            assert!(near(back.value, x), "seed {seed}: {z:?} from {x}, {back:?}");
        }
        if half + width == 0.0 {
            let loose = 1e-9;
            assert!(there.value.high - there.value.low < 1e-9, "seed {seed}: {there:?}");
            assert!(back.value.high - back.value.low < loose, "seed {seed}: {back:?}");
            for v in there.by_parameters.iter().chain([&there.slope]) {
                assert!(v.high - v.low < 1e-10, "seed {seed}: {there:?}");
            }
        }
    }
}
