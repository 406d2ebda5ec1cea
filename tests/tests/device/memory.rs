//! What passes keep on a device: blocks that are inverted, and the guard that watches them.

use dfdx::prelude::{Cpu, TensorFromVec};
use flow_core::cuda::{DeviceGradients, OnDevice};
use flow_core::memory::{Guard, Policy};
use flow_core::prelude::*;
use flow_core::train::{AdamW, Clip};
use flow_core::{Architecture, Flow};
use flow_tests::device::{chosen as gpu, Chosen};
use flow_tests::exploding::{check_report, exploding, Curved};
use flow_tests::numeric;
use flow_tests::weights::{normal, shift};

flow! {
    struct Plane: Vector<2> {
        repeat 5 {
            actnorm;
            affine_coupling(keep = first, scale = tanh(1.0), net = mlp([8], tanh));
            affine_coupling(keep = second, scale = tanh(1.0), net = mlp([8], tanh));
        }
    }

    /// Long enough for projections and copies; the part that goes on is short enough for neither.
    struct Picture: Image<1, 4, 4> {
        squeeze(2);
        multiscale 2 {
            repeat 3 {
                actnorm;
                conv1x1(lu);
                permute(reverse);
                affine_coupling(scale = tanh(0.5), net = conv([3, 1], hidden = 6, tanh));
            }
        }
    }

    struct Posterior: Vector<11> given Vector<3> {
        repeat 2 {
            masked_autoregressive(affine, scale = tanh(0.5), net = made([16], tanh));
            permute(reverse);
            linear(lu);
        }
    }

    struct Residuals: Vector<12> {
        repeat 3 {
            residual(lipschitz = 0.6, log_det = series(3), tolerance = 1e-12, net = mlp([10], tanh));
            linear(lu);
        }
    }

    /// With a net whose gradients by its matrices are carried on to its weights after all products.
    #[base(mixture(2))]
    struct Saturated: Vector<10> {
        affine_coupling(keep = even, scale = tanh(0.5), net = mlp([6], tanh));
        affine_coupling(keep = odd, scale = tanh(0.5), net = mlp([6], tanh, weight_norm = true));
        'last: tanh;
        affine_coupling(keep = even, scale = tanh(0.5), net = mlp([6], tanh));
    }
}

fn flat(gradients: &DeviceGradients) -> Vec<f64> {
    let DeviceGradients { input, context, parameters } = gradients;
    input.iter().chain(context).chain(parameters).map(|&v| f64::from(v)).collect()
}

/// How far gradients are from others, relative to those.
fn error(found: &DeviceGradients, want: &DeviceGradients) -> f64 {
    numeric::distance(&flat(found), &flat(want)) / numeric::norm(&flat(want))
}

fn under(threshold: f64, policy: Policy) -> Memory {
    Memory::InvertedUnder(Guard { threshold, policy })
}

/// A batch with what its gradients are asked for.
struct Batch {
    x: Vec<f32>,
    context: Vec<f32>,
    cotangent: Vec<f32>,
    by_log_det: Vec<f32>,
}

impl Batch {
    fn new(rows: usize, width: usize, context: usize) -> Self {
        Self {
            x: normal("x", rows * width),
            context: normal("context", rows * context),
            cotangent: normal("cotangent", rows * width),
            by_log_det: normal("log_det", rows),
        }
    }

    fn gradients<A: Architecture<f32>>(
        &self,
        on: &OnDevice<A, Chosen>,
        backwards: bool,
    ) -> Result<DeviceGradients, FlowError> {
        on.gradients(backwards, &self.x, &self.context, &self.cotangent, &self.by_log_det)
    }
}

