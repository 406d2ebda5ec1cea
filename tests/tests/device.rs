//! Flows on a GPU, which is the emulated one unless the environment says otherwise: what a user calls, and training against the CPU's.

use dfdx::prelude::{AsArray, Cpu, HasShape, TensorFrom, TensorFromVec};
use flow_core::cuda::OnDevice;
use flow_core::prelude::*;
use flow_core::train::{AdamW, Clip};
use flow_core::{Architecture, Block, Builder, Component, Flow, Pass, Site};
use flow_tests::device::{chosen as gpu, Chosen};
use flow_tests::{numeric, Direction, Free, Subject};

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
    struct Plain: Vector<3> {
        affine_coupling(keep = first, scale = tanh(1.0), net = mlp([6], swish));
        affine_coupling(keep = second, scale = tanh(1.0), net = mlp([6], swish));
    }

    struct Linear: Vector<4> {
        actnorm;
        linear(lu);
        spline_coupling(keep = first, bins = 3, net = mlp([6], tanh));
        permute(shuffle(3));
        linear(diagonal);
        masked_autoregressive(affine, net = made([7, 5], tanh));
    }

    struct Images: Image<1, 4, 4> {
        multiscale 2 {
            squeeze(2);
            actnorm;
            conv1x1(lu);
            affine_coupling(scale = tanh(0.5), net = conv([3, 1], hidden = 4, relu));
        }
    }

    struct Rotations: Vector<4> given Vector<2> {
        linear(svd);
        affine_coupling(keep = even, scale = tanh(1.0), net = mlp([6], swish, weight_norm = true));
        linear(orthogonal);
    }

    struct Limited: Image<1, 2, 2> {
        conv1x1(dense);
        residual(lipschitz = 0.8, net = conv([3, 3], hidden = 3, swish));
    }

    struct Sequence: Vector<3> {
        masked_autoregressive(affine, net = made([7, 5], tanh, zero_init = false));
        inverse_autoregressive(spline, net = made([6], swish, zero_init = false));
    }

    struct Solved: Vector<2> {
        residual(lipschitz = 0.9, net = mlp([8], swish));
        residual(lipschitz = 0.7, net = mlp([8], tanh));
    }

    struct Estimated: Vector<3> given Vector<1> {
        residual(lipschitz = 0.6, net = mlp([7], swish), log_det = roulette(p = 0.4, exact_terms = 3));
        residual(lipschitz = 0.5, net = mlp([6], tanh), log_det = series(5));
    }

    struct Wide: Vector<12> {
        residual(lipschitz = 0.8, net = mlp([9], elu, zero_init = false));
    }

    struct Continuous: Vector<2> given Vector<1> {
        ode(net = mlp([6], tanh), solver = rk4(3));
        ode(net = mlp([5], swish), time = 0.5, solver = rk4(2), trace = hutchinson);
    }

    struct Adaptive: Vector<2> {
        ode(net = mlp([6], tanh), solver = dopri5(1e-5));
    }

    struct Steep: Vector<2> {
        ode(net = mlp([6], swish), solver = dopri5(1e-5));
    }

    struct Nested: Vector<3> {
        residual(lipschitz = 0.8, net = resnet(blocks = 2, hidden = 6, swish));
        ode(net = resnet(blocks = 1, hidden = 5, tanh), solver = rk4(2));
        residual(lipschitz = 0.5, net = resnet(blocks = 1, hidden = 5, gelu), log_det = series(4));
    }

    /// Far more steps than plans have room for at first.
    struct Winding: Vector<2> {
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

    #[base(uniform)]
    struct InCube: Vector<3> {
        affine_coupling(keep = first, net = mlp([4], tanh));
        affine_coupling(keep = second, net = mlp([4], tanh));
        sigmoid;
    }

    #[base(logistic)]
    struct Logistic: Image<1, 2, 2> {
        affine_coupling(keep = checker_even, net = conv([3, 1], hidden = 3, tanh));
        affine_coupling(keep = checker_odd, net = conv([3, 1], hidden = 3, tanh));
        actnorm;
    }

    #[base(mixture(3))]
    struct Mixed: Image<1, 2, 2> {
        squeeze(2);
        affine_coupling(net = conv([1, 1], hidden = 3, tanh));
        affine_coupling(net = conv([1, 1], hidden = 3, tanh));
    }
}

fn numbers(name: &str, len: usize) -> Vec<f32> {
    let mut numbers = vec![0.0; len];
    Noise::seed(5).named(name).fill_normal(0, &mut numbers);
    numbers
}

