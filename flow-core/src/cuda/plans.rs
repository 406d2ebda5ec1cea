//! A flow's passes as plans.

use std::sync::Arc;

use flow_cuda::kernels::noise::STREAM;
use flow_cuda::kernels::rows::{fill, gather, scaled_copy, scatter, Rows};
use flow_cuda::{Area, Plan, Slot};

use super::guarded::Guarded;
use super::loops::{Demand, Stuck};
use super::lowered::{Lowered, Places};
use super::lowering::Lowering;
use super::training::Update;
use crate::base::Base;
use crate::engine::{
    to_channels_first, to_channels_last, Direction, Gradients, Machine, Pass, Workspace,
};
use crate::{Architecture, Context, Event, FlowError, Memory, Result};

/// Where the rows of a recorded pass and of its product lie.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) places: Places,
    /// The pass's output, or the gradient by it where the product starts.
    pub(super) output: Slot,
    pub(super) by_output: Slot,
    /// In a training, the numbers of a batch's rows among the data.
    pub(super) order: Slot,
    /// Where samples are drawn on the device, how.
    pub(super) drawn: Option<Drawn>,
    /// The blocks that derive values from their weights on the CPU: where there is one, all do.
    pub(super) on_cpu: Vec<String>,
    /// What to say of each loop that does not end.
    pub(super) stuck: Vec<Stuck>,
    /// What must hold of the weights before a pass, at the latest when they have changed.
    pub(super) demands: Vec<Demand>,
    /// The way back through blocks that are inverted.
    pub(super) guarded: Option<Arc<Guarded>>,
}

/// Samples of the base that a plan draws.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawn {
    /// Where their stream stands.
    pub(super) stream: Slot,
    /// Their log-densities under the base.
    pub(super) log_prob: Slot,
}

/// Parts of a [`Recorded`] plan.
pub(super) const PASS: usize = 0;
pub(super) const PRODUCT: usize = 1;
pub(super) const LOAD: usize = 2;
pub(super) const UPDATE: usize = 3;

/// Records a pass, with a product where it is `keeping`, and with a step of a training where there
/// is an `update`; `drawing`, its input are samples of the base, where that has kernels. Solvers have
/// `room` for so many steps.
///
/// # Errors
/// The first block that has no kernels, and blocks that are not initialised.
pub(super) fn record<A: Architecture<f32>>(
    machine: &Machine<A, f32>,
    direction: Direction,
    rows: usize,
    (keeping, drawing): (bool, bool),
    memory: Memory,
    room: usize,
    update: Option<&Update>,
) -> Result<(Plan, Recorded)> {
    let size = A::Event::SHAPE.size();
    if size >= 1 << f32::MANTISSA_DIGITS {
        return Err(FlowError::option(
            "numbers of a row on a GPU",
            size,
            "fewer than 2 to the 24th",
        ));
    }
    let leaves = Arc::new(machine.layout().leaves.clone());
    let sizes = [rows, size, A::Context::SIZE];
    let state = machine.shared_state();
    let mut lowering = Lowering::new(state.clone(), A::ITEMS, leaves.clone(), sizes, keeping);
    lowering = lowering.with_room(room);
    lowering = match memory.guard() {
        Some(guard) => lowering.inverting(guard, direction == Direction::Inverse),
        None if memory == Memory::Recomputed => lowering.recomputing(),
        None => lowering,
    };
    let places = lowering.places();
    lowering.record(fill(places.log_det, 0.0));
    let drawn = if drawing { draw(machine, &mut lowering)? } else { None };

    // A row of places instead of numbers, through the composites as numbers would go.
    let mut row: Vec<f32> = (0..size).map(|i| i as f32).collect();
    let (mut workspace, mut none) = (Workspace::default(), Gradients::default());
    let pass = Pass::new(1, &state, &[], &mut workspace, &mut none).lowering(&mut lowering);
    let ends = [A::Event::SHAPE, A::Latent::SHAPE];
    if direction == Direction::Inverse {
        let mut pass = pass.starting_at(leaves.len());
        to_channels_last(ends[1], &mut row);
        pass.inverse(machine.blocks(), &mut row, &mut [0.0])?;
        to_channels_first(ends[0], &mut row);
    } else {
        let mut pass = pass;
        to_channels_last(ends[0], &mut row);
        pass.forward(machine.blocks(), &mut row, &mut [0.0])?;
        to_channels_first(ends[1], &mut row);
    }
    let entries: Vec<usize> = row.iter().map(|&v| v as usize).collect();

    // The base comes last, so its product is first.
    let mut first = vec![
        fill(Slot::new(Area::Gradient, 0, state.values.parameters.len()), 0.0),
        fill(Slot::new(Area::DerivedGradient, 0, state.derived.len()), 0.0),
        fill(places.context_gradient.slot, 0.0),
    ];
    if lowering.inverts() {
        let end = lowering.recording().frame(places.x.slot.len);
        lowering.record(scaled_copy(end, places.x.slot, 1.0));
        first.push(scaled_copy(places.x.slot, end, 1.0));
    }
    let (output, by_output);
    if direction == Direction::LogProb {
        lowering.at_base();
        (output, by_output) = (places.x.slot, Slot::NONE);
        first.push(fill(places.gradient.slot, 0.0));
        first.extend(machine.base().lower(&mut lowering, &entries)?);
    } else {
        let order = lowering.table(entries.iter().copied());
        output = lowering.recording().frame(rows * size);
        by_output = lowering.recording().frame(if keeping { rows * size } else { 0 });
        let none = Rows::new(Slot::NONE, 0);
        lowering.record(gather(rows, places.x, none, order, output));
        if keeping {
            first.push(scatter(rows, places.gradient, order, by_output));
        }
    }
    let Lowered { mut recording, pass, product, weights, stuck, mut demands, trail } =
        lowering.finish();
    if direction != Direction::Inverse {
        // Inverses of a product that reconstructs are its guard's.
        demands.clear();
    }
    let mut parts = vec![pass];
    let (mut order, on_cpu) = (Slot::NONE, weights.on_cpu);
    let end = if on_cpu.is_empty() { weights.finish } else { Vec::new() };
    let ends = [first.clone(), end.clone()];
    if keeping {
        parts.push([first, product, end].concat());
    }
    if let Some(update) = update {
        order = recording.frame(rows);
        parts.push(update.load(&places, order));
        recording.reuse(0);
        let mut step = update.step(&mut recording, &places);
        if on_cpu.is_empty() {
            step.extend(weights.prepare);
        }
        parts.push(step);
    }
    let guarded = trail.map(|trail| {
        parts.resize(UPDATE + 1, Vec::new());
        let bring_back = |copy| scaled_copy(places.x.slot, copy, 1.0);
        let of = (machine.watch().clone(), leaves);
        Arc::new(Guarded::new(trail, ends, bring_back, of, &mut parts))
    });
    let recorded =
        Recorded { places, output, by_output, order, drawn, on_cpu, stuck, demands, guarded };
    Ok((recording.finish(parts), recorded))
}

