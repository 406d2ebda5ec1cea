//! Multi-scale parts.

use dfdx::prelude::{AsArray, Const, Cpu, Rank2, Rank4, SampleTensor, Tensor, TensorFrom};
use flow_core::prelude::*;

const CHANNELS: usize = 5;

flow! {
    /// Halves.
    pub struct Halves: Vector<8> {
        multiscale 3 {
            actnorm;
            affine_coupling(net = mlp([8], relu, zero_init = false));
        }
        'after: linear(lu);
    }

    /// Thirds of an image's channels.
    pub struct Thirds: Image<6, 2, 2> {
        'levels: multiscale 2 (keep = 1/3) {
            actnorm;
            permute(reverse);
        }
    }

    /// A Glow without couplings.
    pub struct Glow: Image<3, 32, 32> {
        multiscale 3 {
            squeeze(2);
            repeat 2 {
                actnorm;
                conv1x1(lu);
            }
        }
    }

    /// Nothing but the order of the latents.
    pub struct Order: Image<1, 4, 4> {
        multiscale 2 {
            squeeze(2);
        }
    }

    /// A named constant, a context, and a body that ends flat.
    pub struct Named: Image<CHANNELS, 2, 3> given Vector<2> {
        'flat: flatten;
        multiscale 2 (keep = 2/3) {
            affine_coupling(keep = first, net = mlp([4], relu));
            linear(dense);
        }
    }

    pub struct Constant: Vector<CHANNELS> {
        multiscale 2 (keep = 3/5) {
            actnorm;
        }
    }

    pub struct Whole<const D: usize>: Vector<D> {
        multiscale 1 {
            linear(diagonal);
        }
    }
}

#[test]
fn each_level_has_its_own_shape() {
    let cpu = crate::cpu();
    let mut flow = Glow::<f32>::build(&cpu, 1).expect("a flow");
    let x: Tensor<Rank4<2, 3, 32, 32>, f32, Cpu> = cpu.sample_normal();
    flow.initialize(x.clone()).expect("a first batch");
    let (z, _) = flow.forward(x).expect("latents");
    let z: Tensor<Rank2<2, 3072>, f32, Cpu> = z;
    let (first, second, third) = flow.levels(&z).expect("levels");
    let first: Tensor<Rank4<2, 6, 16, 16>, f32, Cpu> = first;
    let second: Tensor<Rank4<2, 12, 8, 8>, f32, Cpu> = second;
    let third: Tensor<Rank4<2, 48, 4, 4>, f32, Cpu> = third;
    assert_eq!(flow.join_levels((first, second, third)).expect("latents").as_vec(), z.as_vec());
}

#[test]
fn levels_stand_in_the_order_in_which_they_were_factored_out() {
    let cpu = crate::cpu();
    let flow = Order::<f64>::build(&cpu, 1).expect("a flow");
    let x: Tensor<Rank4<1, 1, 4, 4>, f64, Cpu> =
        cpu.tensor((0..16).map(f64::from).collect::<Vec<_>>());
    let (z, _) = flow.forward(x).expect("latents");
    let (fine, coarse) = flow.levels(&z).expect("levels");
    // Pixel (dy, dx) of each square is channel 2 dy + dx: the lower ones leave, the upper ones go on.
    assert_eq!(fine.array(), [[[[4.0, 6.0], [12.0, 14.0]], [[5.0, 7.0], [13.0, 15.0]]]]);
    let coarse = coarse.as_vec();
    assert_eq!(coarse, [0.0, 2.0, 8.0, 10.0, 1.0, 3.0, 9.0, 11.0]);
}

#[test]
fn a_level_can_be_drawn_anew() {
    let cpu = crate::cpu();
    let mut flow = Thirds::<f64>::build(&cpu, 1).expect("a flow");
    flow.set("levels.0.0.initialized", &[1.0]).expect("a flag");
    flow.set("levels.1.0.initialized", &[1.0]).expect("a flag");
    flow.set("levels.1.0.shift", &[3.0, -2.0]).expect("a shift");
    let mut noise = Noise::seed(4);
    let z = flow.latents(7, &mut noise).expect("latents");
    let (_, coarse) = flow.levels(&z).expect("levels");
    let (fine, _) = flow.levels(&flow.latents(7, &mut noise).expect("latents")).expect("levels");
    let mixed = flow.join_levels((fine.clone(), coarse.clone())).expect("latents");
    let (x, _) = flow.inverse(mixed).expect("data");
    let (back, _) = flow.forward(x).expect("latents");
    let (fine_again, coarse_again) = flow.levels(&back).expect("levels");
    for (a, b) in [(fine.as_vec(), fine_again.as_vec()), (coarse.as_vec(), coarse_again.as_vec())] {
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-12));
    }
}

#[test]
fn named_and_generic_sizes_have_levels() {
    let cpu = crate::cpu();
    let named = Named::<f64>::build(&cpu, 1).expect("a flow");
    let z = crate::normal::<30>(4);
    let (first, second) = named.levels(&z).expect("levels");
    let first: Tensor<(usize, Const<10>), f64, Cpu> = first;
    let joined = named.join_levels((first, second)).expect("latents");
    assert_eq!(joined.as_vec(), z.as_vec());

    let constant = Constant::<f64>::build(&cpu, 1).expect("a flow");
    let (first, second) = constant.levels(&crate::normal::<5>(4)).expect("levels");
    assert_eq!((first.as_vec().len(), second.as_vec().len()), (8, 12));

    let whole = Whole::<3, f64>::build(&cpu, 1).expect("a flow");
    let z = crate::normal::<3>(4);
    let (all,) = whole.levels(&z).expect("levels");
    assert_eq!(all.as_vec(), z.as_vec());
}

#[test]
fn levels_that_do_not_fit_are_refused() {
    let flow = Constant::<f64>::build(&crate::cpu(), 1).expect("a flow");
    let (first, _) = flow.levels(&crate::normal::<5>(4)).expect("levels");
    let (_, second) = flow.levels(&crate::normal::<5>(3)).expect("levels");
    let text = flow.join_levels((first.clone(), second)).expect_err("an error").to_string();
    assert_eq!(text, "the latent of level 1 has 9 numbers, expected 12");
    let (_, second) = flow.levels(&crate::normal::<5>(4)).expect("levels");
    let text = flow.join_levels((first * f64::NAN, second)).expect_err("an error").to_string();
    assert!(text.starts_with("row 0 of the latent of level 0 holds NaN"), "{text}");
}

#[test]
fn levels_have_shapes_of_their_own() {
    let data = crate::normal::<8>(16);
    let mut flow = Halves::<f64>::build(&crate::cpu(), 1).expect("a flow");
    flow.initialize(data.clone()).expect("a first batch");
    crate::round_trip(&flow, data, 1e-6);
    let sizes: Vec<usize> = flow
        .parameters()
        .filter(|parameter| parameter.name.ends_with(".0.log_scale"))
        .map(|parameter| parameter.values.len())
        .collect();
    assert_eq!(sizes, [8, 4, 2]);
    let images = Thirds::<f64>::build(&crate::cpu(), 1).expect("a flow");
    let names: Vec<&str> = images.parameters().map(|parameter| parameter.name).collect();
    assert_eq!(names[0], "levels.0.0.log_scale");
    assert_eq!(names[2], "levels.1.0.log_scale");
}
