//! What a user calls, beside the same on the CPU: passes, samples, gradients and errors.

use dfdx::prelude::{Cpu, HasShape, TensorFrom, TensorFromVec};
use flow_core::cuda::OnDevice;
use flow_core::prelude::*;
use flow_core::train::Sgd;
use flow_core::{
    Architecture, Block, Builder, Component, Flow, Invertible, Pass, Site, Unconditional,
};
use flow_tests::device::{chosen as gpu, Chosen};
use flow_tests::weights::{normal, shift};
use flow_tests::{numeric, Direction, Free, Subject};

use super::{
    close, Adaptive, Estimated, Images, InCube, Logistic, Mixed, Plain, Rotations, Sequence, Solved,
};

type Module = (dfdx::prelude::Linear<1, 4>, dfdx::prelude::Tanh, dfdx::prelude::Linear<4, 2>);

/// A block of a user's own.
struct Negate;

impl<E: Scalar> Block<E> for Negate {
    fn forward(&self, _: &mut Pass<'_, E>, x: &mut [E], _: &mut [E]) -> Result<(), FlowError> {
        x.iter_mut().for_each(|v| *v = -*v);
        Ok(())
    }
    fn inverse(
        &self,
        pass: &mut Pass<'_, E>,
        z: &mut [E],
        log_det: &mut [E],
    ) -> Result<(), FlowError> {
        self.forward(pass, z, log_det)
    }
    fn forward_vjp(
        &self,
        pass: &mut Pass<'_, E>,
        gradient: &mut [E],
        _: &[E],
    ) -> Result<(), FlowError> {
        self.forward(pass, gradient, &mut [])
    }
    fn inverse_vjp(
        &self,
        pass: &mut Pass<'_, E>,
        gradient: &mut [E],
        _: &[E],
    ) -> Result<(), FlowError> {
        self.forward(pass, gradient, &mut [])
    }
}

impl<E: Scalar> Component<E> for Negate {
    type Block = Self;
    type Arguments = ();
    fn component(_: &mut Builder<E>, _: Site, _: ()) -> Result<Self, FlowError> {
        Ok(Self)
    }
}

flow! {
    struct Wide: Vector<12> {
        residual(lipschitz = 0.8, net = mlp([9], elu, zero_init = false));
    }

    struct Steep: Vector<2> {
        ode(net = mlp([6], swish), solver = dopri5(1e-5));
    }

    /// Far more steps than plans have room for at first.
    pub(super) struct Winding: Vector<2> {
        ode(net = mlp([6], tanh), time = 20.0, solver = dopri5(1e-5));
    }

    struct OwnBlock: Vector<2> {
        leaky_relu;
        use Negate;
    }

    struct OwnNet: Vector<2> {
        affine_coupling(keep = first, net = use Module);
        affine_coupling(keep = second, net = mlp([4], tanh));
    }

    struct Curved: Vector<2> {
        affine_coupling(net = mlp([4], tanh));
        tanh;
    }
}

#[test]
fn passes_and_samples_are_those_of_the_cpu() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let flow = Plain::<f32>::build(&cpu, 1).unwrap();
    let on_gpu = flow.on(gpu.clone()).unwrap();
    let x = cpu.tensor([[0.5, -1.0, 2.0], [0.0, 0.25, -0.5]]);
    let (z, log_det) = on_gpu.forward(x.clone()).unwrap();
    let (want, want_log_det) = flow.forward(x.clone()).unwrap();
    close("latents", &z.as_vec(), &want.as_vec(), 1e-5);
    close("log-determinants", &log_det.as_vec(), &want_log_det.as_vec(), 1e-5);
    let (back, _) = on_gpu.inverse(z).unwrap();
    close("data", &back.as_vec(), &x.as_vec(), 1e-5);
    let found = on_gpu.log_prob(x.clone()).unwrap();
    assert_eq!(found.shape(), &(dfdx::shapes::Const::<2>,));
    close("log-probabilities", &found.as_vec(), &flow.log_prob(x).unwrap().as_vec(), 1e-5);
    let found = on_gpu.sample(5, &mut Noise::seed(3)).unwrap();
    let want = flow.sample(5, &mut Noise::seed(3)).unwrap();
    close("samples", &found.as_vec(), &want.as_vec(), 1e-5);
    let found = on_gpu.sample_with_log_prob(5, &mut Noise::seed(3)).unwrap();
    let want = flow.sample_with_log_prob(5, &mut Noise::seed(3)).unwrap();
    close("their log-probabilities", &found.1.as_vec(), &want.1.as_vec(), 1e-5);
}