/// Records samples of the base and their log-densities, where it has kernels for both.
fn draw<A: Architecture<f32>>(
    machine: &Machine<A, f32>,
    lowering: &mut Lowering<f32>,
) -> Result<Option<Drawn>> {
    let stream = lowering.recording().frame(STREAM);
    if !machine.base().lower_samples(lowering, stream) {
        return Ok(None);
    }
    let (log_det, rows) = (lowering.log_det(), lowering.rows());
    let log_prob = lowering.recording().frame(rows);
    // The batch is in the order of the latents.
    let entries: Vec<usize> = (0..A::Latent::SHAPE.size()).collect();
    lowering.at_base();
    machine.base().lower(lowering, &entries)?;
    lowering.record(scaled_copy(log_prob, log_det, 1.0));
    lowering.record(fill(log_det, 0.0));
    Ok(Some(Drawn { stream, log_prob }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    flow! {
        struct Pixels: Image<2, 4, 4> {
            affine_coupling(keep = first, net = conv([1], hidden = 4, relu));
        }

        struct Squares: Image<2, 4, 4> {
            affine_coupling(keep = first, net = conv([3], hidden = 4, relu));
        }
    }

    fn kernels<A: Architecture<f32>>(flow: &crate::Flow<A, f32>) -> Vec<&'static str> {
        let (direction, keeping) = (Direction::LogProb, (true, false));
        let plan = record(flow.machine(), direction, 3, keeping, Memory::Stored, 64, None);
        let (plan, _) = plan.expect("a plan");
        plan.parts().iter().flatten().map(|op| op.kernel.name).collect()
    }

    #[test]
    fn convolutions_of_one_pixel_are_products_of_matrices() {
        let cpu = Default::default();
        let [pixels, squares] = [
            kernels(&Pixels::<f32>::build(&cpu, 0).unwrap()),
            kernels(&Squares::<f32>::build(&cpu, 0).unwrap()),
        ];
        let products = |all: &[&str]| all.iter().filter(|name| name.ends_with("product")).count();
        let convolved = |all: &[&str]| all.iter().any(|name| name.contains("convolution"));
        // Two layers forward, both gradients by weights, and that by what lies between.
        assert!(!convolved(&pixels) && products(&pixels) >= 5, "{pixels:?}");
        assert!(convolved(&squares), "{squares:?}");
    }
}
