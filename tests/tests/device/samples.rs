//! Samples, beside those of the CPU.

use dfdx::prelude::{Cpu, TensorFromVec};
use flow_core::prelude::*;
use flow_tests::device::chosen as gpu;
use flow_tests::weights::{normal, shift};

use super::{close, Plain, Rotations};

flow! {
    /// With many hidden numbers for each sample.
    struct Broad: Vector<2> {
        affine_coupling(keep = first, net = mlp([4096], relu));
        affine_coupling(keep = second, net = mlp([4096], relu));
    }
}

#[test]
fn samples_under_a_context_are_those_of_the_cpu() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let mut flow = Rotations::<f32>::build(&cpu, 1).unwrap();
    shift(&mut flow, 0.3);
    let on_gpu = flow.on(gpu).unwrap();
    let context = cpu.tensor_from_vec(normal("context", 2 * 7), (7, dfdx::shapes::Const::<2>));
    // Once after other numbers stood where the context goes.
    for context in [context.clone(), context.clone().negate(), context] {
        let found = on_gpu.sample_given(context.clone(), &mut Noise::seed(3)).unwrap();
        let want = flow.given(context).sample_with_log_prob(7, &mut Noise::seed(3)).unwrap();
        close("samples", &found.0.as_vec(), &want.0.as_vec(), 1e-5);
        close("their log-probabilities", &found.1.as_vec(), &want.1.as_vec(), 1e-5);
    }
    let empty = cpu.tensor_from_vec(vec![], (0, dfdx::shapes::Const::<2>));
    let error = on_gpu.sample_given(empty, &mut Noise::seed(3)).unwrap_err().to_string();
    assert!(error.starts_with("the context has no rows"), "{error}");
    let error = on_gpu.map_rows(false, &[0.5; 4], &[1.0, f32::NAN]).unwrap_err().to_string();
    assert!(error.contains("context") && error.contains("NaN"), "{error}");
}

#[test]
fn more_samples_than_can_be_are_an_error() {
    let (cpu, Some(gpu)) = (Cpu::default(), gpu()) else { return };
    let noise = &mut Noise::seed(3);
    let on_gpu = Plain::<f32>::build(&cpu, 1).unwrap().on(gpu.clone()).unwrap();
    for rows in [usize::MAX, usize::MAX / 3 + 2, 1 << 60] {
        let error = on_gpu.sample(rows, noise).unwrap_err().to_string();
        let start = format!("the number of samples is {rows}, expected so few");
        assert!(error.starts_with(&start), "{error}");
        assert_eq!(on_gpu.sample_with_log_prob(rows, noise).unwrap_err().to_string(), error);
    }
    // These have room, but more numbers than a kernel counts.
    let error = on_gpu.sample(1 << 30, noise).unwrap_err().to_string();
    assert!(error.starts_with("the number of ") && error.contains(" is 1073741824, "), "{error}");
    let on_gpu = Broad::<f32>::build(&cpu, 1).unwrap().on(gpu).unwrap();
    let error = on_gpu.sample(1 << 19, noise).unwrap_err().to_string();
    assert!(error.starts_with("the number of rows is 524288, expected at most 5"), "{error}");
    assert!(error.ends_with("help: take them in several passes"), "{error}");
    assert!(on_gpu.sample(3, noise).is_ok());
}
