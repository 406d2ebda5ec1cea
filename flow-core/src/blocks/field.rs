//! A net from samples to vectors of the same size, with its Jacobian by the sample.

use std::ops::Range;

use super::probe::Trace;
use crate::backend::cpu::elementwise::add;
use crate::engine::{Builder, Pass, Scratch, State, Values};
use crate::lipschitz::{Cell, Enclosure, Interval, MeanValue, Probe};
use crate::nets::{Differentiable, LastLayer, Linearization, Pushed};
use crate::{Result, Scalar, Shape};

/// A vector field: the net of a residual or continuous block.
///
/// At every pixel the net reads the features of x, then the context, then the time where there is
/// one; all of that but x is constant for the Jacobian. Tangents and cotangents here are as long as
/// a sample, `rows × count × size` numbers.
#[derive(Clone, Debug)]
pub(super) struct Field<N> {
    shape: Shape,
    context: usize,
    timed: bool,
    net: N,
}

impl<N> Field<N> {
    /// A field whose net starts at zero, where the net's options do not say otherwise.
    pub(super) fn new<E: Scalar>(
        builder: &mut Builder<E>,
        shape: Shape,
        context: usize,
        timed: bool,
        net: impl FnOnce(&mut Builder<E>, Shape, usize, LastLayer<'_>) -> Result<N>,
    ) -> Result<Self> {
        let shape = super::non_empty(shape)?;
        let inputs = shape.with_features(shape.features() + context + usize::from(timed));
        let last = LastLayer { start: &|_| Some(0.0) };
        let net = net(builder, inputs, shape.features(), last)?;
        Ok(Self { shape, context, timed, net })
    }

    pub(super) fn net(&self) -> &N {
        &self.net
    }

    /// Numbers of a sample.
    pub(super) fn size(&self) -> usize {
        self.shape.size()
    }

    /// Numbers that the net reads at a pixel beside the features.
    pub(super) fn beside(&self) -> usize {
        self.context + usize::from(self.timed)
    }

    /// Numbers that the net reads at a pixel.
    fn each(&self) -> usize {
        self.shape.features() + self.beside()
    }

    /// The net on a box, at the contexts of a probe and any time.
    pub(super) fn enclose<E: Scalar>(&self, probe: &Probe<'_, E>, x: &[Interval]) -> Enclosure
    where
        N: Differentiable<E>,
    {
        self.enclose_at(probe, x, Interval::EVERYTHING)
    }

    /// The net on a box, at the contexts of a probe and those times.
    pub(super) fn enclose_at<E: Scalar>(
        &self,
        probe: &Probe<'_, E>,
        x: &[Interval],
        time: Interval,
    ) -> Enclosure
    where
        N: Differentiable<E>,
    {
        let mut input = Vec::with_capacity(self.each() * self.shape.pixels());
        for pixel in x.chunks_exact(self.shape.features()) {
            input.extend_from_slice(pixel);
            input.extend_from_slice(probe.context());
            input.extend(self.timed.then_some(time));
        }
        self.net.enclose(probe.state(), &input, self.beside())
    }

    /// The net on a cell, as a map of the sample, at the contexts of a probe.
    pub(super) fn mean_value<E: Scalar>(
        &self,
        probe: &Probe<'_, E>,
        cell: &Cell,
    ) -> Option<MeanValue>
    where
        N: Differentiable<E>,
    {
        let (features, each) = (self.shape.features(), self.each());
        let mut sides = Vec::with_capacity(each * self.shape.pixels());
        for pixel in cell.sides.chunks_exact(features) {
            sides.extend_from_slice(pixel);
            sides.extend_from_slice(probe.context());
            sides.extend(self.timed.then_some(Interval::EVERYTHING));
        }
        let mut inputs = Cell::around(sides);
        let pixels = inputs.centre.chunks_exact_mut(each);
        pixels.zip(cell.centre.chunks_exact(features)).for_each(|(pixel, centre)| {
            pixel[..features].copy_from_slice(centre);
        });
        let numbers = (0..each * self.shape.pixels()).filter(|i| i % each < features);
        let numbers: Vec<usize> = numbers.collect();
        let net = self.net.mean_value(probe.state(), &inputs)?;
        Some(net.of_numbers(&inputs, &numbers))
    }

    /// Outputs of the net at a pixel.
    pub(super) fn features(&self) -> usize {
        self.shape.features()
    }

    /// What the net reads; `time` holds one number for each row, or nothing.
    fn input<E: Scalar>(&self, pass: &mut Pass<'_, E>, x: &[E], time: &[E]) -> Scratch<E> {
        let mut input = self.widen(pass, x);
        if self.beside() == 0 {
            return input;
        }
        let (features, context) = (self.shape.features(), pass.context());
        for (row, input) in input.chunks_exact_mut(self.each() * self.shape.pixels()).enumerate() {
            for pixel in input.chunks_exact_mut(self.each()) {
                let (own, time_at) = pixel[features..].split_at_mut(self.context);
                own.copy_from_slice(&context[row * self.context..][..self.context]);
                if self.timed {
                    time_at[0] = time[row];
                }
            }
        }
        input
    }

    /// Vectors as long as a sample as the net reads them, with zeros beside the features.
    fn widen<E: Scalar>(&self, pass: &mut Pass<'_, E>, from: &[E]) -> Scratch<E> {
        if self.beside() == 0 {
            return pass.take_copy(from);
        }
        let (features, each) = (self.shape.features(), self.each());
        let mut wide = pass.take(from.len() / features * each);
        for (pixel, from) in wide.chunks_exact_mut(each).zip(from.chunks_exact(features)) {
            pixel[..features].copy_from_slice(from);
            pixel[features..].fill(E::zero());
        }
        wide
    }

    /// The part of what the net reads that is the sample.
    fn narrow<E: Scalar>(&self, wide: &[E], to: &mut [E]) {
        let (features, each) = (self.shape.features(), self.each());
        for (to, pixel) in to.chunks_exact_mut(features).zip(wide.chunks_exact(each)) {
            to.copy_from_slice(&pixel[..features]);
        }
    }

    /// Adds what a gradient by the net's input says of the context to the pass.
    fn add_context_gradient<E: Scalar>(&self, pass: &mut Pass<'_, E>, wide: &[E]) {
        if self.context == 0 {
            return;
        }
        let (features, each) = (self.shape.features(), self.each());
        let rows = wide.chunks_exact(each * self.shape.pixels());
        for (to, row) in pass.context_gradient().chunks_exact_mut(self.context).zip(rows) {
            row.chunks_exact(each).for_each(|pixel| add(to, &pixel[features..][..to.len()]));
        }
    }

    /// The field at x, without anything kept.
    pub(super) fn evaluate<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        x: &[E],
        time: &[E],
        output: &mut [E],
    ) -> Result<()>
    where
        N: Differentiable<E>,
    {
        let input = self.input(pass, x, time);
        pass.with_saving(false, |pass| self.net.forward(pass, &input, output))?;
        pass.give(input);
        Ok(())
    }

    /// The field at x, keeping what the Jacobian needs, and its gradient where `twice`.
    pub(super) fn linearize<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        x: &[E],
        time: &[E],
        output: &mut [E],
        twice: bool,
    ) -> Result<Linearization<E>>
    where
        N: Differentiable<E>,
    {
        let input = self.input(pass, x, time);
        let at = self.net.linearize(pass, &input, output, twice)?;
        pass.give(input);
        Ok(at)
    }

