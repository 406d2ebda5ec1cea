//! Certified bounds are never violated: random flows of all kinds, weights of several scales,
//! random boxes, and points in them.

use dfdx::prelude::Cpu;
use flow_core::lipschitz::{Bounds, Region};
use flow_core::prelude::*;
use flow_core::{Architecture, Event, Flow, Invertible, Unconditional};
use flow_tests::numeric::Matrix;
use flow_tests::{Direction, Free, Subject};

/// What trials have found: the tightest and the loosest ratio of certified to observed.
struct Tally {
    trials: usize,
    bounded: usize,
    tightest: f64,
    loosest: f64,
}

impl Tally {
    /// An observed amplification, less what the differences of its vector-Jacobian products' rounding
    /// can be: products of a few hundred terms in f64 err by less than a share of 1e-10.
    fn add(&mut self, what: &str, log_bound: f64, observed: f64) {
        self.trials += 1;
        if log_bound == f64::INFINITY || !observed.is_finite() || observed == 0.0 {
            return;
        }
        let ratio = log_bound - (observed * (1.0 - 1e-10)).ln();
        assert!(ratio >= 0.0, "{what}: certified e^{log_bound}, observed {observed:e}");
        self.bounded += 1;
        self.tightest = self.tightest.min(ratio);
        self.loosest = self.loosest.max(ratio);
    }
}

/// The Jacobians of a few points, from vector-Jacobian products: one batch for all rows of each.
fn jacobian<A>(flow: &Free<A, f64>, direction: Direction, x: &[f64]) -> Matrix
where
    A: Architecture<f64, Context = Unconditional> + Invertible,
{
    let d = x.len();
    let mut unit = vec![0.0; d * d];
    (0..d).for_each(|i| unit[i * d + i] = 1.0);
    let points: Vec<f64> = (0..d).flat_map(|_| x.iter().copied()).collect();
    let slopes = flow.slopes(direction, &points, &[], &unit, &vec![0.0; d]);
    let mut jacobian = Matrix::zeros(d);
    (0..d * d).for_each(|i| jacobian[(i / d, i % d)] = slopes.input[i]);
    jacobian
}

fn trials<A>(name: &str, flow: Flow<A, f64, Cpu>, seeds: u64)
where
    A: Architecture<f64, Context = Unconditional> + Invertible,
{
    let d = A::Event::SHAPE.size();
    let mut flow = Free(flow);
    let mut tally = Tally { trials: 0, bounded: 0, tightest: f64::INFINITY, loosest: 0.0 };
    let mut everywhere = 0;
    let starts: Vec<_> =
        flow.0.parameters().map(|p| (p.name.to_owned(), p.values.to_vec())).collect();
    let names: Vec<_> = starts.iter().map(|(name, _)| name.clone()).collect();
    let first: Vec<f64> = (0..4 * d).map(|i| Noise::seed(1).normal(i as u64)).collect();
    flow.initialize(&first, &[]);
    for seed in 0..seeds {
        let noise = Noise::seed(seed).named(name);
        let scale = [0.0, 0.1, 0.5, 1.5][(seed % 4) as usize];
        for (i, (name, start)) in names.iter().zip(starts.iter().map(|(_, v)| v)).enumerate() {
            let mut values = vec![0.0; start.len()];
            noise.at(i as u64).fill_normal(0, &mut values);
            values.iter_mut().zip(start).for_each(|(v, start)| *v = start + scale * *v);
            flow.set(name, &values);
        }
        let numbers = noise.named("box");
        let width = [0.01, 0.3, 2.0][(seed % 3) as usize];
        let centre: Vec<f64> = (0..d).map(|i| 1.5 * numbers.normal(i as u64)).collect();
        let half: Vec<f64> = (0..d).map(|i| width * numbers.uniform(1000 + i as u64)).collect();
        let side =
            |sign: f64| centre.iter().zip(&half).map(|(c, h)| c + sign * h).collect::<Vec<_>>();
        for latent in [false, true] {
            let region = Region::cuboid(side(-1.0), side(1.0)).subdivided(1 + (seed % 2) as usize);
            let region = if latent { region.of_latents() } else { region };
            let local = flow.0.bilipschitz(&region).expect("bounds");
            let global = flow.0.bilipschitz(&Region::everything()).expect("bounds");
            everywhere += usize::from(global.forward.exists());
            for k in 0..3 {
                let share = |i: usize| 2.0 * numbers.uniform(2000 + (k * d + i) as u64) - 1.0;
                let x: Vec<f64> = (0..d).map(|i| centre[i] + half[i] * share(i)).collect();
                let direction = if latent { Direction::Inverse } else { Direction::Forward };
                let (least, most) = jacobian(&flow, direction, &x).extreme_singular_values();
                let (there, back) = if latent { (1.0 / least, most) } else { (most, 1.0 / least) };
                let of = |bounds: &Bounds| (bounds.forward.log, bounds.inverse.log);
                for (forward, inverse) in [of(&local), of(&global)] {
                    tally.add(&format!("{name} forward, seed {seed}"), forward, there);
                    // The smallest singular value of a matrix errs relative to its largest.
                    let trusted = least > 1e-6 * most;
                    if trusted {
                        tally.add(&format!("{name} inverse, seed {seed}"), inverse, back);
                    }
                }
            }
        }
    }
    let Tally { trials, bounded, tightest, loosest } = tally;
    println!(
        "{name}: {trials} trials, {bounded} with a bound; certified/observed from {:.4} to {:.3e}; \
         {everywhere} of {} flows bounded everywhere",
        tightest.exp(),
        loosest.exp(),
        2 * seeds,
    );
    assert!(bounded > trials / 3, "{name}: {bounded} of {trials} have a bound");
}

