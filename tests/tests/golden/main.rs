//! Weights, inputs, outputs and gradients of other libraries, reproduced.
//!
//! Each row is a flow as its file's metadata has it; `golden/README.md` says where the numbers come
//! from and what the tolerances mean.

#![allow(unreachable_pub)] // the flows are compared with the files as they stand there

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dfdx::prelude::Cpu;
use flow_core::io::Import;
use flow_core::prelude::*;
use flow_core::Architecture;
use flow_tests::{Direction, Subject};
use safetensors::SafeTensors;

/// One golden file.
struct Golden {
    path: PathBuf,
    flow: String,
    tensors: BTreeMap<String, Vec<f64>>,
}

impl Golden {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/{name}.safetensors"));
        let bytes = std::fs::read(&path).expect("a golden file");
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a safetensors header");
        let flow = header.metadata().as_ref().expect("metadata")["flow"].clone();
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let numbers = |bytes: &[u8]| {
            bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
        };
        let tensors =
            file.iter().map(|(name, tensor)| (name.to_owned(), numbers(tensor.data()))).collect();
        Self { path, flow, tensors }
    }

    fn get<E: Scalar>(&self, name: &str) -> Vec<E> {
        self.tensors.get(name).into_iter().flatten().map(|&v| E::of(v)).collect()
    }
}

/// Asks for entries within `tolerance`: of the larger of 1 and the entry, or for gradients of the
/// larger of 1 and the tensor's largest entry.
fn close<E: Scalar>(what: &str, got: &[E], want: &[f64], tolerance: f64, by_tensor: bool) {
    assert_eq!(got.len(), want.len(), "length of {what}");
    let largest = want.iter().fold(1.0_f64, |most, v| most.max(v.abs()));
    for (i, (got, &want)) in got.iter().zip(want).enumerate() {
        let scale = if by_tensor { largest } else { want.abs().max(1.0) };
        let error = (got.as_f64() - want).abs() / scale;
        assert!(error <= tolerance, "{what}[{i}] is {got:?}, expected {want}: off by {error:.1e}");
    }
}

fn check<E: Scalar, S: Subject<E>>(golden: &Golden, subject: &S, values: f64, gradients: f64) {
    let x: Vec<E> = golden.get("input.x");
    let context: Vec<E> = golden.get("input.context");
    let z: Vec<E> = golden.get("output.z");
    let want = |name: &str| &golden.tensors[name];

    let forward = subject.run(Direction::Forward, &x, &context);
    close("z", &forward.rows, want("output.z"), values, false);
    close("log_det", &forward.log_det, want("output.log_det"), values, false);

    // The backward steps of a solver undo its forward steps to its order alone.
    if !golden.flow.contains("ode(") {
        let inverse = subject.run(Direction::Inverse, &z, &context);
        close("x", &inverse.rows, want("input.x"), values, false);
        let negated: Vec<f64> = want("output.log_det").iter().map(|v| -v).collect();
        close("-log_det", &inverse.log_det, &negated, values, false);
    }

    let slopes = subject.slopes(
        Direction::Forward,
        &x,
        &context,
        &golden.get("cotangent.z"),
        &golden.get("cotangent.log_det"),
    );
    close("grad_x", &slopes.input, want("output.grad_x"), gradients, true);
    if S::CONTEXT > 0 {
        close("grad_context", &slopes.context, want("output.grad_context"), gradients, true);
    }
    let mut seen = 0;
    for (name, want) in &golden.tensors {
        if let Some(name) = name.strip_prefix("output.grad.") {
            close(name, &slopes.parameters[name], want, gradients, true);
            seen += 1;
        }
    }
    assert_eq!(seen, slopes.parameters.len(), "parameters with a gradient in the file");
}

fn load<A: Architecture<E>, E: Scalar>(flow: &mut Flow<A, E, Cpu>, golden: &Golden) {
    let skip = ["input.", "output.", "cotangent."];
    let own = |name: &str| {
        let other = skip.iter().any(|prefix| name.starts_with(prefix));
        (!other).then(|| name.to_owned())
    };
    let options = Import::new().rename(own).strict();
    flow.import(&golden.path, options).expect("weights that fit");
}

/// The source without white space, as `stringify!` and a person write it differently.
fn bare(text: &str) -> String {
    let text: String = text.split_whitespace().collect();
    text.replace(",)", ")").replace("pub", "")
}

macro_rules! golden {
    ($($test:ident $(given $context:literal)?: f32 ($values:literal, $gradients:literal),
       { $($source:tt)* } as $name:ident;)*) => {$(
        #[test]
        fn $test() {
            flow! { $($source)* }
            let golden = crate::Golden::read(stringify!($test));
            assert_eq!(crate::bare(stringify!($($source)*)), crate::bare(&golden.flow), "the flow in the file");
            let cpu = dfdx::prelude::Cpu::default();

            let mut flow = $name::<f64>::build(&cpu, 0).expect("a flow");
            crate::load(&mut flow, &golden);
            crate::check(&golden, &subject!(flow $(, $context)?), 1e-10, 1e-10);

            let mut flow = $name::<f32>::build(&cpu, 0).expect("a flow");
            crate::load(&mut flow, &golden);
            // Three times what rounding costs PyTorch on the same weights, or 1e-5.
            let asked = |rounding: f64| (3.0 * rounding).max(1e-5);
            crate::check(&golden, &subject!(flow $(, $context)?), asked($values), asked($gradients));
        }
    )*};
}

macro_rules! subject {
    ($flow:ident) => {
        flow_tests::Free((*$flow).clone())
    };
    ($flow:ident, $context:literal) => {
        flow_tests::Conditioned::<_, _, $context>((*$flow).clone())
    };
}

mod autoregressive;
mod continuous;
mod couplings;
mod elementary;
mod elementwise;
mod flows;
mod images;
mod linear;
mod residual;
