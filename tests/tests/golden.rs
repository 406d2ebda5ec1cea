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
use flow_tests::{Conditioned, Direction, Free, Subject};
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

    let inverse = subject.run(Direction::Inverse, &z, &context);
    close("x", &inverse.rows, want("input.x"), values, false);
    let negated: Vec<f64> = want("output.log_det").iter().map(|v| -v).collect();
    close("-log_det", &inverse.log_det, &negated, values, false);

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
            let golden = Golden::read(stringify!($test));
            assert_eq!(bare(stringify!($($source)*)), bare(&golden.flow), "the flow in the file");
            let cpu = Cpu::default();

            let mut flow = $name::<f64>::build(&cpu, 0).expect("a flow");
            load(&mut flow, &golden);
            check(&golden, &subject!(flow $(, $context)?), 1e-10, 1e-10);

            let mut flow = $name::<f32>::build(&cpu, 0).expect("a flow");
            load(&mut flow, &golden);
            // Three times what rounding costs PyTorch on the same weights, or 1e-5.
            let asked = |rounding: f64| (3.0 * rounding).max(1e-5);
            check(&golden, &subject!(flow $(, $context)?), asked($values), asked($gradients));
        }
    )*};
}

macro_rules! subject {
    ($flow:ident) => {
        Free((*$flow).clone())
    };
    ($flow:ident, $context:literal) => {
        Conditioned::<_, _, $context>((*$flow).clone())
    };
}

golden! {
    actnorm_vector: f32 (2e-7, 1e-7), {
        pub struct ActnormVector: Vector<5> { actnorm; }
    } as ActnormVector;
    actnorm_image: f32 (2e-7, 1e-7), {
        pub struct ActnormImage: Image<3, 4, 6> { actnorm; }
    } as ActnormImage;
    permute_reverse: f32 (5e-8, 4e-8), {
        pub struct PermuteReverse: Vector<5> { permute(reverse); }
    } as PermuteReverse;
    permute_roll: f32 (4e-8, 5e-8), {
        pub struct PermuteRoll: Vector<6> { permute(roll(2)); }
    } as PermuteRoll;
    permute_shuffle: f32 (4e-8, 3e-8), {
        pub struct PermuteShuffle: Vector<5> { permute(shuffle(3)); }
    } as PermuteShuffle;
    linear_diagonal: f32 (7e-8, 6e-8), {
        pub struct LinearDiagonal: Vector<3> { linear(diagonal); }
    } as LinearDiagonal;
    linear_lu: f32 (1e-7, 1e-7), {
        pub struct LinearLu: Vector<5> { linear(lu); }
    } as LinearLu;
    linear_lu_positive: f32 (2e-7, 8e-8), {
        pub struct LinearLuPositive: Vector<4> { linear(lu); }
    } as LinearLuPositive;
    linear_orthogonal: f32 (4e-7, 3e-7), {
        pub struct LinearOrthogonal: Vector<5> { linear(orthogonal); }
    } as LinearOrthogonal;
    additive_coupling: f32 (8e-8, 2e-7), {
        pub struct AdditiveCoupling: Vector<5> {
            additive_coupling(keep = first, net = mlp([16, 16], tanh));
        }
    } as AdditiveCoupling;
    affine_coupling_exp: f32 (2e-7, 2e-7), {
        pub struct AffineCouplingExp: Vector<5> {
            affine_coupling(keep = first, scale = exp, net = mlp([16, 16], relu));
        }
    } as AffineCouplingExp;
    affine_coupling_tanh: f32 (1e-7, 1e-7), {
        pub struct AffineCouplingTanh: Vector<5> {
            affine_coupling(keep = second, scale = tanh(2.0), net = mlp([16], elu));
        }
    } as AffineCouplingTanh;
    affine_coupling_sigmoid: f32 (1e-7, 4e-7), {
        pub struct AffineCouplingSigmoid: Vector<6> {
            affine_coupling(keep = even, scale = sigmoid(0.5, 1.0), net = mlp([16, 16], swish));
        }
    } as AffineCouplingSigmoid;
    affine_coupling_sigmoid_nflows: f32 (1e-7, 3e-7), {
        pub struct AffineCouplingSigmoidNflows: Vector<4> {
            affine_coupling(
                keep = first, scale = sigmoid(0.001, 1.001), net = mlp([16, 16, 16], leaky_relu)
            );
        }
    } as AffineCouplingSigmoidNflows;
    affine_coupling_even_odd_width: f32 (1e-7, 2e-7), {
        pub struct AffineCouplingEvenOddWidth: Vector<7> {
            affine_coupling(keep = even, scale = exp, net = mlp([12, 20], softplus));
        }
    } as AffineCouplingEvenOddWidth;
    affine_coupling_given given 3: f32 (1e-7, 5e-7), {
        pub struct AffineCouplingGiven: Vector<4> given Vector<3> {
            affine_coupling(keep = first, scale = tanh(2.0), net = mlp([16, 16], swish));
        }
    } as AffineCouplingGiven;
    spline_coupling: f32 (2e-6, 2e-6), {
        pub struct SplineCoupling: Vector<5> {
            spline_coupling(keep = first, net = mlp([16, 16], relu));
        }
    } as SplineCoupling;
    spline_coupling_bound: f32 (2e-6, 2e-6), {
        pub struct SplineCouplingBound: Vector<6> {
            spline_coupling(keep = odd, bins = 5, bound = 2.0, net = mlp([16, 16], tanh));
        }
    } as SplineCouplingBound;
    spline_coupling_given given 2: f32 (2e-6, 2e-6), {
        pub struct SplineCouplingGiven: Vector<4> given Vector<2> {
            spline_coupling(keep = second, net = mlp([16, 16], elu));
        }
    } as SplineCouplingGiven;
    labels: f32 (3e-7, 1e-6), {
        pub struct Labels: Vector<3> {
            'scale: actnorm;
            affine_coupling(keep = second, scale = exp, net = mlp([8], relu));
            'mix: repeat 2 {
                'turn: linear(lu);
                affine_coupling(keep = first, scale = tanh(1.5), net = mlp([8], gelu));
            }
        }
    } as Labels;
    deep_affine: f32 (6e-7, 1e-6), {
        pub struct DeepAffine: Vector<4> {
            repeat 8 {
                affine_coupling(keep = first, scale = tanh(2.0), net = mlp([16, 16], swish));
                actnorm;
                permute(reverse);
            }
        }
    } as DeepAffine;
    neural_spline_flow: f32 (6e-6, 1e-5), {
        pub struct NeuralSplineFlow: Vector<6> {
            repeat 3 {
                linear(lu);
                spline_coupling(keep = first, net = mlp([16, 16], relu));
                spline_coupling(keep = second, net = mlp([16, 16], relu));
            }
        }
    } as NeuralSplineFlow;
}
