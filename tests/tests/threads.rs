//! The number of threads changes no bit of a density, a sample or a trained weight, whatever kind
//! of block a flow has.

use flow_core::prelude::*;
use flow_core::{Architecture, Cpu, Event, Invertible, Unconditional};

flow! {
    struct Affine: Vector<2> {
        repeat 3 {
            affine_coupling(keep = first, net = mlp([16, 16], relu, zero_init = false));
            affine_coupling(keep = second, net = mlp([16, 16], relu, zero_init = false));
        }
    }

    struct Splines: Vector<6> {
        linear(lu);
        spline_coupling(keep = first, net = mlp([16], relu, zero_init = false));
        linear(lu);
        spline_coupling(keep = second, net = mlp([16], relu, zero_init = false));
    }

    struct Autoregressive: Vector<6> {
        masked_autoregressive(affine, net = made([24, 24], relu, zero_init = false));
        permute(reverse);
        masked_autoregressive(affine, net = made([24, 24], relu, zero_init = false));
    }

    struct Images: Image<3, 8, 8> {
        multiscale 2 {
            squeeze(2);
            repeat 2 {
                actnorm;
                conv1x1(lu);
                affine_coupling(
                    keep = first,
                    scale = sigmoid(0.5, 1.0),
                    net = conv([3, 1, 3], hidden = 8, relu, zero_init = false)
                );
            }
        }
    }

    struct Residual: Vector<2> {
        repeat 2 {
            residual(lipschitz = 0.9, net = mlp([16, 16], swish, zero_init = false));
        }
    }
}

/// The bits of what a flow computes on a pool of its own.
fn bits<A>(flow: &Flow<A, f32, Cpu>, rows: usize, threads: usize) -> [Vec<u32>; 3]
where
    A: Architecture<f32, Context = Unconditional> + Invertible,
{
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let width = A::Event::SHAPE.size();
        let mut numbers = vec![0.0; rows * width];
        Noise::seed(3).fill_normal(0, &mut numbers);
        let rows = Rows::new(numbers, width).unwrap();
        let mut flow = flow.clone();
        flow.initialize(rows.x::<A::Event>().unwrap()).unwrap();
        let density = flow.view().unwrap().log_prob_of_rows(rows.values()).unwrap();
        let samples = flow.sample(rows.len(), &mut Noise::seed(4)).unwrap();
        let samples = Rows::from_tensor(samples).unwrap();
        let trainer = Trainer::new(Adam::new(1e-3)).batch_size(rows.len()).steps(2).silent();
        trainer.fit(&mut flow, &rows).unwrap();
        let weights: Vec<f32> = flow.parameters().flat_map(|p| p.values.to_vec()).collect();
        [density, samples.values().to_vec(), weights]
            .map(|numbers| numbers.iter().map(|number| number.to_bits()).collect())
    })
}

fn no_bit_depends_on_threads<A>(flow: &Flow<A, f32, Cpu>, rows: usize)
where
    A: Architecture<f32, Context = Unconditional> + Invertible,
{
    let one = bits(flow, rows, 1);
    for threads in [2, 4] {
        let kinds = ["density", "samples", "weights"];
        for ((kind, one), more) in kinds.iter().zip(&one).zip(bits(flow, rows, threads)) {
            let differ = one.iter().zip(&more).filter(|(a, b)| a != b).count();
            assert_eq!(differ, 0, "{kind} of {} on {threads} threads", A::NAME);
            assert_eq!(one.len(), more.len());
        }
    }
}

#[test]
fn couplings_and_linear_maps() {
    no_bit_depends_on_threads(&Affine::build(&Cpu::default(), 0).unwrap(), 131);
    no_bit_depends_on_threads(&Splines::build(&Cpu::default(), 0).unwrap(), 131);
}

#[test]
fn autoregressive_and_residual_blocks() {
    no_bit_depends_on_threads(&Autoregressive::build(&Cpu::default(), 0).unwrap(), 131);
    no_bit_depends_on_threads(&Residual::build(&Cpu::default(), 0).unwrap(), 131);
}

#[test]
fn convolutions_and_levels() {
    no_bit_depends_on_threads(&Images::build(&Cpu::default(), 0).unwrap(), 131);
}