fn close(what: &str, found: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(found.len(), want.len(), "{what}");
    for (i, (&a, &b)) in found.iter().zip(want).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{what}[{i}] is {a}, not {b}");
    }
}

fn weights<A: Architecture<f32>>(flow: &Flow<A, f32>) -> Vec<f32> {
    flow.parameters().flat_map(|p| p.values.to_vec()).collect()
}

/// Trains a flow here and there on the same batches, and compares losses and weights. Gradients near
/// zero have any sign, which a large epsilon keeps from mattering.
fn check_training<A: Architecture<f32>>(flow: Flow<A, f32>, rows: &Rows<f32>) {
    check_training_in(Memory::Stored, flow, rows);
}

fn check_training_in<A: Architecture<f32>>(
    memory: Memory,
    mut flow: Flow<A, f32>,
    rows: &Rows<f32>,
) {
    let Some(gpu) = gpu() else { return };
    let (steps, batch) = (7, 10);
    let rule = AdamW { learning_rate: 0.02, epsilon: 1e-3, weight_decay: 0.1, ..AdamW::default() };
    let on_gpu = flow.on(gpu.clone()).expect("a flow that runs on a GPU");
    let mut on_gpu = on_gpu.memory(memory).expect("a memory of a GPU");
    let clip = Clip::Norm(0.8);
    let mut training = on_gpu.train(rule, Some(clip), rows, batch, 3).expect("a training");
    let mut losses = Vec::new();
    for _ in 0..steps {
        training.step().expect("a step");
        losses.push(training.loss().expect("a finite loss") as f32);
    }
    assert_eq!(training.steps(), steps);
    let graphs = on_gpu.graphs();
    // A card that waits for each kernel makes none.
    assert!(graphs.refused.is_empty(), "{graphs:?}");
    assert_eq!(graphs.captured > 0, std::env::var("FLOW_GPU").is_err(), "{graphs:?}");
    let start = weights(&flow);
    let trainer = Trainer::new(rule).clip(clip).steps(steps).batch_size(batch).seed(3).silent();
    let mut there = flow.clone();
    on_gpu.to_cpu(&mut there).expect("weights of this flow");
    let history = trainer.fit(&mut flow, rows).expect("a training on the CPU");
    let moved = weights(&flow).iter().zip(&start).filter(|(a, b)| a != b).count();
    assert!(3 * moved > start.len(), "{moved} of {} weights moved", start.len());
    close("weights", &weights(&there), &weights(&flow), 2e-4);
    let want: Vec<f32> = history.records.iter().map(|record| record.loss as f32).collect();
    close("losses", &losses, &want, 1e-4);
}

#[test]
fn training_is_that_of_the_cpu() {
    let cpu = Cpu::default();
    let plain = Plain::<f32>::build(&cpu, 1).unwrap();
    let rows = Rows::new(numbers("x", 3 * 24), 3).unwrap();
    check_training((*plain).clone(), &rows);
    let mut frozen = (*plain).clone();
    frozen.freeze("0.net.*").unwrap();
    let before = frozen.parameters().next().unwrap().values.to_vec();
    check_training(frozen.clone(), &rows);
    assert_eq!(frozen.parameters().next().unwrap().values, before);
}

#[test]
fn derived_weights_are_followed_on_the_device() {
    let cpu = Cpu::default();
    let mut linear = Linear::<f32>::build(&cpu, 1).unwrap();
    let rows = Rows::new(numbers("x", 4 * 25), 4).unwrap();
    linear
        .initialize(cpu.tensor_from_vec(rows.values().to_vec(), (25, dfdx::shapes::Const)))
        .unwrap();
    check_training((*linear).clone(), &rows);
}

#[test]
fn images_train_on_the_device() {
    let cpu = Cpu::default();
    let mut images = Images::<f32>::build(&cpu, 1).unwrap();
    let rows = Rows::new(numbers("x", 16 * 21), 16).unwrap();
    images.initialize(rows.x::<Image<1, 4, 4>>().unwrap()).unwrap();
    check_training((*images).clone(), &rows);
}

