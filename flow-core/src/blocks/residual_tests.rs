use std::cell::Cell;

use super::*;
use crate::blocks::{series_tail, Trace};
use crate::engine;
use crate::nets::{Activation, FeedForward, NetOptions};
use crate::testing::{check_laws, distance, normal, single, Make, Single};
use crate::Noise;

#[path = "residual_oracle.rs"]
mod oracle;

type Block3<const C: usize> = Single<Small, 3, C>;
type Machine<A> = engine::Machine<A, f64>;

// The block under test is carried by a type; what varies stands here, where the thread that builds
// the flow finds it.
thread_local! {
    static DETERMINANT: Cell<Determinant> = const { Cell::new(Determinant::Exact) };
    static LIPSCHITZ: Cell<f64> = const { Cell::new(0.8) };
}

struct Small;

impl<const D: usize, const C: usize> Make<D, C> for Small {
    type Block = Residual<FeedForward>;
    fn make(b: &mut Builder<f64>) -> Result<Self::Block> {
        residual(b, Shape::vector(D), C)
    }
}

fn residual(b: &mut Builder<f64>, shape: Shape, context: usize) -> Result<Residual<FeedForward>> {
    let c = LIPSCHITZ.get();
    Residual::new(b, shape, context, c, DETERMINANT.get(), 1e-14, |b, i, o, last| {
        let options = NetOptions { lipschitz: Some(c), ..NetOptions::default() };
        FeedForward::mlp(b, i, o, last, &[5], Activation::Tanh, options)
    })
}

/// A flow of one block with weights so large that the coefficient limits them.
fn jittered<const D: usize, const C: usize>(
    determinant: Determinant,
    lipschitz: f64,
) -> Machine<Single<Small, D, C>>
where
    (): crate::testing::Given<C>,
{
    DETERMINANT.set(determinant);
    LIPSCHITZ.set(lipschitz);
    let mut machine = single::<Small, D, C>();
    let jitter = Noise::seed(2);
    machine
        .step(|parameters| {
            parameters.iter_mut().enumerate().for_each(|(i, p)| *p += jitter.normal(i as u64));
        })
        .unwrap();
    machine
}

fn forward<A: crate::Architecture<f64>>(machine: &Machine<A>, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut y = x.to_vec();
    let (log_det, _) = machine.run(engine::Direction::Forward, &mut y, &[], None).unwrap();
    (y, log_det)
}

#[test]
fn laws_hold_with_exact_determinants() {
    DETERMINANT.set(Determinant::Exact);
    LIPSCHITZ.set(0.8);
    check_laws::<Small, 1, 0>();
    check_laws::<Small, 2, 0>();
    check_laws::<Small, 3, 2>();
}

#[test]
fn laws_hold_with_series_of_exact_traces() {
    // So many terms that the tail is below what the laws can see; the gradient is that of the
    // truncated sum, which the next test shows.
    DETERMINANT.set(Determinant::Series { terms: 40, trace: Trace::Exact });
    LIPSCHITZ.set(0.5);
    check_laws::<Small, 1, 0>();
    check_laws::<Small, 5, 0>();
    check_laws::<Small, 2, 2>();
}

#[test]
fn a_short_series_is_within_its_tail_and_has_its_own_gradient() {
    let x = normal(7 * 3, 4);
    let (_, want) = forward(&jittered::<3, 0>(Determinant::Exact, 0.8), &x);
    let mut errors = Vec::new();
    for terms in [1, 2, 3, 8, 30] {
        let machine = jittered::<3, 0>(Determinant::Series { terms, trace: Trace::Exact }, 0.8);
        let (_, got) = forward(&machine, &x);
        let error = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(error <= series_tail(3, 0.8, terms), "{terms} terms: off by {error}");
        errors.push(error);

        let (by_x, totals) = gradient(&machine, &x, &[0.0; 21], &[1.0; 7]);
        let sum =
            |machine: &Machine<Block3<0>>, x: &[f64]| forward(machine, x).1.iter().sum::<f64>();
        let step = 1e-5;
        for i in 0..x.len() {
            let at = |by: f64| {
                let mut moved = x.clone();
                moved[i] += by;
                sum(&machine, &moved)
            };
            let want = (at(step) - at(-step)) / (2.0 * step);
            assert!((by_x[i] - want).abs() < 1e-8, "{terms} terms: {} not {want}", by_x[i]);
        }
        for i in 0..totals.len() {
            let at = |by: f64| {
                let mut moved = machine.clone();
                moved.step(|parameters| parameters[i] += by).unwrap();
                sum(&moved, &x)
            };
            let want = (at(step) - at(-step)) / (2.0 * step);
            assert!((totals[i] - want).abs() < 1e-7, "{terms} terms: {} not {want}", totals[i]);
        }
    }
    assert!(errors[0] > 1e-3, "the first term alone should show: {errors:?}");
}