#[test]
fn sequential_directions_are_those_of_the_cpu() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let flow = Sequence::<f32>::build(&cpu, 1).unwrap();
    let on_gpu = flow.on(gpu).unwrap();
    let x = cpu.tensor([[0.5, -1.0, 2.0], [0.0, 0.25, -0.5]]);
    let (z, log_det) = on_gpu.forward(x.clone()).unwrap();
    let (want, want_log_det) = flow.forward(x.clone()).unwrap();
    close("latents", &z.as_vec(), &want.as_vec(), 1e-5);
    close("log-determinants", &log_det.as_vec(), &want_log_det.as_vec(), 1e-5);
    let found = on_gpu.sample(5, &mut Noise::seed(3)).unwrap();
    let want = flow.sample(5, &mut Noise::seed(3)).unwrap();
    close("samples", &found.as_vec(), &want.as_vec(), 1e-4);
}

#[test]
fn residual_blocks_are_those_of_the_cpu() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let mut solved = Solved::<f32>::build(&cpu, 1).unwrap();
    shift(&mut solved, 0.5);
    let on_gpu = solved.on(gpu.clone()).unwrap();
    let found = on_gpu.sample(9, &mut Noise::seed(3)).unwrap();
    let want = solved.sample(9, &mut Noise::seed(3)).unwrap();
    close("samples", &found.as_vec(), &want.as_vec(), 1e-5);

    // Plain steps instead of Broyden's.
    let mut wide = Wide::<f32>::build(&cpu, 1).unwrap();
    shift(&mut wide, 0.5);
    let found = wide.on(gpu.clone()).unwrap().sample(9, &mut Noise::seed(3)).unwrap();
    let want = wide.sample(9, &mut Noise::seed(3)).unwrap();
    close("samples of 12 numbers", &found.as_vec(), &want.as_vec(), 1e-5);
}

#[test]
fn estimators_draw_what_they_draw_on_the_cpu() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let mut flow = Estimated::<f32>::build(&cpu, 1).unwrap();
    shift(&mut flow, 0.5);
    let (x, context) = (normal("x", 3 * 40), normal("context", 40));
    let on_gpu = flow.on(gpu.clone()).unwrap();
    let tensors =
        |numbers: &[f32]| cpu.tensor_from_vec(numbers.to_vec(), (40, dfdx::shapes::Const));
    let conditions = cpu.tensor_from_vec(context.clone(), (40, dfdx::shapes::Const::<1>));
    let (_, found) = on_gpu.map_rows(false, &x, &context).unwrap();
    let (_, want) = flow.given(conditions.clone()).forward(tensors(&x)).unwrap();
    close("log-determinants", &found, &want.as_vec(), 1e-5);
    let (found, found_log) = on_gpu.map_rows(true, &x, &context).unwrap();
    let (want, want_log) = flow.given(conditions).inverse(tensors(&x)).unwrap();
    close("inverses", &found, &want.as_vec(), 1e-5);
    close("their log-determinants", &found_log, &want_log.as_vec(), 1e-5);
    let found = on_gpu.gradients(true, &x, &context, &x, &context).unwrap();
    let other = Estimated::<f32>::build(&cpu, 2).unwrap().on(gpu).unwrap();
    let elsewhere = other.gradients(true, &x, &context, &x, &context).unwrap();
    assert!(found.input.iter().all(|v| v.is_finite()) && found != elsewhere);
}

