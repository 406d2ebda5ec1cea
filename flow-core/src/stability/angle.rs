//! How far gradients that save memory are from the true one.

use dfdx::prelude::{Backward, Cpu, Device, OwnedTape, Rank0, Tensor};

use crate::engine::Machine;
use crate::memory::{Guard, GuardReport};
use crate::{Architecture, Context, Event, Flow, FlowError, Memory, Result, Rows, Scalar, View};

/// A gradient against another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Angle {
    /// Between the two, from 0 to 180; NaN where one of them is 0 or not finite.
    pub degrees: f64,
    /// The norm of their difference over that of the true one; NaN where one is not finite.
    pub error: f64,
}

impl Angle {
    /// Of `found` against `truth`, which are equally long.
    ///
    /// ```
    /// use flow_core::stability::Angle;
    /// let angle = Angle::between(&[1.0, 1.0], &[2.0, 0.0]);
    /// assert!((angle.degrees - 45.0).abs() < 1e-12);
    /// ```
    pub fn between<E: Scalar>(found: &[E], truth: &[E]) -> Self {
        let scale = |v: &[E]| v.iter().map(|v| v.as_f64().abs()).fold(0.0, largest);
        let (a, b) = (scale(found), scale(truth));
        let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
        let unit = |v: &[E], by: f64| {
            let scaled: Vec<f64> = v.iter().map(|v| v.as_f64() / by).collect();
            let length = norm(&scaled);
            (scaled.into_iter().map(|v| v / length).collect::<Vec<f64>>(), length * by)
        };
        let ((found, a), (truth, b)) = (unit(found, a), unit(truth, b));
        let apart = |sign: f64| -> f64 {
            let off: Vec<f64> = found.iter().zip(&truth).map(|(a, b)| a - sign * b).collect();
            norm(&off)
        };
        // Near 0 and 180 degrees the cosine has lost the digits that these two still have.
        let degrees = (2.0 * apart(1.0).atan2(apart(-1.0))).to_degrees();
        let off: Vec<f64> = found.iter().zip(&truth).map(|(x, y)| x * (a / b) - y).collect();
        Self { degrees, error: norm(&off) }
    }
}

/// NaN where either is.
fn largest(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b {
        a
    } else {
        b
    }
}

/// What [`gradient_angle`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientAngles {
    /// Of [`Memory::Recomputed`]: 0.
    pub recomputed: Angle,
    /// Of [`Memory::Inverted`] under its default guard.
    pub guarded: Angle,
    /// Of an inversion that nobody watches.
    pub unguarded: Angle,
    /// What the guard saw.
    pub report: GuardReport,
}

/// How far the gradients of all ways to save memory are from that of [`Memory::Stored`], for the
/// mean negative log-likelihood of a batch by all trainable parameters (Behrmann et al. 2019, "On the
/// invertibility of invertible neural networks", figure 1).
///
/// As a flow's inverse becomes unstable in training, an unguarded inversion's gradient turns away
/// from the true one while the loss still looks well. For other losses there is [`gradient_angle_of`].
///
/// ```
/// use dfdx::prelude::Cpu;
/// use flow_core::prelude::*;
/// use flow_core::stability::gradient_angle;
///
/// flow! {
///     struct Tiny: Vector<2> {
///         affine_coupling(net = mlp([8], tanh));
///         affine_coupling(net = mlp([8], tanh));
///     }
/// }
///
/// let flow = Tiny::<f32>::build(&Cpu::default(), 0)?;
/// let batch = Rows::new(vec![0.5, -1.0, 2.0, 0.3], 2)?;
/// let angles = gradient_angle(&flow, &batch)?;
/// assert_eq!(angles.recomputed.degrees, 0.0);
/// assert!(angles.guarded.error < 1e-4 && angles.report.held());
/// # Ok::<(), FlowError>(())
/// ```
///
/// # Errors
/// Rows or contexts of another width than the flow's, no rows, a block without the fact
/// `memory_saving`.
pub fn gradient_angle<A: Architecture<E>, E: Scalar>(
    flow: &Flow<A, E, Cpu>,
    batch: &Rows<E>,
) -> Result<GradientAngles> {
    // Apart from the flow, whose own report is of its own passes.
    let machine = flow.machine().apart();
    compare(|| machine.watch().report(), |memory| nll(&machine, flow.trainable(), batch, memory))
}