/// The gradient of the forward direction by the input and by the parameters.
fn gradient<A: crate::Architecture<f64>>(
    machine: &Machine<A>,
    x: &[f64],
    cotangent: &[f64],
    by_log_det: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    product(machine, engine::Direction::Forward, x, cotangent, by_log_det)
}

fn product<A: crate::Architecture<f64>>(
    machine: &Machine<A>,
    direction: engine::Direction,
    x: &[f64],
    cotangent: &[f64],
    by_log_det: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let memory = crate::Memory::Stored;
    let (_, kept) = machine.run(direction, &mut x.to_vec(), &[], Some(memory)).unwrap();
    let mut by_x = cotangent.to_vec();
    let totals = machine.vjp(direction, kept.unwrap(), &mut by_x, by_log_det, &[]).unwrap();
    (by_x, totals.parameters)
}

/// Mean and standard error of many draws against what they estimate, within four standard errors.
struct Mean {
    sum: Vec<f64>,
    squares: Vec<f64>,
    count: f64,
}

impl Mean {
    fn new(len: usize) -> Self {
        Self { sum: vec![0.0; len], squares: vec![0.0; len], count: 0.0 }
    }

    fn add(&mut self, draw: &[f64]) {
        self.count += 1.0;
        for ((sum, squares), &v) in self.sum.iter_mut().zip(&mut self.squares).zip(draw) {
            *sum += v;
            *squares += v * v;
        }
    }

    fn check(&self, what: &str, want: &[f64]) {
        for (i, &want) in want.iter().enumerate() {
            let mean = self.sum[i] / self.count;
            let variance = (self.squares[i] / self.count - mean * mean).max(0.0);
            let error = (variance / self.count).sqrt();
            let off = (mean - want).abs();
            assert!(off <= 4.0 * error + 1e-12, "{what}[{i}]: {mean} ± {error}, not {want}");
            assert!(error < 0.1 * (1.0 + want.abs()), "{what}[{i}]: ± {error} says nothing");
        }
    }
}

#[test]
fn estimators_are_unbiased_for_value_and_gradients() {
    let (x, cotangent, by_log_det) = (normal(6, 4), normal(6, 5), [0.7, -1.3, 0.4]);
    let long = Determinant::Series { terms: 60, trace: Trace::Hutchinson };
    let roulette = Determinant::Roulette { p: 0.5, exact_terms: 1 };
    for determinant in [long, roulette, Determinant::Roulette { p: 0.3, exact_terms: 2 }] {
        let exact = jittered::<2, 0>(Determinant::Exact, 0.6);
        let random = jittered::<2, 0>(determinant, 0.6);
        let mut noise = Noise::seed(12);
        for direction in [engine::Direction::Forward, engine::Direction::Inverse] {
            let value =
                |machine: &Machine<_>| machine.run(direction, &mut x.clone(), &[], None).unwrap().0;
            let (by_x, by_parameters) = product(&exact, direction, &x, &cotangent, &by_log_det);
            let (mut values, mut inputs) = (Mean::new(3), Mean::new(6));
            let mut parameters = Mean::new(by_parameters.len());
            for _ in 0..3000 {
                let random = random.drawing(noise.split());
                values.add(&value(&random));
                let (by_x, by_parameters) =
                    product(&random, direction, &x, &cotangent, &by_log_det);
                inputs.add(&by_x);
                parameters.add(&by_parameters);
            }
            values.check("log_det", &value(&exact));
            inputs.check("input", &by_x);
            parameters.check("parameters", &by_parameters);
        }
    }
}

