//! Kernels that run as graphs where a device can.

use std::collections::HashMap;

use flow_cuda::{Area, Device, DeviceError, Op};

/// How kernels run that ran before.
enum Replay<G> {
    /// They ran once, one by one.
    Ran,
    /// As a graph from now on.
    Captured(G),
    /// One by one for ever: the device makes no graphs, or could not.
    Single,
}

/// Which kernels of a plan: the set of its parts that run after each other, and the place among the
/// pieces that loops cut them into.
type Number = (usize, usize);

/// The graphs of a plan.
pub(super) struct Replays<D: Device> {
    known: HashMap<Number, Replay<D::Graph>>,
    refused: Vec<DeviceError>,
}

impl<D: Device> Default for Replays<D> {
    fn default() -> Self {
        Self { known: HashMap::new(), refused: Vec::new() }
    }
}

/// Which of a flow's kernels run as graphs on its device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graphs {
    /// How many graphs there are.
    pub captured: usize,
    /// Why kernels could not be captured, which run one by one instead.
    pub refused: Vec<DeviceError>,
}

impl<D: Device> Replays<D> {
    /// Runs kernels: one by one the first time, when they are compiled and loaded; as a graph from the
    /// second time on, for as long as their memories stay where they are.
    pub(super) fn run<'m>(
        &mut self,
        device: &D,
        number: Number,
        ops: &[&[Op]],
        memory: &mut dyn FnMut(Area) -> Option<&'m D::Memory>,
        tables: &D::Tables,
    ) -> Result<(), DeviceError>
    where
        D::Memory: 'm,
    {
        if let Some(Replay::Captured(graph)) = self.known.get(&number) {
            if device.replay(graph, memory, tables)? {
                return Ok(());
            }
            self.known.insert(number, Replay::Ran);
        }
        if let Some(Replay::Ran) = self.known.get(&number) {
            let replay = match device.capture(ops, memory, tables) {
                Ok(Some(graph)) => Replay::Captured(graph),
                Ok(None) => Replay::Single,
                Err(error) => {
                    self.refused.push(error);
                    Replay::Single
                }
            };
            if let Replay::Captured(graph) = &replay {
                let done = device.replay(graph, memory, tables)?;
                self.known.insert(number, replay);
                if done {
                    return Ok(());
                }
            } else {
                self.known.insert(number, replay);
            }
        }
        for ops in ops {
            device.run(ops, memory, tables)?;
        }
        self.known.entry(number).or_insert(Replay::Ran);
        Ok(())
    }

    /// Adds what there is of them.
    pub(super) fn count(&self, into: &mut Graphs) {
        let captured = |replay: &&Replay<D::Graph>| matches!(replay, Replay::Captured(_));
        into.captured += self.known.values().filter(captured).count();
        into.refused.extend(self.refused.iter().cloned());
    }
}