/// As [`gradient_angle`], for a loss of one's own: `loss` gets a view of the flow in each mode, and
/// must give the same number in all of them.
///
/// ```
/// use dfdx::prelude::*;
/// use flow_core::prelude::*;
/// use flow_core::stability::gradient_angle_of;
///
/// flow! {
///     struct Tiny: Vector<2> {
///         affine_coupling(net = mlp([8], tanh));
///         affine_coupling(net = mlp([8], tanh));
///     }
/// }
///
/// let cpu = Cpu::default();
/// let flow = Tiny::<f64>::build(&cpu, 0)?;
/// let z = cpu.tensor([[0.5, -1.0], [2.0, 0.3]]);
/// // Gradients of samples go through the inverse.
/// let angles = gradient_angle_of(&flow, |view| {
///     let (x, log_det) = view.inverse(z.leaky_trace())?;
///     Ok(x.square().mean() + log_det.mean())
/// })?;
/// assert!(angles.guarded.error < 1e-12);
/// # Ok::<(), FlowError>(())
/// ```
///
/// # Errors
/// Those of `loss`, and a block without the fact `memory_saving`.
pub fn gradient_angle_of<A: Architecture<E>, E: Scalar>(
    flow: &Flow<A, E, Cpu>,
    loss: impl Fn(&View<'_, A, E>) -> Result<Tensor<Rank0, E, Cpu, OwnedTape<E, Cpu>>>,
) -> Result<GradientAngles>
where
    Cpu: Device<E>,
{
    let flow = flow.clone();
    let gradient = |memory| {
        let loss = loss(&flow.memory(memory))?;
        let mut gradients = loss.try_backward().map_err(|error| {
            flow.last_error().unwrap_or_else(|| FlowError::Gradient(error.to_string()))
        })?;
        Ok(flow.gradients(&mut gradients)?.into_values().flatten().collect())
    };
    compare(|| flow.guard_report(), gradient)
}

/// Compares the gradients of all modes; `report` is of the last pass with a guard.
fn compare<E: Scalar>(
    report: impl Fn() -> Option<GuardReport>,
    gradient: impl Fn(Memory) -> Result<Vec<E>>,
) -> Result<GradientAngles> {
    let truth = gradient(Memory::Stored)?;
    let against = |found: Vec<E>| Angle::between(&found, &truth);
    let recomputed = against(gradient(Memory::Recomputed)?);
    let guarded = against(gradient(Memory::Inverted)?);
    let report = report().unwrap_or_default();
    let off = Memory::InvertedUnder(Guard::off_gradients_may_be_wrong());
    let unguarded = match gradient(off) {
        Ok(found) => against(found),
        // A block may refuse what the inverse has made of its output.
        Err(FlowError::Block { .. }) => Angle { degrees: f64::NAN, error: f64::NAN },
        Err(error) => return Err(error),
    };
    Ok(GradientAngles { recomputed, guarded, unguarded, report })
}

fn nll<A: Architecture<E>, E: Scalar>(
    machine: &Machine<A, E>,
    trainable: &[std::ops::Range<usize>],
    batch: &Rows<E>,
    memory: Memory,
) -> Result<Vec<E>> {
    for (what, found, expected) in [
        ("a row of the batch", batch.width(), A::Event::SHAPE.size()),
        ("a row of the context", batch.context_width(), A::Context::SIZE),
    ] {
        if found != expected {
            return Err(FlowError::Length { what: what.into(), found, expected });
        }
    }
    if batch.is_empty() {
        return Err(FlowError::EmptyBatch { what: "batch".into() });
    }
    let mut all = Vec::new();
    machine.nll(memory, &mut batch.values().to_vec(), batch.context_values(), &mut all)?;
    Ok(trainable.iter().flat_map(|range| &all[range.clone()]).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_keep_their_digits() {
        for (turn, size) in [(1e-9_f64, 1.0), (1e-3, 1e-200), (1.2, 1e200), (3.1, 3.0)] {
            let found = [size * turn.cos(), size * turn.sin(), 0.0];
            let angle = Angle::between(&found, &[0.5, 0.0, 0.0]);
            assert!((angle.degrees.to_radians() / turn - 1.0).abs() < 1e-7, "{turn}: {angle:?}");
        }
        let angle = Angle::between(&[3.0, 4.0], &[3.0, 3.0]);
        assert!((angle.error - 1.0 / 18f64.sqrt()).abs() < 1e-12);
        for odd in [[0.0, 0.0], [f64::NAN, 1.0], [f64::INFINITY, 0.0]] {
            let angle = Angle::between(&odd, &[1.0, 0.0]);
            assert!(angle.degrees.is_nan(), "{odd:?}: {angle:?}");
        }
    }
}
