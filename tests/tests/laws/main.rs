//! The laws of every block: one row each, in the module of its kind.
//!
//! A row is a flow; the laws are checked on batches of 1, 3 and 37 rows with weights away from
//! their start:
//! - round trips in both directions, in f64 and f32, within `100·eps·(‖x‖ + ‖J⁻¹‖·‖z‖)`;
//! - log-determinants against the numeric Jacobian, to 1e-8;
//! - gradients of both directions by input, context and parameters against differences, to 1e-6,
//!   and the same in every memory mode;
//! - the facts that contracts rely on: constant and vanishing log-determinants, and Lipschitz
//!   constants that hold for all weights against the Jacobian's singular values; and that the
//!   compiler's facts are the blocks' own.
//!
//! A flow with a forward-only block has the laws of its one direction. Every row also runs on the
//! emulated GPU, against the CPU: see [`device`].

use flow_core::prelude::*;
use flow_core::{Facts, Item, LogDet};
use flow_tests::numeric::{self, Matrix};
use flow_tests::weights::drawn;
use flow_tests::{Direction, Slopes, Subject};

/// Inputs are normal numbers. `data f` bends them into a flow's domain, `latents f` into its image.
macro_rules! laws {
    ($($test:ident $(given $context:literal)? $(data $data:ident)? $(latents $latents:ident)?:
       { $($source:tt)* })*) => {$(
        mod $test {
            #[allow(unused_imports)]
            use super::*;

            flow! { struct Row: $($source)* }

            fn inputs() -> [crate::Inputs; 2] {
                [
                    (flow_tests::Direction::Forward, crate::bend!($($data)?)),
                    (flow_tests::Direction::Inverse, crate::bend!($($latents)?)),
                ]
            }

            #[test]
            fn laws_hold() {
                let cpu = dfdx::prelude::Cpu::default();
                let double = Row::<f64>::build(&cpu, 3).expect("a flow");
                let single = Row::<f32>::build(&cpu, 3).expect("a flow");
                crate::check(subject!(double $(, $context)?), subject!(single $(, $context)?), &inputs());
            }

            #[cfg(feature = "cuda-emulation")]
            #[test]
            fn on_a_gpu() {
                let cpu = dfdx::prelude::Cpu::default();
                let flow = Row::<f32>::build(&cpu, 3).expect("a flow");
                crate::device::check(module_path!(), subject!(flow $(, $context)?), &inputs());
            }
        }
    )*};
}

/// The laws of flows without an inverse.
macro_rules! forward_laws {
    ($($test:ident: { $($source:tt)* })*) => {$(
        mod $test {
            #[allow(unused_imports)]
            use super::*;

            flow! { struct Row: $($source)* }

            const INPUTS: [crate::Inputs; 1] = [(flow_tests::Direction::Forward, |v| v)];

            #[test]
            fn laws_hold() {
                let cpu = dfdx::prelude::Cpu::default();
                let double = Row::<f64>::build(&cpu, 3).expect("a flow");
                let single = Row::<f32>::build(&cpu, 3).expect("a flow");
                let double = flow_tests::ForwardOnly((*double).clone());
                crate::check(double, flow_tests::ForwardOnly((*single).clone()), &INPUTS);
            }

            #[cfg(feature = "cuda-emulation")]
            #[test]
            fn on_a_gpu() {
                let cpu = dfdx::prelude::Cpu::default();
                let flow = Row::<f32>::build(&cpu, 3).expect("a flow");
                let flow = flow_tests::ForwardOnly((*flow).clone());
                crate::device::check(module_path!(), flow, &INPUTS);
            }
        }
    )*};
}

macro_rules! subject {
    ($flow:ident) => {
        flow_tests::Free((*$flow).clone())
    };
    ($flow:ident, $context:literal) => {
        flow_tests::Conditioned::<_, _, $context>((*$flow).clone())
    };
}

macro_rules! bend {
    () => {
        (|v| v) as fn(f64) -> f64
    };
    ($bend:ident) => {
        $bend as fn(f64) -> f64
    };
}
use bend;

/// A direction, and what makes its inputs of normal numbers.
type Inputs = (Direction, fn(f64) -> f64);

