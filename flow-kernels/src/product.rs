//! Matrix products and convolutions on runs.

// An index into several arrays of registers at once.
#![allow(clippy::needless_range_loop)]

use pulp::{Arch, Simd, WithSimd};

use crate::{single, Element, Runs};

/// The weights of a linear layer or a convolution in a slice, read where they lie.
#[derive(Clone, Copy, Debug)]
pub struct Weight<'a, E> {
    pub(crate) data: &'a [E],
    /// Features that the layer writes and reads.
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    kernel: usize,
}

impl<'a, E: Element> Weight<'a, E> {
    /// Row-major `outputs × inputs` weights of a linear layer.
    ///
    /// # Panics
    /// Where `data` holds another number of numbers.
    pub fn new(data: &'a [E], outputs: usize, inputs: usize) -> Self {
        Self::convolution(data, outputs, inputs, 1)
    }

    /// The weights `outputs × kernel × kernel × inputs` of a convolution of odd side `kernel`.
    ///
    /// # Panics
    /// Where `data` holds another number of numbers.
    pub fn convolution(data: &'a [E], outputs: usize, inputs: usize, kernel: usize) -> Self {
        let count = outputs * kernel * kernel * inputs;
        assert_eq!(data.len(), count, "{outputs} × {kernel} × {kernel} × {inputs} weights");
        Self { data, outputs, inputs, kernel }
    }
}

/// `out = W·input + bias`; no bias counts as zeros. What it leaves in the margin is of no use.
///
/// # Panics
/// Where lengths do not fit the runs and the weights, or a kernel reaches farther than the runs.
pub fn product<E: Element>(
    runs: Runs,
    out: &mut [E],
    weight: Weight<'_, E>,
    input: &[E],
    bias: Option<&[E]>,
) {
    assert_eq!(out.len(), runs.len(weight.outputs), "outputs of a product");
    assert_eq!(input.len(), runs.len(weight.inputs), "inputs of a product");
    assert!(bias.is_none_or(|bias| bias.len() == weight.outputs), "biases of a product");
    E::multiply(runs, out, weight, input, bias, false);
}

/// `input = Wᵀ·out`. The margin of `out` must be zero where the kernel is larger than 1.
///
/// # Panics
/// As [`product`].
pub fn product_transposed<E: Element>(
    runs: Runs,
    input: &mut [E],
    weight: Weight<'_, E>,
    out: &[E],
) {
    assert_eq!(out.len(), runs.len(weight.outputs), "outputs of a product");
    assert_eq!(input.len(), runs.len(weight.inputs), "inputs of a product");
    E::multiply(runs, input, weight, out, None, true);
}

#[inline(always)]
pub(crate) fn multiply<E: Element>(
    runs: Runs,
    out: &mut [E],
    weight: Weight<'_, E>,
    input: &[E],
    bias: Option<&[E]>,
    transposed: bool,
) {
    match (runs.is_single(), transposed) {
        (true, false) => single::product(out, weight, input, bias),
        (true, true) => single::product_transposed(out, weight, input),
        _ => {
            let count = if transposed { weight.inputs } else { weight.outputs };
            let product = Product { runs, out, weight, input, bias, count, transposed };
            Arch::new().dispatch(product);
        }
    }
}

struct Product<'a, E> {
    runs: Runs,
    out: &'a mut [E],
    weight: Weight<'a, E>,
    input: &'a [E],
    bias: Option<&'a [E]>,
    /// Features of `out`.
    count: usize,
    transposed: bool,
}

impl<E: Element> WithSimd for Product<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let read = if self.transposed { self.weight.outputs } else { self.weight.inputs };
        let (from, to) = (self.runs.block(read), self.runs.block(self.count));
        // So many outputs at once that their weights stay in the second cache for all rows.
        let weights = self.weight.data.len().div_ceil(self.count.max(1)) * size_of::<E>();
        let band = (WEIGHTS / weights.max(1) / 6).max(1) * 6;
        for first in (0..self.count).step_by(band) {
            let end = (first + band).min(self.count);
            for block in 0..self.runs.blocks() {
                // Line by line, so that one of all inputs stays in the first cache for the outputs.
                for column in self.runs.computed().step_by(PAIR * E::lanes::<S>()) {
                    let mut row = first;
                    while row < end {
                        let height = height(end - row);
                        let at = Place { from: block * from, to: block * to, row, column };
                        match height {
                            6 => self.tile::<S, 6>(simd, at),
                            5 => self.tile::<S, 5>(simd, at),
                            4 => self.tile::<S, 4>(simd, at),
                            3 => self.tile::<S, 3>(simd, at),
                            2 => self.tile::<S, 2>(simd, at),
                            _ => self.tile::<S, 1>(simd, at),
                        }
                        row += height;
                    }
                }
            }
        }
    }
}

/// Bytes of weights that stay in the second cache beside what passes through it.
const WEIGHTS: usize = 1 << 17;

/// Where a tile is: its block in the inputs and the outputs, its first feature, its line in a run.
#[derive(Clone, Copy)]
struct Place {
    from: usize,
    to: usize,
    row: usize,
    column: usize,
}