macro_rules! sound {
    ($($test:ident: { $($source:tt)* })*) => {$(
        #[test]
        fn $test() {
            flow! { struct Row: $($source)* }
            let flow = Row::<f64>::build(&Cpu::default(), 3).expect("a flow");
            trials(stringify!($test), (*flow).clone(), 400);
        }
    )*};
}

sound! {
    elementary: { Vector<4> { standardize; actnorm; permute(shuffle(2)); linear(diagonal); } }
    curves: {
        Vector<3> { leaky_relu(0.2); scale(-0.7); actnorm; normal_cdf; logit; leaky_relu(1.5); }
    }
    there_and_back: { Vector<3> { sigmoid; logit; linear(lu); } }
    linear_lu: { Vector<4> { linear(lu); permute(roll(1)); linear(lu); } }
    linear_dense: { Vector<3> { linear(dense); } }
    orthogonal: {
        Vector<4> {
            linear(orthogonal);
            affine_coupling(scale = tanh(1.0), net = mlp([4], tanh));
            linear(householder(2));
            affine_coupling(net = mlp([4], swish));
            linear(orthogonal);
        }
    }
    linear_svd: {
        Vector<4> {
            linear(svd);
            affine_coupling(scale = tanh(1.0), net = mlp([4], tanh));
            linear(svd);
        }
    }
    images: { Image<2, 2, 2> { squeeze(2); conv1x1(lu); unsqueeze(2); haar; actnorm; flatten; } }
    strided: { Image<1, 4, 2> { invertible_conv(kernel = 2); } }
    levels: { Vector<8> { multiscale 3 { linear(lu); actnorm; } } }
    additive: {
        Vector<4> {
            additive_coupling(net = mlp([6, 5], swish));
            additive_coupling(net = mlp([6], gelu));
        }
    }
    additive_on_images: {
        Image<2, 3, 2> {
            additive_coupling(net = conv([3, 1, 3], hidden = 3, elu));
            permute(reverse);
            additive_coupling(keep = checker_even, net = conv([3], hidden = 3, relu));
            additive_coupling(keep = checker_odd, net = conv([3], hidden = 3, relu));
        }
    }
    affine: {
        Vector<4> {
            affine_coupling(scale = sigmoid(0.5, 1.0), net = mlp([6], swish));
            actnorm;
            affine_coupling(scale = tanh(1.0), net = mlp([6], tanh));
            affine_coupling(net = mlp([4], softplus));
        }
    }
    mexican_hat: {
        Vector<4> {
            affine_coupling(scale = mexican_hat(3), net = mlp([4], swish));
            affine_coupling(scale = mexican_hat(2, beta = 0.7), net = mlp([4], tanh));
        }
    }
    affine_on_images: {
        Image<2, 2, 2> {
            affine_coupling(scale = sigmoid(0.5, 1.0), net = conv([3, 1], hidden = 3, leaky_relu));
            conv1x1(lu);
            affine_coupling(keep = checker_odd, scale = tanh(0.5), net = conv([3], hidden = 3, tanh));
        }
    }
    spline: {
        Vector<4> {
            spline_coupling(bins = 4, net = mlp([4], swish));
            spline_coupling(bins = 3, bound = 1.5, net = mlp([4], tanh));
        }
    }
    dual: { Vector<5> { dual_affine_coupling(scale = tanh(1.0), net = mlp([6], swish)); } }
    residual: {
        Vector<3> {
            residual(lipschitz = 0.8, net = mlp([6], swish));
            residual(lipschitz = 0.5, net = mlp([6], elu));
        }
    }
    residual_on_images: {
        Image<1, 2, 3> { residual(lipschitz = 0.7, net = conv([3, 1], hidden = 3, softplus)); }
    }
}
