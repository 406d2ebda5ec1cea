//! Base distributions: densities that integrate to one, gradients, and samples of the density.

use dfdx::prelude::*;
use flow_core::prelude::*;
use flow_core::{Architecture, Invertible, Unconditional};
use flow_tests::numeric;

flow! {
    struct NormalBase: Vector<1> { linear(diagonal); }

    #[base(logistic)]
    struct LogisticBase: Vector<1> { linear(diagonal); }

    #[base(uniform)]
    struct UniformBase: Vector<1> { linear(diagonal); }

    #[base(mixture(3))]
    struct MixtureBase: Vector<1> { linear(diagonal); }

    #[base(mixture(3))]
    struct WideMixture: Vector<2> { linear(diagonal); }
}

type Flow64<A> = flow_core::Flow<A, f64, Cpu>;

/// Moves every parameter away from its start.
fn disturb<A: Architecture<f64>>(flow: &mut Flow64<A>) {
    let noise = Noise::seed(3);
    let parameters: Vec<(String, Vec<f64>)> =
        flow.parameters().map(|p| (p.name.to_owned(), p.values.to_vec())).collect();
    for (name, mut values) in parameters {
        let noise = noise.named(&name);
        values.iter_mut().enumerate().for_each(|(i, v)| *v += 0.5 * noise.normal(i as u64));
        flow.set(&name, &values).unwrap();
    }
}

fn density<A: Architecture<f64, Context = Unconditional>>(flow: &Flow64<A>, x: &[f64]) -> Vec<f64> {
    let log_prob = flow.view().unwrap().log_prob_of_rows(x).unwrap();
    log_prob.into_iter().map(f64::exp).collect()
}

/// The density adds up to 1, and the share of samples below a point is its integral up to there.
fn check<A>(mut flow: Flow64<A>)
where
    A: Architecture<f64, Event = Vector<1>, Context = Unconditional> + Invertible,
{
    disturb(&mut flow);
    const STEP: f64 = 2e-3;
    let grid: Vec<f64> = (0..100_000).map(|i| -100.0 + STEP * (f64::from(i) + 0.5)).collect();
    let mass: Vec<f64> = density(&flow, &grid).into_iter().map(|p| p * STEP).collect();
    let total: f64 = mass.iter().sum();
    assert!((total - 1.0).abs() < 2e-3, "the density adds up to {total}");

    let count = 20_000;
    let mut samples = flow.sample(count, &mut Noise::seed(5)).unwrap().as_vec();
    samples.sort_by(f64::total_cmp);
    // Kolmogorov's distance stays below 1.95/√n in 999 of 1000 cases.
    let (mut below, mut at, mut most) = (0.0, 0, 0.0_f64);
    for (x, mass) in grid.iter().zip(mass) {
        below += mass;
        while at < count && samples[at] < *x {
            at += 1;
        }
        most = most.max((below - at as f64 / count as f64).abs());
    }
    assert!(most < 1.95 / (count as f64).sqrt() + 2e-3, "samples are off by {most}");
}

#[test]
fn densities_integrate_to_one_and_samples_follow_them() {
    let cpu = Cpu::default();
    check((*NormalBase::<f64>::build(&cpu, 0).unwrap()).clone());
    check((*LogisticBase::<f64>::build(&cpu, 0).unwrap()).clone());
    check((*UniformBase::<f64>::build(&cpu, 0).unwrap()).clone());
    check((*MixtureBase::<f64>::build(&cpu, 0).unwrap()).clone());
}

/// The gradients of a weighted sum of log-probabilities against differences.
fn check_gradients<A, const D: usize>(mut flow: Flow64<A>)
where
    A: Architecture<f64, Event = Vector<D>, Context = Unconditional>,
{
    disturb(&mut flow);
    const ROWS: usize = 3;
    let mut x = vec![0.0; ROWS * D];
    Noise::seed(6).fill_normal(0, &mut x);
    x.iter_mut().for_each(|v| *v *= 2.0);
    let weights = [1.0, -0.5, 2.0];
    let loss = |flow: &Flow64<A>, x: &[f64]| {
        numeric::dot(&flow.view().unwrap().log_prob_of_rows(x).unwrap(), &weights)
    };

    let cpu = Cpu::default();
    let at = cpu.tensor_from_vec(x.clone(), (ROWS, Const::<D>));
    let weighed = cpu.tensor_from_vec(weights.to_vec(), (ROWS,));
    let log_prob = flow.log_prob::<usize, _>(at.leaky_trace()).unwrap();
    let mut gradients = (log_prob * weighed).sum::<Rank0, _>().backward();
    let close = |what: &str, got: f64, want: f64| {
        let error = (got - want).abs() / want.abs().max(1.0);
        assert!(error < 1e-8, "the gradient by {what} is {got}, numerically {want}");
    };
    for (i, got) in gradients.get(&at).as_vec().into_iter().enumerate() {
        let want = numeric::slope(|by| {
            let mut moved = x.clone();
            moved[i] += by;
            vec![loss(&flow, &moved)]
        });
        close(&format!("x[{i}]"), got, want[0]);
    }
    for (name, got) in flow.gradients(&mut gradients).unwrap() {
        let values = flow.parameters().find(|p| p.name == name).unwrap().values.to_vec();
        for (i, got) in got.into_iter().enumerate() {
            let want = numeric::slope(|by| {
                let (mut other, mut moved) = (flow.clone(), values.clone());
                moved[i] += by;
                other.set(name, &moved).unwrap();
                vec![loss(&other, &x)]
            });
            close(&format!("{name}[{i}]"), got, want[0]);
        }
    }
}

#[test]
fn gradients_are_those_of_differences() {
    let cpu = Cpu::default();
    check_gradients::<_, 1>((*NormalBase::<f64>::build(&cpu, 0).unwrap()).clone());
    check_gradients::<_, 1>((*LogisticBase::<f64>::build(&cpu, 0).unwrap()).clone());
    check_gradients::<_, 2>((*WideMixture::<f64>::build(&cpu, 0).unwrap()).clone());
}

#[test]
fn extreme_rows_have_finite_or_vanishing_density() {
    let cpu = Cpu::default();
    for far in [1e3, -1e3, 1e150] {
        let logistic = LogisticBase::<f64>::build(&cpu, 0).unwrap();
        assert_eq!(logistic.score(&[far], &[]).unwrap(), -far.abs());
        let mixture = MixtureBase::<f64>::build(&cpu, 0).unwrap();
        assert!(mixture.score(&[far], &[]).unwrap() < -1e5);
    }
}

/// What is not a number has no density, and must not look like what cannot be.
#[test]
fn no_base_hides_what_is_not_a_number() {
    fn check<A>(mut flow: Flow64<A>)
    where
        A: Architecture<f64, Event = Vector<1>, Context = Unconditional>,
    {
        // 0 times a scale that overflows.
        flow.set("0.log_scale", &[1e4]).unwrap();
        let found = flow.log_prob(Cpu::default().tensor([[0.0]])).unwrap().array();
        assert!(found[0].is_nan(), "{}: {found:?}", A::NAME);
    }
    let cpu = Cpu::default();
    check((*NormalBase::<f64>::build(&cpu, 0).unwrap()).clone());
    check((*LogisticBase::<f64>::build(&cpu, 0).unwrap()).clone());
    check((*UniformBase::<f64>::build(&cpu, 0).unwrap()).clone());
    check((*MixtureBase::<f64>::build(&cpu, 0).unwrap()).clone());
}