#[test]
fn blocks_that_run_again_give_the_same_gradients() {
    fn check<A: Architecture<f32>>(flow: &Flow<A, f32>, gpu: Chosen, width: usize, context: usize) {
        let rows = 11;
        let (x, context) = (normal("x", rows * width), normal("context", rows * context));
        let (cotangent, by_log_det) = (normal("cotangent", x.len()), normal("by", rows));
        let stored = flow.on(gpu.clone()).unwrap();
        let again = flow.on(gpu).unwrap().memory(Memory::Recomputed).unwrap();
        for backwards in [false, true] {
            let of = |on: &OnDevice<A, Chosen>| {
                let passed = on.map_rows(backwards, &x, &context).unwrap();
                (passed, on.gradients(backwards, &x, &context, &cotangent, &by_log_det).unwrap())
            };
            assert_eq!(of(&again), of(&stored));
        }
    }
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    check(&Plain::<f32>::build(&cpu, 1).unwrap(), gpu.clone(), 3, 0);
    check(&Sequence::<f32>::build(&cpu, 1).unwrap(), gpu.clone(), 3, 0);
    check(&Rotations::<f32>::build(&cpu, 1).unwrap(), gpu.clone(), 4, 2);
    check(&Estimated::<f32>::build(&cpu, 1).unwrap(), gpu.clone(), 3, 1);
    let mut solved = Solved::<f32>::build(&cpu, 1).unwrap();
    shift(&mut solved, 0.5);
    check(&solved, gpu.clone(), 2, 0);
    let mut images = Images::<f32>::build(&cpu, 1).unwrap();
    let rows = Rows::new(normal("x", 16 * 21), 16).unwrap();
    images.initialize(rows.x::<Image<1, 4, 4>>().unwrap()).unwrap();
    check(&images, gpu, 16, 0);
}

#[test]
fn a_row_without_an_answer_stops_the_pass() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let solved = Solved::<f32>::build(&cpu, 1).unwrap();
    let on_gpu = solved.on(gpu.clone()).unwrap();
    let mut z = normal("z", 2 * 9);
    z[2 * 4] = 3e38;
    z[2 * 4 + 1] = -3e38;
    let found = on_gpu.map_rows(true, &z, &[]).map(drop);
    let z = cpu.tensor_from_vec(z, (9, dfdx::shapes::Const::<2>));
    let want = solved.inverse(z).map(drop);
    match (found, want) {
        (Err(found), Err(want)) => {
            let (found, want) = (found.to_string(), want.to_string());
            assert!(found.contains("of row 4 ") && want.contains("of row 4 "), "{found}\n{want}");
        }
        (found, want) => panic!("{found:?} and {want:?}"),
    }

    let curved = Curved::<f32>::build(&cpu, 1).unwrap();
    let on_gpu = curved.on(gpu).unwrap();
    let rows = [[0.5, -0.5], [0.9, 1.5], [2.0, 0.0]];
    let found = on_gpu.map_rows(true, &rows.concat(), &[]).map(drop);
    let want = curved.inverse(cpu.tensor(rows)).map(drop);
    assert!(want.is_err());
    assert_eq!(found, want);
}

#[test]
fn samples_of_every_base_are_those_of_the_cpu() {
    fn check<A: Architecture<f32, Context = Unconditional> + Invertible>(
        what: &str,
        flow: &Flow<A, f32>,
        gpu: Chosen,
    ) {
        let found = flow.on(gpu).unwrap().sample_with_log_prob(5, &mut Noise::seed(3)).unwrap();
        let want = flow.sample_with_log_prob(5, &mut Noise::seed(3)).unwrap();
        close(what, &found.0.as_vec(), &want.0.as_vec(), 1e-4);
        close("their log-probabilities", &found.1.as_vec(), &want.1.as_vec(), 1e-4);
    }
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let mut cube = InCube::<f32>::build(&cpu, 1).unwrap();
    shift(&mut cube, 0.1);
    check("samples in a cube", &cube, gpu.clone());
    let rows = Rows::new(normal("x", 4 * 24), 4).unwrap();
    let mut logistic = Logistic::<f32>::build(&cpu, 1).unwrap();
    logistic.initialize(rows.x::<Image<1, 2, 2>>().unwrap()).unwrap();
    check("logistic samples", &logistic, gpu.clone());
    check("mixed samples", &Mixed::<f32>::build(&cpu, 1).unwrap(), gpu);
}