mod autoregressive;
mod continuous;
mod couplings;
#[cfg(feature = "cuda-emulation")]
mod device;
mod elementary;
mod elementwise;
mod flows;
mod forward_only;
mod images;
mod linear;
mod nets;
mod residual;

fn check<D: Subject<f64>, S: Subject<f32>>(mut double: D, mut single: S, inputs: &[Inputs]) {
    let invertible = double.flow().facts().invertible;
    assert_eq!(invertible, inputs.len() == 2, "an inverse");
    each_batch(&mut double, inputs, |case| {
        let double = case.subject.flow();
        for (name, values) in double.parameters().into_iter().chain(double.buffers()) {
            single.set(&name, &values.iter().map(|&v| v as f32).collect::<Vec<_>>());
        }
        let jacobians = case.jacobians();
        case.log_determinants(&jacobians);
        case.facts(&jacobians);
        if invertible {
            case.round_trip(&jacobians);
            case.round_trip_in_single(&single, &jacobians);
        }
        case.gradients();
    });
}

/// The laws of a map whose inverse and log-determinant hold to the order of a solver alone; its
/// gradients are those of the steps it takes.
fn check_solver<D: Subject<f64>>(mut double: D) {
    let both = [Direction::Forward, Direction::Inverse].map(|direction| (direction, bend!()));
    each_batch(&mut double, &both, |case| {
        case.facts(&case.jacobians());
        case.gradients();
    });
}

/// Visits the directions of batches of 1, 3 and 37 rows, with weights moved for each.
fn each_batch<D: Subject<f64>>(
    double: &mut D,
    inputs: &[Inputs],
    mut visit: impl FnMut(&Case<'_, D>),
) {
    facts_agree(double);
    for rows in [1, 3, 37] {
        let noise = Noise::seed(rows as u64);
        let normal = |name: &str, len: usize| drawn(&noise.named(name), len);
        let (x, context) = (normal("x", rows * D::SIZE), normal("context", rows * D::CONTEXT));
        let bent = |bend: fn(f64) -> f64| x.iter().map(|&v| bend(v)).collect::<Vec<_>>();
        double.initialize(&bent(inputs[0].1), &context);
        for (name, mut values) in double.flow().parameters() {
            let by = normal(&name, values.len());
            values.iter_mut().zip(by).for_each(|(v, by)| *v += 0.3 * by);
            double.set(&name, &values);
        }
        for &(direction, bend) in inputs {
            let x = bent(bend);
            visit(&Case { subject: double, direction, x: &x, context: &context, rows });
        }
    }
}

/// What items are together. Those on a part of the row, which come of levels, are beside the rest, that
/// stays as it is.
fn facts_of(items: &[Item]) -> Facts {
    let Some(first) = items.first() else { return Facts::ISOMETRY };
    let whole = |item: &Item| item.input.size() >= first.input.size();
    let here = items.iter().position(|item| !whole(item)).unwrap_or(items.len());
    let (before, after) = items.split_at(here);
    let inner = after.iter().position(whole).unwrap_or(after.len());
    let (part, after) = after.split_at(inner);
    let mut facts = before
        .iter()
        .fold(Facts::ISOMETRY, |facts, item| facts.then(item.facts.repeated(item.count)));
    if !part.is_empty() {
        let part = facts_of(part);
        let (forward, inverse) = (part.forward.max(1.0), part.inverse.max(1.0));
        facts = facts.then(Facts { forward, inverse, ..part });
    }
    facts.then(facts_of(after))
}

/// The compiler's facts of each item against the blocks' own.
fn facts_agree<D: Subject<f64>>(subject: &D) {
    let derived = facts_of(subject.flow().items());
    let own = subject.flow().facts();
    assert_eq!(derived.analytic_inverse, own.analytic_inverse, "analytic inverse");
    assert_eq!(derived.log_det, own.log_det, "log-determinant");
    assert_eq!(derived.bi_lipschitz, own.bi_lipschitz, "bi-Lipschitz at every weight");
    assert_eq!(derived.memory_saving, own.memory_saving, "memory saving");
    assert_eq!(derived.invertible, own.invertible, "invertible");
    for (what, a, b) in
        [("forward", derived.forward, own.forward), ("inverse", derived.inverse, own.inverse)]
    {
        let same = a == b || (a / b - 1.0).abs() < 1e-12;
        assert!(same, "{what} bound: {a} in the compiler, {b} in the block");
    }
}

struct Case<'a, D> {
    subject: &'a D,
    direction: Direction,
    x: &'a [f64],
    context: &'a [f64],
    rows: usize,
}

