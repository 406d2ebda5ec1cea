//! Whole nets of narrow layers: one kernel each for the pass, for its product and for the gradients
//! by all weights, where rows' activations stay in shared memory from layer to layer.

use super::product::Function;
use super::{holds, together, NET};
use crate::plan::to_u32;
use crate::{Area, Kernel, Launch, Op, Recording, Slot, Table};

const FORWARD: Kernel = together(NET, "net_forward");
const BACKWARD: Kernel = together(NET, "net_backward");
const WEIGHTS: Kernel = together(NET, "net_weights");

/// Numbers of the widest layer.
pub const WIDEST: usize = 128;
/// Rows of a block.
const ROWS: usize = 8;
/// Sides of a tile of a weight's gradient.
const TILE: usize = 32;

/// A linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// `[outputs, inputs]`, among the parameters.
    pub weight: Slot,
    /// One number for each output, among the parameters.
    pub bias: Slot,
    /// Numbers that it reads.
    pub inputs: usize,
    /// Numbers that it writes.
    pub outputs: usize,
}

/// Linear layers with a function between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net {
    layers: Vec<Linear>,
    function: Function,
    rows: usize,
    /// All of its parameters.
    parameters: Slot,
    /// Six numbers a layer, as in net.cu.
    table: Table,
}

/// What a pass keeps for its product: the hidden layers' values and slopes, [`Net::hidden`] numbers
/// each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// After the function.
    pub values: Slot,
    /// Of the function.
    pub slopes: Slot,
}

impl Net {
    /// A net over so many rows, where the kernels are made for it: each layer is at most [`WIDEST`]
    /// wide and its numbers are parameters themselves.
    pub fn new(
        recording: &mut Recording,
        layers: Vec<Linear>,
        function: Function,
        rows: usize,
    ) -> Option<Self> {
        let fits = |layer: &Linear| {
            let own = [layer.weight, layer.bias].iter().all(|slot| slot.area == Area::Parameters);
            own && (1..=WIDEST).contains(&layer.inputs) && (1..=WIDEST).contains(&layer.outputs)
        };
        if layers.is_empty() || rows == 0 || !layers.iter().all(fits) {
            return None;
        }
        let slots = || layers.iter().flat_map(|layer| [layer.weight, layer.bias]);
        let start = slots().map(|slot| slot.offset).min()?;
        let end = slots().map(|slot| slot.offset + slot.len).max()?;
        let parameters = Slot::new(Area::Parameters, start, end - start);
        let (mut numbers, mut before) = (Vec::new(), -1);
        for (i, layer) in layers.iter().enumerate() {
            let &Linear { weight, bias, inputs, outputs } = layer;
            holds("a weight", weight, inputs * outputs);
            holds("a bias", bias, outputs);
            if i > 0 {
                assert_eq!(inputs, layers[i - 1].outputs, "what a layer reads");
            }
            let last = i + 1 == layers.len();
            let after = match last {
                true => -1,
                false if i == 0 => 0,
                false => before + (rows * inputs) as isize,
            };
            let places = [inputs, outputs, weight.offset - start, bias.offset - start];
            numbers.extend(places.map(|number| number as isize));
            numbers.extend([before, after]);
            before = after;
        }
        let table = recording.table(numbers);
        Some(Self { layers, function, rows, parameters, table })
    }

    /// Numbers that its hidden layers write for all rows.
    pub fn hidden(&self) -> usize {
        self.layers.iter().rev().skip(1).map(|layer| self.rows * layer.outputs).sum()
    }

    fn ends(&self) -> [usize; 2] {
        let layers = &self.layers;
        [layers[0].inputs, layers[layers.len() - 1].outputs].map(|width| self.rows * width)
    }

    fn op(&self, kernel: Kernel, slots: Vec<Slot>, tables: Vec<Table>, blocks: usize) -> Op {
        let threads = if kernel == WEIGHTS { 64 } else { to_u32(WIDEST) };
        let most = slots.iter().map(|slot| slot.len).max();
        let mut op = super::op(kernel, most.unwrap_or(0));
        op.launch = Launch { grid: [to_u32(blocks), 1, 1], block: [threads, 1, 1] };
        (op.slots, op.tables) = (slots, tables);
        op
    }

    /// The pass, row after row.
    pub fn forward(&self, input: Slot, output: Slot, kept: Option<Kept>) -> Op {
        let [inputs, outputs] = self.ends();
        holds("the net's input", input, inputs);
        holds("the net's output", output, outputs);
        let Kept { values, slopes } =
            kept.unwrap_or(Kept { values: Slot::NONE, slopes: Slot::NONE });
        if kept.is_some() {
            holds("the hidden values", values, self.hidden());
            holds("the slopes", slopes, self.hidden());
        }
        let slots = vec![input, output, self.parameters, values, slopes];
        let blocks = self.rows.div_ceil(ROWS);
        self.op(FORWARD, slots, vec![self.table], blocks).sizes([
            self.rows,
            self.layers.len(),
            self.function as usize,
            usize::from(kept.is_some()),
        ])
    }

    /// Its product, from the gradient by the output to that by the input, which adds the gradients by
    /// weights and biases.
    pub fn backward(
        &self,
        recording: &mut Recording,
        [input, by_input]: [Slot; 2],
        by_output: Slot,
        kept: Kept,
    ) -> [Op; 2] {
        let [inputs, outputs] = self.ends();
        holds("the net's input", input, inputs);
        holds("the gradient by the input", by_input, inputs);
        holds("the gradient by the output", by_output, outputs);
        holds("the hidden values", kept.values, self.hidden());
        holds("the slopes", kept.slopes, self.hidden());
        let by_hidden = recording.scratch(self.hidden());
        let mut tiles = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            for output in (0..layer.outputs).step_by(TILE) {
                let each = (0..layer.inputs).step_by(TILE);
                tiles.extend(each.flat_map(|input| [i, output, input].map(|n| n as isize)));
            }
        }
        let (blocks, tiles) = (tiles.len() / 3, recording.table(tiles));
        let Slot { offset, len, .. } = self.parameters;
        let gradients = Slot::new(Area::Gradient, offset, len);
        let slots = vec![by_output, by_input, self.parameters, kept.slopes, by_hidden];
        let rows = self.rows.div_ceil(ROWS);
        let sizes = [self.rows, self.layers.len()];
        let back = self.op(BACKWARD, slots, vec![self.table], rows).sizes(sizes);
        let slots = vec![input, kept.values, by_output, by_hidden, gradients];
        let tables = vec![self.table, tiles];
        [back, self.op(WEIGHTS, slots, tables, blocks).sizes(sizes)]
    }
}
