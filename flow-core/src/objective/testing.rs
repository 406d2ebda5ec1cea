//! Flows to test objectives on, and numeric gradients.

use dfdx::prelude::{AsArray, Backward, Cpu, NoneTape, ZeroGrads};

use super::Objectives;
use crate::prelude::*;
use crate::testing::normal;
use crate::train::Step;
use crate::{Architecture, Data, Flow};

flow! {
    #[base(mixture(2))]
    pub(super) struct Plane: Vector<2> {
        affine_coupling(scale = exp, net = mlp([5], tanh, zero_init = false));
        linear(lu);
        affine_coupling(scale = exp, net = mlp([5], tanh, zero_init = false));
    }

    pub(super) struct Steered: Vector<3> given Vector<2> {
        additive_coupling(net = mlp([4], tanh, zero_init = false));
        actnorm;
        affine_coupling(net = mlp([4], tanh, zero_init = false));
    }

    pub(super) struct Picture: Image<1, 2, 4> {
        squeeze(2);
        conv1x1(dense);
        affine_coupling(net = conv([3], hidden = 3, tanh, zero_init = false));
        flatten;
    }

    pub(super) struct Turn: Vector<3> { linear(orthogonal); }

    pub(super) struct Stretch: Vector<3> { linear(diagonal); }
}

pub(super) fn cpu() -> Cpu {
    Cpu::default()
}

pub(super) fn step(index: u64) -> Step {
    Step::new(index, Noise::seed(31).at(index))
}

pub(super) fn rows(count: usize, width: usize) -> Rows<f64> {
    Rows::new(normal(count * width, 4), width).unwrap()
}

/// The loss and its gradient by all parameters, which must not be frozen.
pub(super) fn loss<A, F>(
    objectives: &Objectives<'_, A, f64>,
    flow: &Flow<A, f64>,
    view: &F,
    x: Data<F, usize>,
    step: &Step,
) -> (f64, Vec<f64>)
where
    A: Architecture<f64>,
    F: NormalizingFlow<Scalar = f64, Architecture = A, Tape = NoneTape>,
{
    let loss = objectives.loss(view, x, step, flow.alloc_grads()).unwrap();
    let value = loss.array();
    let mut gradients = loss.backward();
    let names = flow.gradients(&mut gradients).unwrap();
    let all = flow.parameters().flat_map(|p| names[p.name].clone());
    (value, all.collect())
}

/// The gradient of a function of the flow's weights by central differences.
pub(super) fn numeric<A: Architecture<f64>>(
    flow: &Flow<A, f64>,
    value: impl Fn(&Flow<A, f64>) -> f64,
) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let parameters: Vec<(String, Vec<f64>)> =
        flow.parameters().map(|p| (p.name.to_owned(), p.values.to_vec())).collect();
    let mut gradient = Vec::new();
    for (name, values) in &parameters {
        for i in 0..values.len() {
            let at = |by: f64| {
                let (mut flow, mut values) = (flow.clone(), values.clone());
                values[i] += by;
                flow.set(name, &values).unwrap();
                value(&flow)
            };
            gradient.push((at(STEP) - at(-STEP)) / (2.0 * STEP));
        }
    }
    gradient
}

pub(super) fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    let size = expected.iter().fold(1.0_f64, |most, v| most.max(v.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() < tolerance * size, "{i}: {a} for {b}");
    }
    assert!(expected.iter().any(|v| v.abs() > 1e-3), "nothing to compare");
}
