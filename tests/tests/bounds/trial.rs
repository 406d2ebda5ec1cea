//! One row of the soundness test: random weights, random boxes, points in them.

use std::sync::Mutex;

use flow_core::lipschitz::{Bounds, Region};
use flow_core::prelude::*;
use flow_core::{Architecture, Invertible, Scalar, Unconditional, Vector};
use flow_tests::numeric::Matrix;
use flow_tests::{Conditioned, Direction, ForwardOnly, Free, Subject};

/// A flow under test whose bounds can be asked for.
pub(crate) trait Bounded<E: Scalar>: Subject<E> {
    /// Its bounds on a region, given contexts of another.
    fn bounds(&self, region: &Region, contexts: &Region) -> Bounds;
}

macro_rules! bounded {
    ($E:ty) => {
        impl<A: Architecture<$E, Context = Unconditional> + Invertible> Bounded<$E>
            for Free<A, $E>
        {
            fn bounds(&self, region: &Region, _: &Region) -> Bounds {
                self.0.bilipschitz(region).expect("bounds")
            }
        }

        impl<A: Architecture<$E, Context = Unconditional>> Bounded<$E> for ForwardOnly<A, $E> {
            fn bounds(&self, region: &Region, _: &Region) -> Bounds {
                self.0.bilipschitz(region).expect("bounds")
            }
        }

        impl<A: Architecture<$E, Context = Vector<C>> + Invertible, const C: usize> Bounded<$E>
            for Conditioned<A, $E, C>
        {
            fn bounds(&self, region: &Region, contexts: &Region) -> Bounds {
                self.0.bilipschitz_given(region, contexts).expect("bounds")
            }
        }
    };
}

bounded!(f32);
bounded!(f64);

/// A row's name, and what bends normal numbers into the flow's domain.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) data: fn(f64) -> f64,
}

/// What trials of one direction have found: the tightest and the loosest ratio of certified to
/// observed, as logarithms.
#[derive(Clone, Copy)]
pub(crate) struct Tally {
    trials: usize,
    bounded: usize,
    tightest: f64,
    loosest: f64,
    /// The tightest of what is stretched to more than twice its size: more than an identity beside.
    sharpest: f64,
}

impl Tally {
    const NONE: Self = Self {
        trials: 0,
        bounded: 0,
        tightest: f64::INFINITY,
        loosest: f64::NEG_INFINITY,
        sharpest: f64::INFINITY,
    };

    /// An observed amplification, less what the differences of its vector-Jacobian products' rounding
    /// can be: products of a few hundred terms in f64 err by less than a share of 1e-10.
    fn add(&mut self, what: &dyn Fn() -> String, log_bound: f64, observed: f64) {
        assert!(!log_bound.is_nan(), "{}: the bound is no number", what());
        self.trials += 1;
        if log_bound == f64::INFINITY || !observed.is_finite() || observed == 0.0 {
            return;
        }
        let ratio = log_bound - (observed * (1.0 - 1e-10)).ln();
        assert!(ratio >= 0.0, "{}: certified e^{log_bound}, observed {observed:e}", what());
        self.bounded += 1;
        self.tightest = self.tightest.min(ratio);
        self.loosest = self.loosest.max(ratio);
        if observed > 2.0 {
            self.sharpest = self.sharpest.min(ratio);
        }
    }

    fn join(self, other: Self) -> Self {
        Self {
            trials: self.trials + other.trials,
            bounded: self.bounded + other.bounded,
            tightest: self.tightest.min(other.tightest),
            loosest: self.loosest.max(other.loosest),
            sharpest: self.sharpest.min(other.sharpest),
        }
    }

    /// The tightest ratio, and that of what is stretched to more than twice its size.
    pub(crate) fn tightest(self) -> (f64, f64) {
        (self.tightest.exp(), self.sharpest.exp())
    }

    fn line(self) -> String {
        let Self { trials, bounded, tightest, loosest, .. } = self;
        format!(
            "{bounded} of {trials} with a bound, certified/observed from {:.4} to {:.2e}, from {:.4} \
             where more than 2",
            tightest.exp(),
            loosest.exp(),
            self.sharpest.exp()
        )
    }
}

/// Tallies of the forward and of the inverse direction.
pub(crate) struct Tallies {
    pub(crate) forward: Tally,
    pub(crate) inverse: Tally,
    points: usize,
    everywhere: usize,
}

/// Of all rows so far.
static TOTAL: Mutex<(usize, Tally)> = Mutex::new((0, Tally::NONE));

impl Tallies {
    pub(crate) const NONE: Self =
        Self { forward: Tally::NONE, inverse: Tally::NONE, points: 0, everywhere: 0 };