/// Vectors of a line: with six outputs, twelve sums, two inputs and a weight fill the sixteen
/// registers of AVX2.
const PAIR: usize = 2;

/// How many of the features that are left one tile takes: the last ones share what is left.
#[inline(always)]
fn height(left: usize) -> usize {
    if left > 6 && left < 12 {
        left.div_ceil(2)
    } else {
        left.min(6)
    }
}

impl<E: Element> Product<'_, E> {
    /// A line of `HEIGHT` features.
    #[inline(always)]
    fn tile<S: Simd, const HEIGHT: usize>(&mut self, simd: S, at: Place) {
        let Place { from, to, row, column } = at;
        let Weight { data, inputs, outputs, kernel } = self.weight;
        let (stride, len) = (self.runs.stride(), PAIR * E::lanes::<S>());
        let width = kernel * kernel * inputs;
        let mut sums = [[E::splat(simd, E::default()); PAIR]; HEIGHT];
        if let Some(bias) = self.bias {
            for k in 0..HEIGHT {
                sums[k] = [E::splat(simd, bias[row + k]); PAIR];
            }
        }
        for (tap, offset) in self.runs.offsets(kernel).enumerate() {
            if self.transposed {
                let input = part(self.input, (from + column).wrapping_add_signed(-offset));
                let weights = part(data, tap * inputs + row);
                for o in 0..outputs {
                    let weights: &[E; HEIGHT] = line(weights, o * width);
                    let [a, b] = pair::<S, E>(&input[o * stride..][..len]);
                    for k in 0..HEIGHT {
                        let weight = E::splat(simd, weights[k]);
                        sums[k][0] = E::fused_vectors(simd, weight, a, sums[k][0]);
                        sums[k][1] = E::fused_vectors(simd, weight, b, sums[k][1]);
                    }
                }
            } else {
                let input = part(self.input, (from + column).wrapping_add_signed(offset));
                let mut rows: [&[E]; HEIGHT] = [&[]; HEIGHT];
                for k in 0..HEIGHT {
                    rows[k] = &data[(row + k) * width + tap * inputs..][..inputs];
                }
                for i in 0..inputs {
                    let [a, b] = pair::<S, E>(&input[i * stride..][..len]);
                    for k in 0..HEIGHT {
                        let weight = E::splat(simd, rows[k][i]);
                        sums[k][0] = E::fused_vectors(simd, weight, a, sums[k][0]);
                        sums[k][1] = E::fused_vectors(simd, weight, b, sums[k][1]);
                    }
                }
            }
        }
        for k in 0..HEIGHT {
            let out = &mut self.out[to + (row + k) * stride + column..][..len];
            E::vectors_mut::<S>(out).copy_from_slice(&sums[k]);
        }
    }
}

/// The two vectors of a line.
#[inline(always)]
fn pair<S: Simd, E: Element>(line: &[E]) -> [E::Vector<S>; PAIR] {
    let vectors = E::vectors::<S>(line);
    [vectors[0], vectors[1]]
}

/// What stands from `at` on: nothing where a layer has no inputs or outputs.
#[inline(always)]
fn part<E>(of: &[E], at: usize) -> &[E] {
    of.get(at..).unwrap_or_default()
}

#[inline(always)]
fn line<E, const LEN: usize>(from: &[E], at: usize) -> &[E; LEN] {
    from[at..at + LEN].try_into().expect("that many numbers")
}

/// Adds to `sums`, laid out as the weights of that kernel, the sums over all rows of an output times
/// an input: the gradient of the weights. The margin of `outputs` must be zero, that of `inputs`
/// finite, and zero where the kernel is larger than 1.
///
/// # Panics
/// As [`product`].
pub fn add_outer<E: Element>(
    runs: Runs,
    sums: &mut [E],
    kernel: usize,
    outputs: &[E],
    inputs: &[E],
) {
    let (count, width) = (outputs.len() / runs.len(1), inputs.len() / runs.len(1));
    assert_eq!(sums.len(), count * kernel * kernel * width, "a sum for each output and input");
    assert_eq!(outputs.len(), runs.len(count), "outputs of a product");
    assert_eq!(inputs.len(), runs.len(width), "inputs of a product");
    E::outer(runs, sums, kernel, outputs, inputs);
}

#[inline(always)]
pub(crate) fn outer<E: Element>(
    runs: Runs,
    sums: &mut [E],
    kernel: usize,
    outputs: &[E],
    inputs: &[E],
) {
    if runs.is_single() {
        return single::add_outer(sums, outputs, inputs);
    }
    let (count, width) = (outputs.len() / runs.len(1), inputs.len() / runs.len(1));
    Arch::new().dispatch(Outer { runs, sums, kernel, outputs, inputs, count, width });
}

/// Adds to each number of `sums` those of a run, whose margin must be zero.
///
/// # Panics
/// Where `runs` has another number of features.
pub fn add_sums<E: Element>(runs: Runs, sums: &mut [E], of: &[E]) {
    assert_eq!(of.len(), runs.len(sums.len()), "runs of {} features", sums.len());
    E::sums(runs, sums, of);
}