#[test]
fn random_terms_are_the_same_in_a_pass_and_its_product_and_differ_between_rows() {
    let machine = jittered::<2, 0>(Determinant::Roulette { p: 0.5, exact_terms: 1 }, 0.8);
    let x = [0.3, -0.7].repeat(40);
    let (_, log_det) = forward(&machine, &x);
    assert!(log_det.iter().any(|l| l != &log_det[0]), "every row drew the same");
    assert_eq!(log_det, forward(&machine, &x).1);
    // Rows of a second group, and of a product, know their place in the batch.
    let (by_x, _) = gradient(&machine, &x, &[0.0; 80], &[1.0; 40]);
    assert_eq!(by_x, gradient(&machine, &x, &[0.0; 80], &[1.0; 40]).0);
    let draws: std::collections::BTreeSet<_> = by_x.iter().map(|v| v.to_bits()).collect();
    assert!(draws.len() > 10, "{} different gradients", draws.len());
    let with_zero_noise = forward(&machine.drawing(Noise::seed(1)), &x).1;
    assert_ne!(with_zero_noise, log_det);
}

#[test]
fn a_coefficient_near_one_converges_to_rounding() {
    for scale in [1.0, 1e6] {
        let machine = jittered::<3, 0>(Determinant::Exact, 0.99);
        let x: Vec<f64> = normal(9, 4).iter().map(|v| v * scale).collect();
        let (z, _) = forward(&machine, &x);
        let mut back = z.clone();
        let mut radius = [0.0; 3];
        let direction = engine::Direction::Inverse;
        machine.run_measured(direction, &mut back, &[], None, &mut radius, true).unwrap();
        for ((x, back), radius) in x.chunks(3).zip(back.chunks(3)).zip(radius) {
            let error = distance(x, back);
            assert!(error <= radius, "{error:e} over the radius {radius:e}");
            assert!(radius < 1e-11 * scale, "a radius of {radius:e}");
        }
    }
}

#[test]
fn a_row_without_an_answer_is_named() {
    let mut machine = jittered::<1, 0>(Determinant::Exact, 0.5);
    // A promise that the weights do not keep: the coefficient 0.5 with a slope of 2.
    machine
        .change(|values| {
            values.parameters[..5].fill(1.0);
            values.parameters[5..10].fill(0.0);
            values.parameters[10..15].fill(0.1);
            Ok(())
        })
        .unwrap();
    let (blocks, mut state) = (machine.blocks(), machine.state().clone());
    state.derived.iter_mut().for_each(|v| *v *= -2.0);
    let (mut workspace, mut none) = (engine::Workspace::default(), engine::Gradients::default());
    let pass = Pass::new(2, &state, &[], &mut workspace, &mut none);
    let mut pass = pass.drawing(&Noise::seed(0), 32);
    let ran = blocks.0.inverse(&mut pass, &mut [0.0, 0.1], &mut [0.0, 0.0]);
    let reason = ran.expect_err("no answer").to_string();
    assert!(reason.starts_with("residual at 0: the inverse of row 33 is known only"), "{reason}");
    assert!(reason.contains("\nhelp: a larger `tolerance`"), "{reason}");

    machine.step(|parameters| parameters[0] = f64::NAN).unwrap();
    let ran = machine.run(engine::Direction::Inverse, &mut vec![0.5; 40], &[], None);
    let reason = ran.err().expect("no answer").to_string();
    assert!(reason.contains("of row 0 left the finite numbers"), "{reason}");
}