#[test]
fn derived_weights_are_trained_as_on_the_cpu() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let rotations = Rotations::<f32>::build(&cpu, 1).unwrap();
    let rows = Rows::new(numbers("x", 4 * 23), 4).unwrap();
    let rows = rows.given(numbers("context", 2 * 23), 2).unwrap();
    check_training((*rotations).clone(), &rows);
    let mut on_gpu = rotations.on(gpu.clone()).unwrap();
    let training = on_gpu.train(Adam::new(1e-3), None, &rows, 10, 0).unwrap();
    assert_eq!(training.derived_on_cpu().unwrap(), [""; 0]);

    let mut limited = Limited::<f32>::build(&cpu, 1).unwrap();
    moved(&mut limited, 0.5);
    let rows = Rows::new(numbers("x", 4 * 24), 4).unwrap();
    check_training((*limited).clone(), &rows);
    let mut on_gpu = limited.on(gpu).unwrap();
    let training = on_gpu.train(Adam::new(1e-3), None, &rows, 10, 0).unwrap();
    assert_eq!(training.derived_on_cpu().unwrap(), [""; 0]);
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
    let rows = Rows::new(numbers("x", 3 * 24), 3).unwrap();
    check_training((*flow).clone(), &rows);
}

/// Weights away from their start, where nothing is random about a last layer of zeros.
fn moved<A: Architecture<f32>>(flow: &mut Flow<A, f32>, by: f32) {
    let all: Vec<_> = flow.parameters().map(|p| (p.name.to_owned(), p.values.to_vec())).collect();
    for (name, mut values) in all {
        let shifts = numbers(&name, values.len());
        values.iter_mut().zip(shifts).for_each(|(v, shift)| *v += by * shift);
        flow.set(&name, &values).unwrap();
    }
}

#[test]
fn residual_blocks_are_those_of_the_cpu() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let mut solved = Solved::<f32>::build(&cpu, 1).unwrap();
    moved(&mut solved, 0.5);
    let rows = Rows::new(numbers("x", 2 * 24), 2).unwrap();
    check_training((*solved).clone(), &rows);
    let on_gpu = solved.on(gpu.clone()).unwrap();
    let found = on_gpu.sample(9, &mut Noise::seed(3)).unwrap();
    let want = solved.sample(9, &mut Noise::seed(3)).unwrap();
    close("samples", &found.as_vec(), &want.as_vec(), 1e-5);

    // Plain steps instead of Broyden's.
    let mut wide = Wide::<f32>::build(&cpu, 1).unwrap();
    moved(&mut wide, 0.5);
    let found = wide.on(gpu.clone()).unwrap().sample(9, &mut Noise::seed(3)).unwrap();
    let want = wide.sample(9, &mut Noise::seed(3)).unwrap();
    close("samples of 12 numbers", &found.as_vec(), &want.as_vec(), 1e-5);
}

#[test]
fn estimators_draw_what_they_draw_on_the_cpu() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let mut flow = Estimated::<f32>::build(&cpu, 1).unwrap();
    moved(&mut flow, 0.5);
    let (x, context) = (numbers("x", 3 * 40), numbers("context", 40));
    let rows = Rows::new(x.clone(), 3).unwrap().given(context.clone(), 1).unwrap();
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
    check_training((*flow).clone(), &rows);
}

#[test]
fn blocks_that_run_again_give_the_same_gradients() {
    fn check<A: Architecture<f32>>(flow: &Flow<A, f32>, gpu: Chosen, width: usize, context: usize) {
        let rows = 11;
        let (x, context) = (numbers("x", rows * width), numbers("context", rows * context));
        let (cotangent, by_log_det) = (numbers("cotangent", x.len()), numbers("by", rows));
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
    moved(&mut solved, 0.5);
    check(&solved, gpu.clone(), 2, 0);
    let rows = Rows::new(numbers("x", 2 * 24), 2).unwrap();
    check_training_in(Memory::Recomputed, (*solved).clone(), &rows);
    let mut images = Images::<f32>::build(&cpu, 1).unwrap();
    let rows = Rows::new(numbers("x", 16 * 21), 16).unwrap();
    images.initialize(rows.x::<Image<1, 4, 4>>().unwrap()).unwrap();
    check(&images, gpu, 16, 0);
    check_training_in(Memory::Recomputed, (*images).clone(), &rows);
}

#[test]
fn a_row_without_an_answer_stops_the_pass() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let solved = Solved::<f32>::build(&cpu, 1).unwrap();
    let on_gpu = solved.on(gpu.clone()).unwrap();
    let mut z = numbers("z", 2 * 9);
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
fn every_base_trains_on_the_device() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let mut cube = InCube::<f32>::build(&cpu, 1).unwrap();
    moved(&mut cube, 0.1);
    check_training((*cube).clone(), &Rows::new(numbers("x", 3 * 24), 3).unwrap());
    let rows = Rows::new(numbers("x", 4 * 24), 4).unwrap();
    let mut logistic = Logistic::<f32>::build(&cpu, 1).unwrap();
    logistic.initialize(rows.x::<Image<1, 2, 2>>().unwrap()).unwrap();
    check_training((*logistic).clone(), &rows);
    let mixed = Mixed::<f32>::build(&cpu, 1).unwrap();
    check_training((*mixed).clone(), &rows);

    let found = cube.on(gpu.clone()).unwrap().sample_with_log_prob(5, &mut Noise::seed(3)).unwrap();
    let want = cube.sample_with_log_prob(5, &mut Noise::seed(3)).unwrap();
    close("samples in a cube", &found.0.as_vec(), &want.0.as_vec(), 1e-4);
    close("their log-probabilities", &found.1.as_vec(), &want.1.as_vec(), 1e-4);
    let found =
        logistic.on(gpu.clone()).unwrap().sample_with_log_prob(5, &mut Noise::seed(3)).unwrap();
    let want = logistic.sample_with_log_prob(5, &mut Noise::seed(3)).unwrap();
    close("logistic samples", &found.0.as_vec(), &want.0.as_vec(), 1e-4);
    close("their log-probabilities", &found.1.as_vec(), &want.1.as_vec(), 1e-4);
    let found = mixed.on(gpu).unwrap().sample_with_log_prob(5, &mut Noise::seed(3)).unwrap();
    let want = mixed.sample_with_log_prob(5, &mut Noise::seed(3)).unwrap();
    close("mixed samples", &found.0.as_vec(), &want.0.as_vec(), 1e-4);
    close("their log-probabilities", &found.1.as_vec(), &want.1.as_vec(), 1e-4);
}

