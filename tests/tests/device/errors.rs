//! Failures of a device, planted on the emulated one: each is an error that says what failed, and leaves
//! the flow on the CPU and the last checkpoint as they were.

use dfdx::prelude::Cpu;
use flow_core::cuda::Emulated;
use flow_core::prelude::*;
use flow_core::train::Adam;
use flow_core::{Architecture, Flow, Invertible, Unconditional};
use flow_tests::faulty::{Fault, Faulty};
use flow_tests::weights::{self, normal};

flow! {
    struct Plain: Vector<3> {
        actnorm;
        affine_coupling(keep = first, scale = tanh(1.0), net = mlp([6], swish, zero_init = false));
        linear(svd);
        affine_coupling(keep = second, scale = tanh(1.0), net = mlp([6], swish, zero_init = false));
    }

    struct Solved: Vector<2> {
        residual(lipschitz = 0.8, net = mlp([8], swish, zero_init = false));
    }
}

fn device() -> Option<Faulty<Emulated>> {
    let device = Emulated::new().inspect_err(|error| eprintln!("NOT TESTED: {error}"));
    device.ok().map(Faulty::new)
}

/// A flow that is ready, and rows to train it on.
fn start() -> (Plain<f32>, Rows<f32>) {
    let mut flow = Plain::<f32>::build(&Cpu::default(), 1).unwrap();
    let rows = Rows::new(normal("x", 3 * 24), 3).unwrap();
    flow.initialize(rows.x::<Vector<3>>().unwrap()).unwrap();
    (flow, rows)
}

/// All that a user does with a flow on a device.
fn everything<A: Architecture<f32, Context = Unconditional> + Invertible>(
    flow: &Flow<A, f32>,
    rows: &Rows<f32>,
    device: Faulty<Emulated>,
) -> Outcome {
    let mut flow = flow.clone();
    let mut on_gpu = match flow.on(device) {
        Ok(on_gpu) => on_gpu,
        Err(error) => return Outcome { errors: vec![error.to_string()], refused: 0 },
    };
    let x = &rows.values()[..9];
    let mut errors = Vec::new();
    let mut look = |result: Result<(), FlowError>| {
        errors.extend(result.err().map(|error| error.to_string()));
    };
    for _ in 0..3 {
        look(on_gpu.map_rows(false, x, &[]).map(drop));
        look(on_gpu.map_rows(true, x, &[]).map(drop));
        look(on_gpu.gradients(true, x, &[], x, &[1.0; 3]).map(drop));
        look(on_gpu.sample_with_log_prob(3, &mut Noise::seed(3)).map(drop));
    }
    match on_gpu.train(Adam::new(1e-2), None, rows, 8, 0) {
        Err(error) => look(Err(error)),
        Ok(mut training) => {
            for _ in 0..4 {
                look(training.step());
            }
            look(training.loss().map(drop));
        }
    }
    look(on_gpu.to_cpu(&mut flow));
    look(on_gpu.set_weights(&flow));
    Outcome { errors, refused: on_gpu.graphs().refused.len() }
}

struct Outcome {
    errors: Vec<String>,
    refused: usize,
}

#[test]
fn no_failure_of_any_call_is_swallowed() {
    let Some(device) = device() else { return };
    let (flow, rows) = start();
    device.plant(Fault::None);
    let found = everything(&flow, &rows, device.clone());
    assert!(found.errors.is_empty() && found.refused == 0, "{:?}", found.errors);
    let calls = device.calls();
    assert!(calls > 100, "{calls}");
    for call in 0..calls {
        device.plant(Fault::Call(call));
        let found = everything(&flow, &rows, device.clone());
        let said = found.errors.iter().any(|error| error.contains("planted at call"));
        assert!(said || found.refused == 1, "call {call} of {calls}: {:?}", found.errors);
    }
}

#[test]
fn a_kernel_that_fails_names_itself() {
    let Some(device) = device() else { return };
    let (flow, rows) = start();
    device.plant(Fault::None);
    everything(&flow, &rows, device.clone());
    let kernels = device.kernels();
    assert!(kernels.len() > 15, "{kernels:?}");
    for kernel in kernels {
        device.plant(Fault::Kernel(kernel));
        let found = everything(&flow, &rows, device.clone());
        let said = format!("kernel {kernel} failed: planted");
        assert!(found.errors.contains(&said), "{kernel}: {:?}", found.errors);
    }
}

