//! Weights of a usual size.

use std::collections::BTreeMap;
use std::path::Path;

use flow_core::prelude::*;
use flow_core::{Architecture, Cpu};

use crate::flows::Residual;
use crate::inputs::checkerboard;

/// Multiplies weights and biases of the last layer of every net by `factor`.
pub(crate) fn shrink_last_layers<A: Architecture<f32>>(
    flow: &mut Flow<A, f32, Cpu>,
    factor: f32,
) -> Result<(), FlowError> {
    let mut last = BTreeMap::new();
    for name in flow.parameters().map(|p| p.name) {
        let Some((net, layer)) = place(name) else { continue };
        let seen = last.entry(net.to_string()).or_insert(layer);
        *seen = layer.max(*seen);
    }
    let is_last = |name| place(name).is_some_and(|(net, layer)| last.get(net) == Some(&layer));
    let small: Vec<(String, Vec<f32>)> = flow
        .parameters()
        .filter(|p| is_last(p.name))
        .map(|p| (p.name.to_string(), p.values.iter().map(|v| factor * v).collect()))
        .collect();
    flow.set_all(small)
}

/// The net and the layer of `0.3.1.net.4.weight`.
fn place(name: &str) -> Option<(&str, usize)> {
    let (net, rest) = name.split_once(".net.")?;
    Some((net, rest.split('.').next()?.parse().ok()?))
}

/// The residual flow after 400 steps on the checkerboard: read from a file, or else written to it.
/// Weights of another flow are replaced.
pub(crate) fn trained_residual(file: Option<&Path>) -> Result<Residual<f32>, FlowError> {
    const STEPS: u64 = 400;
    const BATCH: usize = 500;
    let cpu = Cpu::default();
    if let Some(file) = file.filter(|file| file.exists()) {
        match Residual::load(&cpu, file) {
            Err(FlowError::WeightsDiffer { .. }) => {} // the flow has changed since
            loaded => return loaded,
        }
    }
    let mut flow = Residual::<f32>::build(&cpu, 0)?;
    let trainer = Trainer::new(Adam::new(1e-3)).batch_size(BATCH).steps(STEPS).silent();
    trainer.fit(&mut flow, &checkerboard(STEPS as usize * BATCH, 2))?;
    if let Some(file) = file {
        flow.save(file)?;
    }
    Ok(flow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::SmallAffine;

    #[test]
    fn only_last_layers_shrink() {
        let flow = SmallAffine::<f32>::build(&Cpu::default(), 0).unwrap();
        let mut smaller = flow.clone();
        shrink_last_layers(&mut smaller, 0.5).unwrap();
        let mut shrunk = 0;
        for (before, after) in flow.parameters().zip(smaller.parameters()) {
            let factor = if before.name.contains(".net.2.") { 0.5 } else { 1.0 };
            shrunk += usize::from(factor == 0.5);
            let expected: Vec<f32> = before.values.iter().map(|v| factor * v).collect();
            assert_eq!(after.values, expected, "{}", before.name);
        }
        assert_eq!(shrunk, 16);
    }
}
