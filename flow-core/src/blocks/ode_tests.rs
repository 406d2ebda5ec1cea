use std::cell::Cell;

use super::*;
use crate::engine::{self, Direction};
use crate::nets::{Activation, FeedForward, NetOptions};
use crate::sums::dot;
use crate::testing::{distance, normal, single, Given, Make, Single};
use crate::{Memory, Noise};

#[path = "ode_oracle.rs"]
mod oracle;

type Machine<const D: usize, const C: usize> = engine::Machine<Single<Small, D, C>, f64>;

// The block under test is carried by a type; what varies stands here, where the thread that builds
// the flow finds it.
thread_local! {
    static SOLVER: Cell<Solver> = const { Cell::new(Solver::Rk4 { steps: 4 }) };
    static TRACE: Cell<Trace> = const { Cell::new(Trace::Exact) };
}

struct Small;

impl<const D: usize, const C: usize> Make<D, C> for Small {
    type Block = Ode<FeedForward>;
    fn make(b: &mut Builder<f64>) -> Result<Self::Block> {
        ode(b, Shape::vector(D), C, 1.5, SOLVER.get(), TRACE.get(), None)
    }
}

fn ode(
    b: &mut Builder<f64>,
    shape: Shape,
    context: usize,
    time: f64,
    solver: Solver,
    trace: Trace,
    lipschitz: Option<f64>,
) -> Result<Ode<FeedForward>> {
    Ode::new(b, shape, context, time, solver, trace, |b, i, o, last| {
        let options = NetOptions { lipschitz, ..NetOptions::default() };
        FeedForward::mlp(b, i, o, last, &[5], Activation::Tanh, options)
    })
}

fn jittered<const D: usize, const C: usize>(solver: Solver, trace: Trace) -> Machine<D, C>
where
    (): Given<C>,
{
    SOLVER.set(solver);
    TRACE.set(trace);
    let mut machine = single::<Small, D, C>();
    let jitter = Noise::seed(2);
    machine
        .step(|parameters| {
            let each = parameters.iter_mut().enumerate();
            each.for_each(|(i, p)| *p += 0.6 * jitter.normal(i as u64));
        })
        .unwrap();
    machine
}

fn run<const D: usize, const C: usize>(
    machine: &Machine<D, C>,
    direction: Direction,
    x: &[f64],
    context: &[f64],
) -> (Vec<f64>, Vec<f64>)
where
    (): Given<C>,
{
    let mut y = x.to_vec();
    let (log_det, _) = machine.run(direction, &mut y, context, None).unwrap();
    (y, log_det)
}

const BOTH: [Direction; 2] = [Direction::Forward, Direction::Inverse];

/// All gradients of a pass against central differences of it.
fn gradients<const D: usize, const C: usize>(machine: &Machine<D, C>, rows: usize, near: f64)
where
    (): Given<C>,
{
    let (x, context) = (normal(rows * D, 4), normal(rows * C, 6));
    let (cotangent, by_log_det) = (normal(rows * D, 5), normal(rows, 7));
    for (direction, memory) in BOTH.into_iter().zip([Memory::Stored, Memory::Recomputed]) {
        let loss = |machine: &Machine<D, C>, x: &[f64], context: &[f64]| -> f64 {
            let (y, log_det) = run(machine, direction, x, context);
            dot(&y, &cotangent) + dot(&log_det, &by_log_det)
        };
        let (_, kept) = machine.run(direction, &mut x.clone(), &context, Some(memory)).unwrap();
        let kept = kept.unwrap();
        let mut by_x = cotangent.clone();
        let totals = machine.vjp(direction, kept, &mut by_x, &by_log_det, &context).unwrap();
        let check = |what: &str, i: usize, got: f64, at: &dyn Fn(f64) -> f64| {
            let want = (at(1e-5) - at(-1e-5)) / 2e-5;
            let off = (got - want).abs() / (1.0 + want.abs());
            assert!(off < near, "{direction:?}: by {what}[{i}] {got}, numerically {want}");
        };
        let moved = |v: &[f64], i: usize, by: f64| {
            let mut moved = v.to_vec();
            moved[i] += by;
            moved
        };
        for (i, &got) in by_x.iter().enumerate() {
            check("x", i, got, &|by| loss(machine, &moved(&x, i, by), &context));
        }
        for (i, &got) in totals.context.iter().enumerate() {
            check("context", i, got, &|by| loss(machine, &x, &moved(&context, i, by)));
        }
        for (i, &got) in totals.parameters.iter().enumerate() {
            check("parameters", i, got, &|by| {
                let mut other = machine.clone();
                other.step(|p| p[i] += by).unwrap();
                loss(&other, &x, &context)
            });
        }
    }
}