#[inline(always)]
pub(crate) fn sums<E: Element>(runs: Runs, sums: &mut [E], of: &[E]) {
    if runs.is_single() {
        return sums.iter_mut().zip(of).for_each(|(sum, &v)| *sum = *sum + v);
    }
    Arch::new().dispatch(Sums { runs, sums, of });
}

struct Outer<'a, E> {
    runs: Runs,
    sums: &'a mut [E],
    kernel: usize,
    outputs: &'a [E],
    inputs: &'a [E],
    /// Features of both.
    count: usize,
    width: usize,
}

/// Inputs whose runs stay in the first cache while all outputs pass them.
const BAND: usize = 24;
/// Numbers of a run that are summed side by side.
const PART: usize = 8;

impl<E: Element> WithSimd for Outer<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let taps = self.runs.offsets(self.kernel).enumerate();
        let blocks =
            (0..self.runs.blocks()).flat_map(|block| taps.clone().map(move |tap| (block, tap)));
        for (block, (tap, offset)) in blocks {
            for band in (0..self.width).step_by(BAND) {
                let end = (band + BAND).min(self.width);
                for row in (0..self.count).step_by(4) {
                    for column in (band..end).step_by(3) {
                        let place = (block, row, column, tap, offset);
                        match ((self.count - row).min(4), (end - column).min(3)) {
                            (4, 3) => self.tile::<S, 4, 3>(simd, place),
                            (4, 2) => self.tile::<S, 4, 2>(simd, place),
                            (4, _) => self.tile::<S, 4, 1>(simd, place),
                            (3, 3) => self.tile::<S, 3, 3>(simd, place),
                            (3, 2) => self.tile::<S, 3, 2>(simd, place),
                            (3, _) => self.tile::<S, 3, 1>(simd, place),
                            (2, 3) => self.tile::<S, 2, 3>(simd, place),
                            (2, 2) => self.tile::<S, 2, 2>(simd, place),
                            (2, _) => self.tile::<S, 2, 1>(simd, place),
                            (_, 3) => self.tile::<S, 1, 3>(simd, place),
                            (_, 2) => self.tile::<S, 1, 2>(simd, place),
                            (_, _) => self.tile::<S, 1, 1>(simd, place),
                        }
                    }
                }
            }
        }
    }
}

impl<E: Element> Outer<'_, E> {
    /// The sums of a few outputs and inputs, at `(block, output, input, tap, its offset)`.
    #[inline(always)]
    fn tile<S: Simd, const HEIGHT: usize, const WIDE: usize>(
        &mut self,
        simd: S,
        (block, row, column, tap, offset): (usize, usize, usize, usize, isize),
    ) {
        let (stride, computed) = (self.runs.stride(), self.runs.computed());
        let (start, filled) = (computed.start, computed.len());
        let shifted = start.wrapping_add_signed(offset);
        let outputs = &self.outputs[block * self.runs.block(self.count) + row * stride..];
        let inputs = &self.inputs[block * self.runs.block(self.width) + column * stride..];
        let mut a: [&[E::Vector<S>]; HEIGHT] = [&[]; HEIGHT];
        for k in 0..HEIGHT {
            a[k] = E::vectors::<S>(&outputs[k * stride + start..][..filled]);
        }
        let mut b: [&[E::Vector<S>]; WIDE] = [&[]; WIDE];
        for k in 0..WIDE {
            b[k] = E::vectors::<S>(&inputs[k * stride + shifted..][..filled]);
        }
        let mut sums = [[E::splat(simd, E::default()); WIDE]; HEIGHT];
        for at in 0..filled / E::lanes::<S>() {
            for i in 0..HEIGHT {
                for k in 0..WIDE {
                    sums[i][k] = E::fused_vectors(simd, a[i][at], b[k][at], sums[i][k]);
                }
            }
        }
        for i in 0..HEIGHT {
            let at = ((row + i) * self.kernel * self.kernel + tap) * self.width + column;
            for (into, &part) in self.sums[at..at + WIDE].iter_mut().zip(&sums[i]) {
                *into = *into + E::total(simd, part);
            }
        }
    }
}

/// The sum of parts, in pairs.
#[inline(always)]
fn total<E: Element>(parts: [E; PART]) -> E {
    let [a, b, c, d, e, f, g, h] = parts;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

struct Sums<'a, E> {
    runs: Runs,
    sums: &'a mut [E],
    of: &'a [E],
}

impl<E: Element> WithSimd for Sums<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let stride = self.runs.stride();
        for block in self.of.chunks_exact(self.runs.block(self.sums.len()).max(1)) {
            for (sum, run) in self.sums.iter_mut().zip(block.chunks_exact(stride)) {
                let mut parts = [E::default(); PART];
                for line in run[self.runs.computed()].chunks_exact(PART) {
                    parts.iter_mut().zip(line).for_each(|(part, &v)| *part = *part + v);
                }
                *sum = *sum + total(parts);
            }
        }
    }
}

#[cfg(test)]
#[path = "product_tests.rs"]
mod tests;