#[test]
fn parts_and_groups_change_nothing() {
    // A part holds one row of 600 numbers; a batch of 40 is two groups.
    struct Wide;
    impl Make<600, 0> for Wide {
        type Block = Residual<FeedForward>;
        fn make(b: &mut Builder<f64>) -> Result<Self::Block> {
            Residual::new(
                b,
                Shape::vector(600),
                0,
                0.5,
                Determinant::Exact,
                1e-14,
                |b, i, o, last| {
                    let options = NetOptions {
                        zero_init: false,
                        lipschitz: Some(0.5),
                        ..NetOptions::default()
                    };
                    FeedForward::mlp(b, i, o, last, &[2], Activation::Tanh, options)
                },
            )
        }
    }
    let machine = single::<Wide, 600, 0>();
    let x = normal(600 * 2, 3);
    let both = forward(&machine, &x);
    let (first, second) = (forward(&machine, &x[..600]), forward(&machine, &x[600..]));
    assert!(distance(&both.1, &[first.1[0], second.1[0]]) < 1e-12);
    // The determinant of I + UV is that of I + VU, two by two; here only that it is no zero.
    assert!(both.1.iter().all(|l| l.abs() > 1e-6 && l.abs() < 2.0 * 1.5_f64.ln()), "{:?}", both.1);
}

#[test]
fn bad_options_are_errors() {
    let make = |lipschitz: f64, determinant: Determinant, tolerance: f64, net: Option<f64>| {
        let mut b = Builder::<f64>::new(1);
        let shape = Shape::vector(2);
        let made =
            Residual::new(&mut b, shape, 0, lipschitz, determinant, tolerance, |b, i, o, last| {
                let options = NetOptions { lipschitz: net, ..NetOptions::default() };
                FeedForward::mlp(b, i, o, last, &[3], Activation::Relu, options)
            });
        made.map(|_: Residual<FeedForward>| ()).map_err(|error| error.to_string())
    };
    let exact = Determinant::Exact;
    assert_eq!(make(0.5, exact, 1e-9, Some(0.5)), Ok(()));
    for (made, word) in [
        (make(1.0, exact, 1e-9, Some(0.5)), "lipschitz of a residual block is 1"),
        (make(f64::NAN, exact, 1e-9, Some(0.5)), "NaN"),
        (make(0.5, exact, 0.0, Some(0.5)), "tolerance is 0"),
        (make(0.5, exact, 1e-9, Some(0.6)), "at most 0.5"),
        (make(0.5, exact, 1e-9, None), "is inf"),
        (make(0.5, Determinant::Series { terms: 0, trace: Trace::Exact }, 1.0, Some(0.5)), "terms"),
        (make(0.5, Determinant::Roulette { p: 1.0, exact_terms: 1 }, 1.0, Some(0.5)), "p of"),
        (
            make(0.5, Determinant::Roulette { p: 0.5, exact_terms: 0 }, 1.0, Some(0.5)),
            "exact terms",
        ),
    ] {
        let error = made.unwrap_err();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn it_starts_as_the_identity() {
    DETERMINANT.set(Determinant::Exact);
    LIPSCHITZ.set(0.8);
    let machine = single::<Small, 3, 0>();
    let x = normal(9, 1);
    assert_eq!(forward(&machine, &x), (x, vec![0.0; 3]));
}

#[test]
fn values_and_gradients_are_those_of_dfdx() {
    for seed in 0..5 {
        DETERMINANT.set(Determinant::Exact);
        LIPSCHITZ.set(0.9);
        let mut machine = single::<Small, 2, 0>();
        // Small enough that no weight is scaled down, which the oracle would have to know.
        let parameters: Vec<f64> = normal(27, seed).iter().map(|v| 0.15 * v).collect();
        machine.step(|p| p.copy_from_slice(&parameters)).unwrap();
        let (x, cotangent, by_log_det) = (normal(8, 50 + seed), normal(8, 60), normal(4, 70));
        let (y, numbers, by_x, all) = oracle::run(&x, &parameters, &cotangent, &by_log_det);
        let got = forward(&machine, &x);
        let (got_by_x, got_all) = gradient(&machine, &x, &cotangent, &by_log_det);
        for (got, want) in [(got.0, y), (got.1, numbers), (got_by_x, by_x), (got_all, all)] {
            assert_eq!(got.len(), want.len());
            assert!(distance(&got, &want) < 1e-12, "{got:?}, not {want:?}");
        }
    }
}