#[test]
fn samples_through_chosen_steps_are_those_of_the_cpu() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let mut adaptive = Adaptive::<f32>::build(&cpu, 1).unwrap();
    shift(&mut adaptive, 0.3);
    let found = adaptive.on(gpu).unwrap().sample(9, &mut Noise::seed(3)).unwrap();
    let want = adaptive.sample(9, &mut Noise::seed(3)).unwrap();
    close("samples", &found.as_vec(), &want.as_vec(), 1e-4);
}

/// Turns around a center, ten of them near it and fewer far out.
pub(super) fn winding(cpu: &Cpu) -> Winding<f32> {
    let mut winding = Winding::<f32>::build(cpu, 1).unwrap();
    shift(&mut winding, 0.01);
    let mut first = vec![0.0; 6 * 3];
    (first[0], first[4]) = (1.0, 1.0);
    let mut second = vec![0.0; 2 * 6];
    (second[1], second[6]) = (3.0, -3.0);
    winding.set("0.net.0.weight", &first).unwrap();
    winding.set("0.net.1.weight", &second).unwrap();
    winding
}

#[test]
fn plans_make_room_for_as_many_steps_as_rows_take() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let winding = winding(&cpu);
    let (x, cotangent, by_log_det) = (normal("x", 18), normal("by", 18), normal("log_det", 9));
    let subject = Free((*winding).clone());
    for memory in [Memory::Stored, Memory::Recomputed] {
        let on_gpu = winding.on(gpu.clone()).unwrap().memory(memory).unwrap();
        for (backwards, direction) in [(false, Direction::Forward), (true, Direction::Inverse)] {
            let found = on_gpu.gradients(backwards, &x, &[], &cotangent, &by_log_det).unwrap();
            let want = subject.slopes(direction, &x, &[], &cotangent, &by_log_det);
            let names = winding.parameters().map(|p| p.name.to_owned());
            let parameters: Vec<f32> =
                names.flat_map(|name| want.parameters[&name].clone()).collect();
            for (found, want) in [(found.input, want.input), (found.parameters, parameters)] {
                let [found, want] = [found, want].map(|v| v.into_iter().map(f64::from).collect());
                let [found, want]: [Vec<f64>; 2] = [found, want];
                let off = numeric::distance(&found, &want) / numeric::norm(&want);
                // Rounding chooses other steps, each of which may be off by 8e-6; there are a hundred.
                assert!(off < 1e-3, "{memory:?}, {direction:?}: off by {off:e}");
            }
        }
    }
}

#[test]
fn a_row_that_does_not_come_through_stops_the_pass() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let mut flow = Steep::<f32>::build(&cpu, 1).unwrap();
    shift(&mut flow, 3.0);
    let mut x: Vec<f32> = normal("x", 2 * 9);
    x.iter_mut().for_each(|v| *v *= 1e-3);
    x[2 * 4] = 3e38;
    let found = flow.on(gpu).unwrap().map_rows(false, &x, &[]).map(drop);
    let want = flow.forward(cpu.tensor_from_vec(x, (9, dfdx::shapes::Const::<2>))).map(drop);
    assert!(want.is_err());
    assert_eq!(found, want);
}