#[test]
fn gradients_are_those_of_the_steps_taken() {
    for trace in [Trace::Exact, Trace::Hutchinson] {
        let solver = Solver::Rk4 { steps: 3 };
        gradients(&jittered::<1, 0>(solver, trace), 1, 1e-8);
        gradients(&jittered::<3, 2>(solver, trace), 3, 1e-8);
        gradients(&jittered::<2, 0>(solver, trace), 19, 1e-8);
        // Steps depend on the input a little, and so do differences on steps: by the tolerance.
        gradients(&jittered::<3, 2>(Solver::Dopri5 { tolerance: 1e-10 }, trace), 3, 1e-6);
    }
}

/// Largest distances, of x and of the log-determinant.
fn apart(a: &(Vec<f64>, Vec<f64>), b: &(Vec<f64>, Vec<f64>)) -> [f64; 2] {
    let most =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    [most(&a.0, &b.0), most(&a.1, &b.1)]
}

#[test]
fn errors_of_rk4_fall_with_the_fourth_power() {
    let (x, context) = (normal(9, 3), normal(6, 8));
    for direction in BOTH {
        let with = |steps: usize| {
            let machine = jittered::<3, 2>(Solver::Rk4 { steps }, Trace::Exact);
            run(&machine, direction, &x, &context)
        };
        let want = with(640);
        for (few, many) in [(40, 80), (80, 160)] {
            let [few, many] = [few, many].map(|steps| apart(&with(steps), &want));
            for (few, many) in few.into_iter().zip(many) {
                assert!(
                    many > 1e-12 && few / many > 13.0 && few / many < 21.0,
                    "{few:e}, {many:e}"
                );
            }
        }
    }
}

#[test]
fn errors_of_dopri5_are_of_its_tolerance() {
    let (x, context) = (normal(9, 3), normal(6, 8));
    for direction in BOTH {
        let exact = jittered::<3, 2>(Solver::Rk4 { steps: 640 }, Trace::Exact);
        let want = run(&exact, direction, &x, &context);
        let mut before = f64::INFINITY;
        for tolerance in [1e-3, 1e-5, 1e-7, 1e-9, 1e-11] {
            let machine = jittered::<3, 2>(Solver::Dopri5 { tolerance }, Trace::Exact);
            let got = run(&machine, direction, &x, &context);
            let off = apart(&got, &want).into_iter().fold(0.0, f64::max);
            assert!(off < 20.0 * tolerance, "{tolerance:e}: off by {off:e}");
            assert!(off < before, "{tolerance:e}: no better than before, {off:e}");
            before = off;
        }
    }
}

#[test]
fn a_row_does_not_see_the_others() {
    for solver in [Solver::Dopri5 { tolerance: 1e-6 }, Solver::Rk4 { steps: 3 }] {
        let machine = jittered::<2, 0>(solver, Trace::Exact);
        let alone = run(&machine, Direction::Forward, &[0.3, -0.4], &[]);
        let among = run(&machine, Direction::Forward, &[5.0, -9.0, 0.3, -0.4, 0.0, 0.0], &[]);
        assert!(distance(&alone.0, &among.0[2..4]) < 1e-14);
        assert!((alone.1[0] - among.1[1]).abs() < 1e-14);
    }
}

#[test]
fn hutchinson_is_unbiased() {
    let solver = Solver::Rk4 { steps: 2 };
    let x = normal(6, 3);
    let exact = run(&jittered::<3, 0>(solver, Trace::Exact), Direction::Forward, &x, &[]);
    let random = jittered::<3, 0>(solver, Trace::Hutchinson);
    let (mut noise, draws) = (Noise::seed(1), 3000);
    let (mut sum, mut squares) = ([0.0; 2], [0.0; 2]);
    for _ in 0..draws {
        let (y, log_det) = run(&random.drawing(noise.split()), Direction::Forward, &x, &[]);
        assert_eq!(y, exact.0);
        for (row, l) in log_det.into_iter().enumerate() {
            sum[row] += l;
            squares[row] += l * l;
        }
    }
    for row in 0..2 {
        let mean = sum[row] / f64::from(draws);
        let error = ((squares[row] / f64::from(draws) - mean * mean) / f64::from(draws)).sqrt();
        assert!(error > 1e-4 && error < 0.1, "{error}");
        assert!(
            (mean - exact.1[row]).abs() < 4.0 * error,
            "{mean} ± {error}, not {}",
            exact.1[row]
        );
    }
}