/// Blocks that are inverted against blocks that keep everything, also where the inverse is never
/// believed.
fn modes_agree<A: Architecture<f32>>(flow: &Flow<A, f32>, width: usize, context: usize) {
    let Some(gpu) = gpu() else { return };
    let on = |memory| flow.on(gpu.clone()).unwrap().memory(memory).unwrap();
    for (rows, backwards) in [(1, false), (37, false), (37, true)] {
        let batch = Batch::new(rows, width, context);
        let want = batch.gradients(&on(Memory::Stored), backwards).unwrap();
        let near = |memory, within: f64| {
            let on = on(memory);
            let found = batch.gradients(&on, backwards).unwrap();
            let off = error(&found, &want);
            assert!(off < within, "{rows} rows, backwards {backwards}, {memory:?}: {off:e}");
            on
        };
        let report = near(Memory::Inverted, 1e-4).guard_report().expect("a report");
        assert!(report.held() && report.bytes > 0, "{report}");
        let off = near(Memory::InvertedUnder(Guard::off_gradients_may_be_wrong()), 1e-4);
        assert_eq!(off.guard_report(), None);
        for policy in [Policy::Fallback, Policy::SwitchToRecomputing] {
            // No inverse is as exact as this.
            let on = near(under(1e-300, policy), 1e-5);
            let report = on.guard_report().expect("a report");
            assert!(!report.held(), "{report}");
            let switched = policy == Policy::SwitchToRecomputing;
            assert_eq!(
                (report.switched, switched && report.explosions.len() > 1),
                (switched, false)
            );
            let again = batch.gradients(&on, backwards).unwrap();
            assert!(error(&again, &want) < 1e-5);
            assert_eq!(on.guard_report().unwrap(), report);
            on.trust_inverse();
            batch.gradients(&on, backwards).unwrap();
            assert_eq!(on.guard_report().unwrap(), report);
        }
    }
}

#[test]
fn modes_agree_on_couplings() {
    let mut flow = Plane::<f32>::build(&Cpu::default(), 3).unwrap();
    let x = Cpu::default().tensor_from_vec(normal("first", 100), (50, dfdx::shapes::Const::<2>));
    flow.initialize(x).unwrap();
    shift(&mut flow, 0.15);
    modes_agree(&flow, 2, 0);
}

#[test]
fn modes_agree_on_levels() {
    let mut flow = Picture::<f32>::build(&Cpu::default(), 3).unwrap();
    let rows = Rows::new(normal("first", 16 * 50), 16).unwrap();
    flow.initialize(rows.x::<Image<1, 4, 4>>().unwrap()).unwrap();
    shift(&mut flow, 0.15);
    modes_agree(&flow, 16, 0);
}

#[test]
fn modes_agree_on_fixed_points_and_under_a_context() {
    let mut flow = Residuals::<f32>::build(&Cpu::default(), 3).unwrap();
    shift(&mut flow, 0.15);
    modes_agree(&flow, 12, 0);
    let mut flow = Posterior::<f32>::build(&Cpu::default(), 3).unwrap();
    shift(&mut flow, 0.15);
    modes_agree(&flow, 11, 3);
}

#[test]
fn a_guard_finds_what_the_inverse_has_lost() {
    let Some(gpu) = gpu() else { return };
    let flow = exploding::<f32>();
    let on = |memory| flow.on(gpu.clone()).unwrap().memory(memory).unwrap();
    let batch = Batch::new(40, 12, 0);
    let want = batch.gradients(&on(Memory::Stored), false).unwrap();
    let guarded = on(Memory::Inverted);
    let found = batch.gradients(&guarded, false).unwrap();
    assert!(error(&found, &want) < 1e-3, "{:e}", error(&found, &want));
    let unguarded = on(Memory::InvertedUnder(Guard::off_gradients_may_be_wrong()));
    let wrong = error(&batch.gradients(&unguarded, false).unwrap(), &want);
    assert!(wrong.is_nan() || wrong > 0.1, "{wrong:e}");

    let report = guarded.guard_report().unwrap();
    check_report(&report, 40);
    // The CPU sees the first explosion at the same block.
    let x = Cpu::default().tensor_from_vec(batch.x.clone(), (40, dfdx::shapes::Const::<12>));
    let rows = Rows::from_tensor(x).unwrap();
    let angles = flow_core::stability::gradient_angle(&flow, &rows).unwrap();
    assert_eq!(angles.report.explosions[0].block, report.explosions[0].block);

    match batch.gradients(&on(under(1e-5, Policy::Error)), false).unwrap_err() {
        FlowError::InverseExploded { path, row, error, threshold } => {
            assert_eq!(path, report.explosions[0].block);
            assert!(row < 40 && error > threshold && threshold == 1e-5);
        }
        other => panic!("{other}"),
    }
    let switching = on(under(1e-5, Policy::SwitchToRecomputing));
    let first = batch.gradients(&switching, false).unwrap();
    assert!(error(&first, &want) < 1e-3);
    let seen = switching.guard_report().unwrap();
    assert!(seen.switched && seen.explosions.len() == 1, "{seen}");
    assert_eq!(batch.gradients(&switching, false).unwrap(), want, "from now on all is recomputed");
}