/// The error of a flow that has no kernels.
fn refused<A: Architecture<f32>>(flow: &Flow<A, f32>, gpu: Chosen) -> String {
    match flow.on(gpu) {
        Err(error @ FlowError::NotOnGpu { .. }) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("there are no kernels for that"),
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let message = refused(&OwnBlock::<f32>::build(&cpu, 1).unwrap(), gpu.clone());
    assert!(message.starts_with("`use Negate` at 1 does not run on a GPU"), "{message}");
    assert!(message.contains("help: run this flow on the CPU"), "{message}");
    let message = refused(&OwnNet::<f32>::build(&cpu, 1).unwrap(), gpu.clone());
    assert!(message.contains(" at 0 does not run on a GPU yet: its net\n"), "{message}");

    let flow = Rotations::<f32>::build(&cpu, 1).unwrap();
    let on_gpu = flow.on(gpu.clone()).unwrap();
    let error = on_gpu.forward(cpu.tensor([[0.0; 4]])).unwrap_err();
    assert!(matches!(error, FlowError::MissingContext { .. }), "{error}");
    let context = cpu.tensor([[0.5, 1.0], [0.0, 2.0]]);
    let error = on_gpu.forward_given(cpu.tensor([[0.0; 4]]), context.clone()).unwrap_err();
    assert_eq!(error, FlowError::ContextRows { rows: 1, context_rows: 2 });
    let x = cpu.tensor([[0.0, 1.0, -1.0, 0.5], [2.0, 0.0, 0.0, -0.5]]);
    let (z, _) = on_gpu.forward_given(x.clone(), context.clone()).unwrap();
    let (want, _) = flow.given(context).forward(x).unwrap();
    close("conditional latents", &z.as_vec(), &want.as_vec(), 1e-5);

    let plain = Plain::<f32>::build(&cpu, 1).unwrap();
    let mut on_gpu = plain.on(gpu.clone()).unwrap();
    let error = on_gpu.map_rows(false, &[f32::NAN, 0.0, 0.0], &[]).unwrap_err();
    assert!(matches!(error, FlowError::NonFinite { row: 0, .. }), "{error}");
    let rows = Rows::new(vec![0.0; 4], 2).unwrap();
    let error = on_gpu.train(Adam::new(1e-3), None, &rows, 2, 0).err().map(|e| e.to_string());
    assert_eq!(error.as_deref(), Some("a row has 2 numbers, expected 3"));
    let rows = Rows::new(vec![0.0; 6], 3).unwrap();
    let sgd = Sgd::new(1e-3);
    let error = on_gpu.train(sgd, None, &rows, 2, 0).err().map(|e| e.to_string());
    assert!(error.is_some_and(|e| e.contains("Sgd, expected Adam or AdamW on a GPU")));
    let diverging = Rows::new(vec![1e20; 6], 3).unwrap();
    let mut training = on_gpu.train(Adam::new(1.0), None, &diverging, 2, 0).unwrap();
    training.step().unwrap();
    let error = training.loss().unwrap_err().to_string();
    assert!(error.contains("at step 1"), "{error}");
}

/// The weights on the device count, not those of the flow that was brought there.
#[test]
fn a_weight_that_became_singular_is_an_error_of_the_inverse() {
    flow! {
        struct Dense: Vector<2> { linear(dense); }
    }
    let Some(device) = gpu() else { return };
    let cpu = Cpu::default();
    let of = |weight: [f32; 4]| {
        let mut flow = Dense::<f32>::build(&cpu, 0).unwrap();
        flow.set("0.weight", &weight).unwrap();
        flow
    };
    let (whole, singular) = (of([2.0, 0.0, 0.0, 4.0]), of([1.0, 2.0, 2.0, 4.0]));
    let refused = |on_device: &OnDevice<_, _>| {
        let (x, _) = on_device.map_rows(false, &[1.0, 1.0], &[]).unwrap();
        assert!(x.iter().all(|v| v.is_finite()), "forward needs no inverse: {x:?}");
        let there = on_device.map_rows(true, &[1.0, 1.0], &[]).map(|(x, _)| x);
        there.map_err(|error| error.to_string())
    };
    let mut on_device = whole.on(device).unwrap();
    assert_eq!(refused(&on_device), Ok(vec![0.5, 0.25]));
    on_device.set_weights(&singular).unwrap();
    for _ in 0..2 {
        let error = refused(&on_device).unwrap_err();
        assert!(error.contains("singular to working precision"), "{error}");
        assert!(error.contains("`linear(lu)`"), "{error}");
        let error = on_device.sample(3, &mut Noise::seed(0)).map(drop).unwrap_err().to_string();
        assert!(error.contains("singular"), "{error}");
    }
    on_device.set_weights(&whole).unwrap();
    assert_eq!(refused(&on_device), Ok(vec![0.5, 0.25]));
}