#[test]
fn extreme_rows_come_through() {
    let machine = jittered::<2, 0>(Solver::Dopri5 { tolerance: 1e-6 }, Trace::Exact);
    let x = [1e6, -1e6, 0.0, 1e-300];
    let (z, log_det) = run(&machine, Direction::Forward, &x, &[]);
    assert!(z.iter().chain(&log_det).all(|v| v.is_finite()));
    let (back, _) = run(&machine, Direction::Inverse, &z, &[]);
    assert!(distance(&back, &x) < 1e-5 * 1e6);
}

#[test]
fn a_row_that_does_not_come_through_is_named() {
    let mut machine = jittered::<1, 0>(Solver::Dopri5 { tolerance: 1e-6 }, Trace::Exact);
    machine.step(|parameters| parameters[0] = f64::NAN).unwrap();
    let ran = machine.run(Direction::Forward, &mut [0.5, 1.0], &[], None);
    let error = ran.err().expect("no way through").to_string();
    assert!(error.starts_with("ode at 0: row 0 came no further than time 0"), "{error}");
    assert!(error.contains("\nhelp: a larger `tolerance`"), "{error}");
}

#[test]
fn facts_are_those_of_groenwall() {
    let facts = |lipschitz| {
        let mut b = Builder::<f64>::new(1);
        let solver = Solver::Rk4 { steps: 1 };
        let block = ode(&mut b, Shape::vector(2), 0, 1.5, solver, Trace::Exact, lipschitz).unwrap();
        Block::<f64>::facts(&block)
    };
    let (free, limited) = (facts(None), facts(Some(0.8)));
    assert!(free.bi_lipschitz && !free.analytic_inverse && !free.memory_saving);
    assert_eq!((free.forward, free.log_det), (f64::INFINITY, LogDet::Varying));
    assert_eq!((limited.forward, limited.inverse), ((0.8_f64 * 1.5).exp(), (0.8_f64 * 1.5).exp()));
}

#[test]
fn it_starts_as_the_identity() {
    for solver in [Solver::Dopri5 { tolerance: 1e-6 }, Solver::Rk4 { steps: 3 }] {
        SOLVER.set(solver);
        TRACE.set(Trace::Exact);
        let machine = single::<Small, 3, 0>();
        let x = normal(9, 1);
        assert_eq!(run(&machine, Direction::Forward, &x, &[]), (x, vec![0.0; 3]));
    }
}

#[test]
fn bad_options_are_errors() {
    for (time, solver, word) in [
        (0.0, Solver::Rk4 { steps: 1 }, "time of an ode is 0"),
        (f64::INFINITY, Solver::Rk4 { steps: 1 }, "time of an ode is inf"),
        (1.0, Solver::Rk4 { steps: 0 }, "steps of rk4 is 0"),
        (1.0, Solver::Dopri5 { tolerance: -1.0 }, "tolerance of dopri5 is -1"),
    ] {
        let mut b = Builder::<f64>::new(1);
        let made = ode(&mut b, Shape::vector(2), 0, time, solver, Trace::Exact, None);
        let error = made.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn values_and_gradients_are_those_of_dfdx() {
    for seed in 0..5 {
        let mut machine = jittered::<2, 0>(Solver::Rk4 { steps: 2 }, Trace::Exact);
        let parameters = normal(32, seed);
        machine.step(|p| p.copy_from_slice(&parameters)).unwrap();
        let (x, cotangent, by_log_det) = (normal(8, 50 + seed), normal(8, 60), normal(4, 70));
        let want = oracle::run(&x, &parameters, &cotangent, &by_log_det, 1.5);
        let mut y = x.clone();
        let memory = Memory::Stored;
        let ran = machine.run(Direction::Forward, &mut y, &[], Some(memory)).unwrap();
        let (log_det, kept) = (ran.0, ran.1.unwrap());
        let mut by_x = cotangent;
        let ran = machine.vjp(Direction::Forward, kept, &mut by_x, &by_log_det, &[]);
        for (got, want) in [y, log_det, by_x, ran.unwrap().parameters].into_iter().zip(want) {
            assert_eq!(got.len(), want.len());
            let scale = 1.0 + distance(&want, &vec![0.0; want.len()]);
            assert!(distance(&got, &want) < 1e-12 * scale, "{got:?}, not {want:?}");
        }
    }
}