    /// `output = J·tangent` for each.
    pub(super) fn push<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        at: &Linearization<E>,
        tangents: &[E],
        output: &mut [E],
    ) where
        N: Differentiable<E>,
    {
        let wide = self.widen(pass, tangents);
        self.net.push(pass, at, &wide, output);
        pass.give(wide);
    }

    /// As [`push`](Self::push), keeping what [`gradient`](Self::gradient) needs.
    pub(super) fn push_keeping<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        at: &Linearization<E>,
        tangents: &[E],
        output: &mut [E],
    ) -> Pushed<E>
    where
        N: Differentiable<E>,
    {
        let wide = self.widen(pass, tangents);
        let pushed = self.net.push_keeping(pass, at, &wide, output);
        pass.give(wide);
        pushed
    }

    /// `output = Jᵀ·cotangent` for each.
    pub(super) fn pull<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        at: &Linearization<E>,
        cotangents: &[E],
        output: &mut [E],
    ) where
        N: Differentiable<E>,
    {
        let mut wide = pass.take(cotangents.len() / self.shape.features() * self.each());
        self.net.pull(pass, at, cotangents, &mut wide);
        self.narrow(&wide, output);
        pass.give(wide);
    }

    /// The gradient of `⟨by_output, field(x)⟩ + Σ ⟨cotangent, J·tangent⟩` for tangents that were pushed:
    /// that by x overwrites `by_x`, those of parameters and context are added to the pass.
    pub(super) fn gradient<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        at: &Linearization<E>,
        tangents: Pushed<E>,
        by_output: &[E],
        cotangents: &[E],
        by_x: &mut [E],
    ) where
        N: Differentiable<E>,
    {
        let mut wide = pass.take(by_x.len() / self.shape.features() * self.each());
        self.net.gradient(pass, at, tangents, by_output, cotangents, &mut wide);
        self.narrow(&wide, by_x);
        self.add_context_gradient(pass, &wide);
        pass.give(wide);
    }

    /// As [`gradient`](Self::gradient) with the probes of a trace as tangents, chunk by chunk;
    /// `cotangents(pass, chunk, probes)` makes what belongs to them.
    pub(super) fn gradient_in_chunks<'p, E: Scalar>(
        &self,
        pass: &mut Pass<'p, E>,
        at: &Linearization<E>,
        trace: Trace,
        by_output: &[E],
        by_x: &mut [E],
        mut cotangents: impl FnMut(&mut Pass<'p, E>, Range<usize>, &[E]) -> Scratch<E>,
    ) where
        N: Differentiable<E>,
    {
        let zeros = pass.take_zeroed(by_output.len());
        let mut part = pass.take(by_x.len());
        by_x.fill(E::zero());
        for (i, chunk) in trace.chunks(pass.rows(), self.size()).enumerate() {
            let probes = trace.probes(pass, self.size(), chunk.clone());
            let cotangents = cotangents(pass, chunk, &probes);
            let by_output = if i == 0 { by_output } else { &zeros };
            let mut unread = pass.take(probes.len());
            let pushed = self.push_keeping(pass, at, &probes, &mut unread);
            self.gradient(pass, at, pushed, by_output, &cotangents, &mut part);
            add(by_x, &part);
            pass.give(unread);
            pass.give(cotangents);
            pass.give(probes);
        }
        pass.give(part);
        pass.give(zeros);
    }

    /// The gradient of `⟨by_output, field(x)⟩` alone, which needs no more than the net's product.
    pub(super) fn vjp<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        x: &[E],
        time: &[E],
        by_output: &mut [E],
        by_x: &mut [E],
    ) -> Result<()>
    where
        N: Differentiable<E>,
    {
        let input = self.input(pass, x, time);
        let mut output = pass.take(by_output.len());
        let mut wide = pass.take(input.len());
        pass.with_saving(true, |pass| self.net.forward(pass, &input, &mut output))?;
        self.net.vjp(pass, by_output, &mut wide)?;
        self.narrow(&wide, by_x);
        self.add_context_gradient(pass, &wide);
        pass.give(wide);
        pass.give(output);
        pass.give(input);
        Ok(())
    }

    pub(super) fn prepare<E: Scalar>(&self, values: &Values<E>, derived: &mut [E]) -> Result<()>
    where
        N: Differentiable<E>,
    {
        self.net.prepare(values, derived)
    }

    pub(super) fn finish<E: Scalar>(
        &self,
        state: &State<E>,
        derived_gradient: &[E],
        gradient: &mut [E],
    ) -> Result<()>
    where
        N: Differentiable<E>,
    {
        self.net.finish(state, derived_gradient, gradient)
    }
}

#[cfg(feature = "cuda")]
#[path = "field_lowering.rs"]
mod lowering;