/// Numbers that the inverse refuses: beyond 9 the hyperbolic tangent is 1, of which the large shift of the
/// block behind it makes more than 1 on the way back, now and then.
#[test]
fn what_the_inverse_refuses_is_computed_again() {
    let Some(gpu) = gpu() else { return };
    let mut flow = Saturated::<f32>::build(&Cpu::default(), 1).unwrap();
    shift(&mut flow, 0.15);
    let on = |memory| flow.on(gpu.clone()).unwrap().memory(memory).unwrap();
    let mut batch = Batch::new(9, 10, 0);
    let calm = batch.gradients(&on(Memory::Stored), false).unwrap();
    assert!(error(&batch.gradients(&on(Memory::Inverted), false).unwrap(), &calm) < 1e-4);
    let bias: Vec<f32> = (0..10).map(|i| [0.0, 8.0][i % 2]).collect();
    flow.set("3.net.1.bias", &bias).unwrap();
    let on = |memory| flow.on(gpu.clone()).unwrap().memory(memory).unwrap();
    batch.x.iter_mut().skip(1).step_by(2).take(25).for_each(|v| *v = 30.0);
    let want = batch.gradients(&on(Memory::Stored), false).unwrap();
    let inverted = on(Memory::Inverted);
    assert!(error(&batch.gradients(&inverted, false).unwrap(), &want) < 1e-4);
    let report = inverted.guard_report().unwrap();
    let refused = report.explosions.iter().find(|explosion| explosion.block == "last");
    assert_eq!(refused.expect("an explosion").error, f64::INFINITY, "{report}");
}

#[test]
fn trainings_that_invert_are_those_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let rule = AdamW { learning_rate: 0.02, epsilon: 1e-3, weight_decay: 0.1, ..AdamW::default() };
    fn check<A: Architecture<f32>>(
        mut flow: Flow<A, f32>,
        gpu: Chosen,
        rule: AdamW,
        rows: &Rows<f32>,
    ) {
        let mut on = flow.on(gpu).unwrap().memory(Memory::Inverted).unwrap();
        let mut there = flow.clone();
        let mut training = on.train(rule, Some(Clip::Norm(0.8)), rows, 10, 3).unwrap();
        (0..7).for_each(|_| training.step().unwrap());
        assert!(training.loss().unwrap().is_finite());
        on.to_cpu(&mut there).unwrap();
        assert!(on.guard_report().unwrap().held());
        let trainer = Trainer::new(rule).clip(Clip::Norm(0.8)).steps(7).batch_size(10).seed(3);
        trainer.silent().fit(&mut flow, rows).unwrap();
        let wide = |flow: &Flow<A, f32>| -> Vec<f64> {
            flow.parameters().flat_map(|p| p.values.to_vec()).map(f64::from).collect()
        };
        for (a, b) in wide(&there).into_iter().zip(wide(&flow)) {
            assert!((a - b).abs() < 2e-4 * (1.0 + b.abs()), "{a}, not {b}");
        }
    }
    let mut flow = Picture::<f32>::build(&Cpu::default(), 1).unwrap();
    let rows = Rows::new(normal("x", 16 * 24), 16).unwrap();
    flow.initialize(rows.x::<Image<1, 4, 4>>().unwrap()).unwrap();
    check((*flow).clone(), gpu.clone(), rule, &rows);
    let mut flow = Residuals::<f32>::build(&Cpu::default(), 1).unwrap();
    shift(&mut flow, 0.15);
    check((*flow).clone(), gpu.clone(), rule, &Rows::new(normal("x", 12 * 24), 12).unwrap());
    // A base that keeps something for its product.
    let flow = Saturated::<f32>::build(&Cpu::default(), 1).unwrap();
    check((*flow).clone(), gpu, rule, &Rows::new(normal("x", 10 * 24), 10).unwrap());
}

#[test]
fn blocks_that_cannot_be_inverted_are_named() {
    let Some(gpu) = gpu() else { return };
    let flow = Curved::<f32>::build(&Cpu::default(), 0).unwrap();
    let on = flow.on(gpu.clone()).unwrap().memory(Memory::Inverted).unwrap();
    let batch = Batch::new(4, 2, 0);
    let text = batch.gradients(&on, false).unwrap_err().to_string();
    assert!(text.starts_with("`ode(net = mlp([8], tanh), solver = rk4(4))` at curve"), "{text}");
    assert!(text.contains("help: choose Memory::Recomputed"), "{text}");
    // Without gradients nothing is kept, so nothing is asked.
    on.map_rows(false, &batch.x, &[]).unwrap();
    let bad = flow.on(gpu).unwrap().memory(under(0.0, Policy::Fallback)).err();
    assert!(matches!(bad, Some(FlowError::Option { .. })), "{bad:?}");
}
