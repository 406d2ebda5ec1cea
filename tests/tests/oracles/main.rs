//! Fused blocks against the same maps written out in plain dfdx operations, with gradients by
//! dfdx's own tape, on random inputs and weights.

mod autoregressive;
mod couplings;
mod curves;
mod dynamics;
mod elementary;
mod forward_only;

use std::collections::BTreeMap;

use dfdx::prelude::*;
use flow_core::prelude::*;
use flow_tests::weights::drawn;
use flow_tests::{Direction, Subject};

/// Rows of numbers on a tape.
type Rows = Tensor<(usize, usize), f64, Cpu, OwnedTape<f64, Cpu>>;
/// One number a row on a tape.
type Column = Tensor<(usize,), f64, Cpu, OwnedTape<f64, Cpu>>;

const ROWS: usize = 6;

/// A flow's weights as dfdx tensors.
struct Weights {
    tensors: BTreeMap<String, Tensor<(usize,), f64, Cpu>>,
}

impl Weights {
    /// A weight as a matrix, on a tape of its own.
    fn matrix(&self, name: &str, rows: usize, columns: usize) -> Rows {
        self.vector(name).reshape_like(&(rows, columns))
    }

    /// A weight as a vector, on a tape of its own.
    fn vector(&self, name: &str) -> Column {
        self.tensors[name].retaped::<OwnedTape<f64, Cpu>>()
    }
}

/// A constant matrix of ones at the places `(row, column)`.
fn places(
    shape: (usize, usize),
    ones: impl IntoIterator<Item = (usize, usize)>,
) -> Tensor<(usize, usize), f64, Cpu> {
    let mut numbers = vec![0.0; shape.0 * shape.1];
    ones.into_iter().for_each(|(i, j)| numbers[i * shape.1 + j] = 1.0);
    Cpu::default().tensor_from_vec(numbers, shape)
}

/// The columns of those indices.
fn columns(x: Rows, indices: impl ExactSizeIterator<Item = usize>) -> Rows {
    let shape = (x.shape().1, indices.len());
    x.matmul(places(shape, indices.enumerate().map(|(k, i)| (i, k))))
}

/// The transpose of [`columns`]: puts columns to those indices of `width`, zeros elsewhere.
fn spread(x: Rows, width: usize, indices: impl ExactSizeIterator<Item = usize>) -> Rows {
    let shape = (x.shape().1, width);
    x.matmul(places(shape, indices.enumerate()))
}

/// A row for each row.
fn repeated(row: Column, rows: usize) -> Rows {
    let shape = (rows, row.shape().0);
    row.broadcast_like::<_, Axis<0>>(&shape)
}

fn transposed(m: Rows) -> Rows {
    m.permute::<_, Axes2<1, 0>>()
}

/// The sum of each row.
fn sums(x: Rows) -> Column {
    x.sum::<_, Axis<1>>()
}

fn normal(name: &str, len: usize) -> Vec<f64> {
    drawn(&Noise::seed(21).named(name), len)
}

/// Compares a flow's forward direction and its gradients with `oracle`, which maps weights, data
/// and context to latents and log-determinants. The inverse, where there is one, must lead back.
fn compare<S: Subject<f64>>(flow: S, oracle: impl Fn(&Weights, Rows, Rows) -> (Rows, Column)) {
    compare_sized(flow, 1.0, oracle);
}

/// [`compare`] with all weights times `size`, for blocks that would scale large ones down.
fn compare_sized<S: Subject<f64>>(
    mut flow: S,
    size: f64,
    oracle: impl Fn(&Weights, Rows, Rows) -> (Rows, Column),
) {
    let cpu = Cpu::default();
    let (x, context) = (normal("x", ROWS * S::SIZE), normal("context", ROWS * S::CONTEXT));
    flow.initialize(&x, &context);
    let mut weights = Weights { tensors: BTreeMap::new() };
    for (name, mut values) in flow.flow().parameters() {
        let by = normal(&name, values.len());
        values.iter_mut().zip(by).for_each(|(v, by)| *v = size * (*v + 0.3 * by));
        flow.set(&name, &values);
        let len = values.len();
        weights.tensors.insert(name, cpu.tensor_from_vec(values, (len,)));
    }
    let (by_z, by_log_det) = (normal("by z", x.len()), normal("by log_det", ROWS));

    let data = cpu.tensor_from_vec(x.clone(), (ROWS, S::SIZE));
    let given = cpu.tensor_from_vec(context.clone(), (ROWS, S::CONTEXT));
    let (z, log_det) = oracle(&weights, data.leaky_trace(), given.leaky_trace());
    let (want_z, want_log_det) = (z.as_vec(), log_det.as_vec());
    let by_z_tensor = cpu.tensor_from_vec(by_z.clone(), (ROWS, S::SIZE));
    let by_log_det_tensor = cpu.tensor_from_vec(by_log_det.clone(), (ROWS,));
    let loss = (z * by_z_tensor).sum::<(), _>() + (log_det * by_log_det_tensor).sum::<(), _>();
    let gradients = loss.backward();

    let got = flow.run(Direction::Forward, &x, &context);
    close("z", &got.rows, &want_z);
    close("log_det", &got.log_det, &want_log_det);
    let slopes = flow.slopes(Direction::Forward, &x, &context, &by_z, &by_log_det);
    close("gradient by x", &slopes.input, &gradients.get(&data).as_vec());
    if S::CONTEXT > 0 {
        close("gradient by the context", &slopes.context, &gradients.get(&given).as_vec());
    }
    for (name, tensor) in &weights.tensors {
        close(name, &slopes.parameters[name], &gradients.get(tensor).as_vec());
    }
    if flow.flow().facts().invertible {
        let back = flow.run(Direction::Inverse, &want_z, &context);
        close("x", &back.rows, &x);
    }
}

fn close(what: &str, got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "length of {what}");
    let largest = want.iter().fold(1.0_f64, |most, v| most.max(v.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() < 1e-10 * largest, "{what}[{i}] is {got}, not {want}");
    }
}

/// Builds the flow of a source, as [`compare`] takes it.
macro_rules! flow_of {
    ($($source:tt)*) => {{
        flow! { struct Row: $($source)* }
        (*Row::<f64>::build(&dfdx::prelude::Cpu::default(), 3).expect("a flow")).clone()
    }};
}
pub(crate) use flow_of;