#[test]
fn continuous_blocks_are_those_of_the_cpu() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let mut equal = Continuous::<f32>::build(&cpu, 1).unwrap();
    moved(&mut equal, 0.3);
    let rows = Rows::new(numbers("x", 2 * 24), 2).unwrap();
    let rows = rows.given(numbers("context", 24), 1).unwrap();
    check_training((*equal).clone(), &rows);
    check_training_in(Memory::Recomputed, (*equal).clone(), &rows);

    let mut adaptive = Adaptive::<f32>::build(&cpu, 1).unwrap();
    moved(&mut adaptive, 0.3);
    let rows = Rows::new(numbers("x", 2 * 24), 2).unwrap();
    check_training((*adaptive).clone(), &rows);
    let found = adaptive.on(gpu).unwrap().sample(9, &mut Noise::seed(3)).unwrap();
    let want = adaptive.sample(9, &mut Noise::seed(3)).unwrap();
    close("samples", &found.as_vec(), &want.as_vec(), 1e-4);
}

#[test]
fn residual_nets_have_their_jacobians_on_the_device() {
    let cpu = Cpu::default();
    let mut nested = Nested::<f32>::build(&cpu, 1).unwrap();
    moved(&mut nested, 0.3);
    check_training((*nested).clone(), &Rows::new(numbers("x", 3 * 24), 3).unwrap());
}

#[test]
fn plans_make_room_for_as_many_steps_as_rows_take() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let mut winding = Winding::<f32>::build(&cpu, 1).unwrap();
    moved(&mut winding, 0.01);
    // Ten turns around a center.
    let mut first = vec![0.0; 6 * 3];
    (first[0], first[4]) = (1.0, 1.0);
    let mut second = vec![0.0; 2 * 6];
    (second[1], second[6]) = (3.0, -3.0);
    winding.set("0.net.0.weight", &first).unwrap();
    winding.set("0.net.1.weight", &second).unwrap();
    let (x, cotangent, by_log_det) = (numbers("x", 18), numbers("by", 18), numbers("log_det", 9));
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
    moved(&mut flow, 3.0);
    let mut x: Vec<f32> = numbers("x", 2 * 9).into_iter().map(|v| 1e-3 * v).collect();
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
    let sgd = flow_core::train::Sgd::new(1e-3);
    let error = on_gpu.train(sgd, None, &rows, 2, 0).err().map(|e| e.to_string());
    assert!(error.is_some_and(|e| e.contains("Sgd, expected Adam or AdamW on a GPU")));
    let diverging = Rows::new(vec![1e20; 6], 3).unwrap();
    let mut training = on_gpu.train(Adam::new(1.0), None, &diverging, 2, 0).unwrap();
    training.step().unwrap();
    let error = training.loss().unwrap_err().to_string();
    assert!(error.contains("at step 1"), "{error}");
    assert!(AsArray::array(&cpu.tensor(1.0f32)) == 1.0);
}