impl<D: Subject<f64>> Case<'_, D> {
    fn opposite(&self) -> Direction {
        match self.direction {
            Direction::Forward => Direction::Inverse,
            Direction::Inverse => Direction::Forward,
        }
    }

    /// The Jacobians of the first rows, by five-point differences.
    fn jacobians(&self) -> Vec<Matrix> {
        let d = D::SIZE;
        let mut jacobians = vec![Matrix::zeros(d); self.rows.min(4)];
        for j in 0..d {
            let columns = numeric::slope(|by| {
                let mut moved = self.x.to_vec();
                moved.iter_mut().skip(j).step_by(d).for_each(|v| *v += by);
                self.subject.run(self.direction, &moved, self.context).rows
            });
            for (row, jacobian) in jacobians.iter_mut().enumerate() {
                (0..d).for_each(|i| jacobian[(i, j)] = columns[row * d + i]);
            }
        }
        jacobians
    }

    fn log_determinants(&self, jacobians: &[Matrix]) {
        let got = self.subject.run(self.direction, self.x, self.context).log_det;
        for (row, (jacobian, got)) in jacobians.iter().zip(got).enumerate() {
            let want = jacobian.log_abs_det();
            let error = (got - want).abs() / want.abs().max(1.0);
            assert!(
                error < 1e-8,
                "{:?}: the log-determinant of row {row} is {got}, numerically {want}",
                self.direction
            );
        }
    }

    fn facts(&self, jacobians: &[Matrix]) {
        let facts = self.subject.flow().facts();
        let log_det = self.subject.run(self.direction, self.x, self.context).log_det;
        let spread = log_det.iter().map(|l| (l - log_det[0]).abs()).fold(0.0, f64::max);
        match facts.log_det {
            LogDet::Zero => assert!(log_det.iter().all(|&l| l == 0.0), "{log_det:?} is not 0"),
            LogDet::Constant => assert!(spread <= 1e-12, "{log_det:?} is not constant"),
            LogDet::Varying => {}
        }
        let (out, back) = match self.direction {
            Direction::Forward => (facts.forward, facts.inverse),
            Direction::Inverse => (facts.inverse, facts.forward),
        };
        for jacobian in jacobians {
            // Differences err by about 1e-10 of the largest entry.
            let (least, most) = jacobian.extreme_singular_values();
            assert!(most <= out * (1.0 + 1e-8), "a slope of {most} above the bound {out}");
            assert!(1.0 <= back * least * (1.0 + 1e-7), "a slope of {least} below 1/{back}");
        }
    }

    /// `100·eps·(‖x‖ + ‖J⁻¹‖·‖z‖)` of a row.
    fn allowed(&self, jacobian: &Matrix, x: &[f64], z: &[f64], eps: f64) -> f64 {
        let (least, _) = jacobian.extreme_singular_values();
        100.0 * eps * (numeric::norm(x) + numeric::norm(z) / least)
    }

    fn round_trip(&self, jacobians: &[Matrix]) {
        let d = D::SIZE;
        let z = self.subject.run(self.direction, self.x, self.context);
        let back = self.subject.run(self.opposite(), &z.rows, self.context);
        for (row, jacobian) in jacobians.iter().enumerate() {
            let at = row * d..(row + 1) * d;
            let (x, z_row) = (&self.x[at.clone()], &z.rows[at.clone()]);
            let error = numeric::distance(x, &back.rows[at]);
            let allowed = self.allowed(jacobian, x, z_row, f64::EPSILON);
            assert!(error <= allowed, "{:?} and back: off by {error:e}", self.direction);
            let sum = z.log_det[row] + back.log_det[row];
            assert!(sum.abs() < 1e-9, "log-determinants there and back add up to {sum:e}");
        }
    }

    fn round_trip_in_single<S: Subject<f32>>(&self, single: &S, jacobians: &[Matrix]) {
        let d = D::SIZE;
        let narrow = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<_>>();
        let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        let (x, context) = (narrow(self.x), narrow(self.context));
        let z = single.run(self.direction, &x, &context).rows;
        let back = wide(&single.run(self.opposite(), &z, &context).rows);
        let (x, z) = (wide(&x), wide(&z));
        for (row, jacobian) in jacobians.iter().enumerate() {
            let at = row * d..(row + 1) * d;
            let error = numeric::distance(&x[at.clone()], &back[at.clone()]);
            let eps = f64::from(f32::EPSILON);
            let allowed = self.allowed(jacobian, &x[at.clone()], &z[at], eps);
            assert!(error <= allowed, "{:?} and back in f32: off by {error:e}", self.direction);
        }
    }

    fn gradients(&self) {
        let noise = Noise::seed(11);
        let cotangent: Vec<f64> = drawn(&noise.named("cotangent"), self.x.len());
        let by_log_det: Vec<f64> = drawn(&noise.named("log_det"), self.rows);
        let slopes =
            self.subject.slopes(self.direction, self.x, self.context, &cotangent, &by_log_det);
        self.memory_modes(&slopes, &cotangent, &by_log_det);
        let loss = |subject: &dyn Fn(&[f64], &[f64]) -> flow_tests::Output<f64>,
                    x: &[f64],
                    context: &[f64]| {
            let out = subject(x, context);
            numeric::dot(&out.rows, &cotangent) + numeric::dot(&out.log_det, &by_log_det)
        };
        let run = |x: &[f64], context: &[f64]| self.subject.run(self.direction, x, context);
        self.compare("the input", &slopes.input, |i, by| {
            loss(&run, &moved(self.x, i, by), self.context)
        });
        self.compare("the context", &slopes.context, |i, by| {
            loss(&run, self.x, &moved(self.context, i, by))
        });
        for (name, values) in self.subject.flow().parameters() {
            self.compare(&name, &slopes.parameters[&name], |i, by| {
                let out = self.subject.run_with(
                    &name,
                    &moved(&values, i, by),
                    self.direction,
                    self.x,
                    self.context,
                );
                numeric::dot(&out.rows, &cotangent) + numeric::dot(&out.log_det, &by_log_det)
            });
        }
    }

    /// The ways to save memory give the same gradients.
    fn memory_modes(&self, stored: &Slopes<f64>, cotangent: &[f64], by_log_det: &[f64]) {
        let slopes = |memory| {
            let Self { subject, direction, x, context, .. } = *self;
            subject.slopes_in(memory, direction, x, context, cotangent, by_log_det)
        };
        assert_eq!(&slopes(Memory::Recomputed), stored, "recomputed");
        if !self.subject.flow().facts().memory_saving {
            return;
        }
        let inverted = slopes(Memory::Inverted);
        let close = |what: &str, found: &[f64], want: &[f64]| {
            let (off, size) = (numeric::distance(found, want), numeric::norm(want));
            let direction = self.direction;
            assert!(
                off <= 1e-10 * size.max(1.0),
                "{direction:?}, inverted: by {what}: off by {off:e} of {size:e}"
            );
        };
        close("the input", &inverted.input, &stored.input);
        close("the context", &inverted.context, &stored.context);
        for (name, want) in &stored.parameters {
            close(name, &inverted.parameters[name], want);
        }
    }

    /// A gradient against differences of `loss(entry, by)`, at up to twelve entries.
    fn compare(&self, what: &str, got: &[f64], loss: impl Fn(usize, f64) -> f64) {
        let stride = got.len().div_ceil(12).max(1);
        for i in (0..got.len()).step_by(stride) {
            let want = numeric::slope(|by| vec![loss(i, by)])[0];
            let error = (got[i] - want).abs() / want.abs().max(1.0);
            assert!(
                error < 1e-6,
                "{:?}, {} rows: the gradient by {what}[{i}] is {}, numerically {want}",
                self.direction,
                self.rows,
                got[i]
            );
        }
    }
}

fn moved(numbers: &[f64], i: usize, by: f64) -> Vec<f64> {
    let mut moved = numbers.to_vec();
    moved[i] += by;
    moved
}