    /// Prints the row, and the sum of all rows so far.
    pub(crate) fn print(&self, name: &str) {
        let Self { forward, inverse, points, everywhere } = self;
        let mut total = TOTAL.lock().unwrap_or_else(|broken| broken.into_inner());
        *total = (total.0 + points, total.1.join(forward.join(*inverse)));
        println!(
            "{name}: {points} points of flows, {everywhere} bounded everywhere\n  forward: {}\n  \
             inverse: {}\n  all rows so far: {} points, {}",
            forward.line(),
            inverse.line(),
            total.0,
            total.1.line()
        );
    }

    /// Most trials must have a bound, or the row shows nothing.
    pub(crate) fn expect_bounds(&self, name: &str, share: f64) {
        let Tally { trials, bounded, .. } = self.forward.join(self.inverse);
        assert!(
            bounded as f64 > share * trials as f64,
            "{name}: {bounded} of {trials} have a bound"
        );
    }
}

/// The Jacobian at a point, from vector-Jacobian products: one batch for all rows.
pub(crate) fn jacobian<D: Subject<f64>>(
    flow: &D,
    direction: Direction,
    x: &[f64],
    context: &[f64],
) -> Matrix {
    let d = x.len();
    let mut unit = vec![0.0; d * d];
    (0..d).for_each(|i| unit[i * d + i] = 1.0);
    let slopes = flow.slopes(direction, &x.repeat(d), &context.repeat(d), &unit, &vec![0.0; d]);
    let mut jacobian = Matrix::zeros(d);
    (0..d * d).for_each(|i| jacobian[(i / d, i % d)] = slopes.input[i]);
    jacobian
}

/// Compares the bounds of a flow's weights, which `bounds` gives, with what `flow` shows: at a few
/// points of a box of data and of a box of latents that seed and width choose.
pub(crate) fn judge<D: Subject<f64>>(
    row: Row,
    flow: &D,
    bounds: &dyn Fn(&Region, &Region) -> Bounds,
    (seed, width): (u64, f64),
    tallies: &mut Tallies,
) {
    let (d, facts) = (D::SIZE, flow.flow().facts());
    // The inverse of a solver is a map of its own.
    let solver = facts.invertible && !facts.memory_saving;
    let numbers = Noise::seed(seed).named(row.name).named("box");
    let centre: Vec<f64> = (0..d).map(|i| 1.5 * numbers.normal(i as u64)).collect();
    let half: Vec<f64> = (0..d).map(|i| width * numbers.uniform(1000 + i as u64)).collect();
    let given: Vec<f64> = (0..D::CONTEXT).map(|i| numbers.normal(3000 + i as u64)).collect();
    let contexts = Region::cuboid(moved(&given, -0.1 * width), moved(&given, 0.1 * width));
    let parts = 1 + (seed % 2) as usize;
    let around = |centre: &[f64], bend: fn(f64) -> f64| {
        let side = |sign: f64| -> Vec<f64> {
            centre.iter().zip(&half).map(|(c, h)| bend(c + sign * h)).collect()
        };
        Region::cuboid(side(-1.0), side(1.0)).subdivided(parts)
    };
    let global = bounds(&Region::everything(), &contexts);
    tallies.everywhere += usize::from(global.forward.exists());
    let local = bounds(&around(&centre, row.data), &contexts);
    for k in 0..4 {
        let share = |i: usize| 2.0 * numbers.uniform(2000 + (k * d + i) as u64) - 1.0;
        let x: Vec<f64> = (0..d).map(|i| (row.data)(centre[i] + half[i] * share(i))).collect();
        let context: Vec<f64> =
            given.iter().map(|c| c + 0.1 * width * (2.0 * numbers.uniform(4000) - 1.0)).collect();
        // Another point of the box of latents is its centre.
        let z = flow.run(Direction::Forward, &x, &context).rows;
        if !all_finite(&z) {
            continue;
        }
        let places = vec![local.clone(), global.clone()];
        let mut sides = vec![(x, z.clone(), places)];
        if k % 2 == 0 {
            let latent = (0..d).map(|i| z[i] - half[i] * share(i)).collect::<Vec<_>>();
            let local = bounds(&around(&latent, |v| v).of_latents(), &contexts);
            if solver {
                let x = flow.run(Direction::Inverse, &z, &context).rows;
                sides.extend(all_finite(&x).then_some((x, z, vec![local])));
            } else {
                sides[0].2.push(local);
            }
        }
        for (x, z, places) in sides {
            tallies.points += 1;
            let (least, most) =
                jacobian(flow, Direction::Forward, &x, &context).extreme_singular_values();
            // The smallest singular value of a matrix errs relative to its largest.
            let mut back = (least > 1e-6 * most).then_some(1.0 / least);
            if solver {
                let inverse = jacobian(flow, Direction::Inverse, &z, &context);
                back = Some(inverse.extreme_singular_values().1);
            }
            for (place, found) in places.iter().enumerate() {
                let what = |way: &str| format!("{} {way}, seed {seed}, box {place}", row.name);
                tallies.forward.add(&|| what("forward"), found.forward.log, most);
                tallies.inverse.add(&|| what("inverse"), found.inverse.log, back.unwrap_or(0.0));
            }
        }
    }
}