#[test]
fn too_little_memory_says_how_much_was_asked_for_and_is_free() {
    let Some(device) = device() else { return };
    let (flow, rows) = start();
    let on_gpu = flow.on(device.clone()).unwrap();
    device.plant(Fault::Memory(1000));
    let error = on_gpu.map_rows(false, rows.values(), &[]).unwrap_err().to_string();
    let asked = error.split("asked for ").nth(1).and_then(|rest| rest.split(' ').next());
    let asked: usize = asked.and_then(|asked| asked.parse().ok()).expect("how much");
    assert!(asked > 1000 && error.contains("1000 of 1048576 are free"), "{error}");
    assert!(error.contains("help: take fewer rows"), "{error}");
    // A plan for which there was no room is not half there.
    device.plant(Fault::None);
    let (found, _) = on_gpu.map_rows(false, rows.values(), &[]).unwrap();
    let (again, _) = flow.on(device.clone()).unwrap().map_rows(false, rows.values(), &[]).unwrap();
    assert_eq!(found, again);
    // From none to enough, whatever does not fit is the same kind of error.
    let mut errors = 0;
    for free in (0..40_000).step_by(500) {
        device.plant(Fault::Memory(free));
        let passed = flow.on(device.clone()).and_then(|on| on.map_rows(false, rows.values(), &[]));
        match passed {
            Ok((passed, _)) => assert_eq!(passed, found),
            Err(error) => {
                errors += 1;
                assert!(error.to_string().contains("out of memory on the GPU: asked for"));
            }
        }
    }
    assert!(errors > 3 && errors < 80, "{errors}");
}

#[test]
fn a_lost_device_leaves_flow_and_checkpoint_as_they_were() {
    let Some(device) = device() else { return };
    let folder = std::env::temp_dir().join(format!("flow-lost-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("weights.safetensors");
    let (flow, rows) = start();
    // A training that writes its weights after two steps, and loses the device at each later call.
    let mut lost = 0;
    for at in 0.. {
        device.plant(Fault::None);
        let mut flow = flow.clone();
        let mut on_gpu = flow.on(device.clone()).unwrap();
        let mut training = on_gpu.train(Adam::new(1e-2), None, &rows, 8, 0).unwrap();
        training.step().unwrap();
        training.step().unwrap();
        on_gpu.to_cpu(&mut flow).unwrap();
        flow.save(&file).unwrap();
        let (saved, kept) = (std::fs::read(&file).unwrap(), weights::all(&flow));

        device.plant(Fault::LostAt(at));
        let mut go_on = || -> Result<(), FlowError> {
            let mut training = on_gpu.train(Adam::new(1e-2), None, &rows, 8, 0)?;
            training.step()?;
            training.step()?;
            training.loss()?;
            on_gpu.to_cpu(&mut flow)?;
            flow.save(&file)
        };
        let Err(error) = go_on() else {
            assert_ne!(std::fs::read(&file).unwrap(), saved, "it trained on");
            break;
        };
        assert!(error.to_string().contains("the device is lost"), "{error}");
        assert!(on_gpu.to_cpu(&mut flow).is_err());
        assert!(on_gpu.map_rows(false, rows.values(), &[]).is_err());
        assert_eq!(weights::all(&flow), kept);
        assert_eq!(std::fs::read(&file).unwrap(), saved);
        let mut again = Plain::<f32>::build(&Cpu::default(), 9).unwrap();
        again.load_weights(&file).unwrap();
        assert_eq!(weights::all(&again), kept);
        lost += 1;
    }
    assert!(lost > 20, "{lost}");
    std::fs::remove_dir_all(folder).unwrap();
}

/// A loop that the processor looks at every few turns ends where a look fails.
#[test]
fn a_fixed_point_on_a_lost_device_ends() {
    let Some(device) = device() else { return };
    let flow = Solved::<f32>::build(&Cpu::default(), 1).unwrap();
    let on_gpu = flow.on(device.clone()).unwrap();
    let z = normal("x", 2 * 5);
    // As graphs from the second time on.
    for _ in 0..3 {
        device.plant(Fault::None);
        on_gpu.map_rows(true, &z, &[]).unwrap();
    }
    let calls = device.calls();
    for call in 0..calls {
        device.plant(Fault::LostAt(call));
        let error = on_gpu.map_rows(true, &z, &[]).unwrap_err().to_string();
        assert!(error.contains("the device is lost"), "call {call}: {error}");
    }
}