fn all_finite(v: &[f64]) -> bool {
    v.iter().all(|v| v.is_finite())
}

fn moved(v: &[f64], by: f64) -> Vec<f64> {
    v.iter().map(|v| v + by).collect()
}

/// Sets the data-dependent parameters from a first batch.
pub(crate) fn start<E: Scalar, S: Subject<E>>(flow: &mut S, row: Row) {
    let number = |i: usize| E::of((row.data)(Noise::seed(1).normal(i as u64)));
    let first: Vec<E> = (0..4 * S::SIZE).map(number).collect();
    flow.initialize(&first, &vec![E::zero(); 4 * S::CONTEXT]);
}

/// Weights of those scales around the start, boxes of those widths in turn, all in f64.
pub(crate) fn trials<D: Bounded<f64>>(
    row: Row,
    flow: &mut D,
    (scales, widths): (&[f64], &[f64]),
    seeds: u64,
) -> Tallies {
    let starts = flow.flow().parameters();
    start(flow, row);
    let mut tallies = Tallies::NONE;
    for seed in 0..seeds {
        let noise = Noise::seed(seed).named(row.name);
        let scale = scales[seed as usize % scales.len()];
        for (i, (name, start)) in starts.iter().enumerate() {
            let mut values = vec![0.0; start.len()];
            noise.at(i as u64).fill_normal(0, &mut values);
            values.iter_mut().zip(start).for_each(|(v, start)| *v = start + scale * *v);
            flow.set(name, &allowed(name, values));
        }
        let width = widths[seed as usize % widths.len()];
        let flow = &*flow;
        judge(row, flow, &|a, b| flow.bounds(a, b), (seed, width), &mut tallies);
    }
    tallies
}

/// Numbers that a parameter may be: an extent must be above 0.
fn allowed(name: &str, mut values: Vec<f64>) -> Vec<f64> {
    if name.ends_with("extent") {
        values.iter_mut().for_each(|v| *v = v.abs() + 1e-30);
    }
    values
}

/// Weights in f32, from denormal ones to almost overflowing ones, whose bounds must hold for what the
/// same weights do in f64.
pub(crate) fn extremes<S: Bounded<f32>, D: Bounded<f64>>(
    row: Row,
    single: &mut S,
    double: &mut D,
    seeds: u64,
) -> Tallies {
    let starts = single.flow().parameters();
    start(single, row);
    let mut tallies = Tallies::NONE;
    for seed in 0..seeds {
        let noise = Noise::seed(seed).named(row.name).named("single");
        for (i, (name, start)) in starts.iter().enumerate() {
            let (noise, choice) = (noise.at(i as u64), noise.named("scale").at(i as u64));
            let size = |entry: u64| match (seed % 6, (20.0 * choice.uniform(entry)) as i32) {
                // All weights ordinary; all huge; all denormal; one parameter or entry of them.
                (0, _) => 1.0,
                (1, _) => 10f64.powf(30.0 + 7.5 * choice.uniform(1)),
                (2, _) => 10f64.powf(-45.0 + 8.0 * choice.uniform(1)),
                (3, _) if i as u64 == seed / 6 % starts.len() as u64 => 1e37,
                (4, 0) => 1e35,
                (5, 0..=9) => 1e-42,
                _ => 1.0,
            };
            let values = (0..start.len() as u64).map(|entry| {
                let at = if seed % 6 >= 4 { 2 + entry } else { 0 };
                (noise.normal(entry) * size(at)).clamp(-3e38, 3e38)
            });
            let values: Vec<f32> =
                allowed(name, values.collect()).into_iter().map(|v| v as f32).collect();
            single.set(name, &values);
        }
        let state = single.flow();
        for (name, values) in state.parameters().into_iter().chain(state.buffers()) {
            double.set(&name, &values.into_iter().map(f64::from).collect::<Vec<_>>());
        }
        let width = [0.001, 0.3, 2.0][(seed / 6 % 3) as usize];
        let single = &*single;
        judge(row, double, &|a, b| single.bounds(a, b), (seed, width), &mut tallies);
    }
    tallies
}

/// Both kinds of trials of a row.
pub(crate) fn check<S: Bounded<f32>, D: Bounded<f64>>(row: Row, mut single: S, mut double: D) {
    let plan: (&[f64], &[f64]) = (&[0.0, 0.1, 0.5, 1.5], &[0.001, 0.3, 2.0]);
    let found = trials(row, &mut double, plan, 120);
    found.print(row.name);
    found.expect_bounds(row.name, 1.0 / 3.0);
    extremes(row, &mut single, &mut double, 48).print(&format!("{} in f32", row.name));
}
