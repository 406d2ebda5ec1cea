use super::split::Parts;
use super::Split;
use crate::backend::cpu::elementwise::add;
use crate::engine::{Builder, Pass, Scratch, State, Values};
use crate::lipschitz::linear::coupled;
use crate::lipschitz::{
    up, Amplification, Cell, Interval, IntervalMatrix, MeanValue, Probe, Slopes,
};
use crate::nets::{Conditioner, LastLayer};
use crate::transforms::Transform;
use crate::{Block, Facts, LogDet, Result, Scalar, Shape};

/// Passes a part `a` of the features unchanged and transforms the other, `b`, with parameters that
/// a net makes of `a` and the context (Dinh et al. 2017, "Density estimation using Real NVP").
///
/// `N` is the net, a [`Conditioner`]; `T` the scalar map, a [`Transform`] with p parameters. The
/// net's input is `a`, then the context, at every pixel of an image. Its output is feature-major:
/// entry `feature·p + parameter`, at every pixel of an image. A checkerboard's net sees all channels
/// of the kept pixels and zeros at the others, gives parameters of all channels, and is read at the
/// others alone. Both parts go back to their places.
///
/// The log-determinant is the sum of the transform's log-slopes over `b`. Parameters are those of the
/// net, whose last layer starts as the transform asks: at the identity, or as near as its options
/// allow. The inverse reads `a`, which it still has, and so costs as much as the forward direction.
#[derive(Clone, Debug)]
pub struct Coupling<N, T> {
    shape: Shape,
    /// The kept entries with their places in the net's input, where each pixel's context follows.
    parts: Parts,
    context: usize,
    transform: T,
    net: N,
}

impl<N, T: Transform> Coupling<N, T> {
    /// A coupling with `context` numbers of context a row, whose net
    /// `net(builder, inputs, outputs, last_layer)` makes: from vectors or images of the kept
    /// features and the context to `outputs` numbers, at every pixel.
    ///
    /// # Errors
    /// [`FlowError::Option`](crate::FlowError::Option) where the split leaves nothing to transform
    /// or does not fit the shape, or an option of the transform is out of its range; and the net's
    /// own.
    pub fn new<E: Scalar>(
        builder: &mut Builder<E>,
        shape: Shape,
        context: usize,
        split: Split,
        transform: T,
        net: impl FnOnce(&mut Builder<E>, Shape, usize, LastLayer<'_>) -> Result<N>,
    ) -> Result<Self> {
        transform.check()?;
        let mut parts = split.parts(shape)?;
        for (place, _) in &mut parts.kept {
            *place += *place / parts.read * context;
        }
        let p = transform.parameters();
        let inputs = shape.with_features(parts.read + context);
        let last = LastLayer { start: &|output| Some(transform.start(output % p)) };
        let net = net(builder, inputs, parts.written * p, last)?;
        Ok(Self { shape, parts, context, transform, net })
    }

    /// The net's input: at every pixel the kept features, then the context.
    fn input<E: Scalar>(&self, pass: &mut Pass<'_, E>, x: &[E]) -> Scratch<E> {
        let each = self.parts.read + self.context;
        let width = each * self.shape.pixels();
        // Zeros stay where a checkerboard hides a pixel.
        let mut input = pass.take_zeroed(pass.rows() * width);
        if width > 0 {
            for (row, from) in input.chunks_exact_mut(width).zip(x.chunks_exact(self.shape.size()))
            {
                for &(place, entry) in &self.parts.kept {
                    row[place] = from[entry];
                }
            }
        }
        if self.context > 0 {
            let context = pass.context().chunks_exact(self.context);
            for (row, from) in input.chunks_exact_mut(width).zip(context) {
                for pixel in row.chunks_exact_mut(each) {
                    pixel[self.parts.read..].copy_from_slice(from);
                }
            }
        }
        input
    }

    /// The transformed features of all rows.
    fn gather<E: Scalar>(&self, pass: &mut Pass<'_, E>, x: &[E]) -> Scratch<E> {
        let mut part = pass.take(pass.rows() * self.parts.moved.len());
        let rows = part.chunks_exact_mut(self.parts.moved.len());
        for (row, from) in rows.zip(x.chunks_exact(self.shape.size())) {
            row.iter_mut().zip(&self.parts.moved).for_each(|(v, &(_, i))| *v = from[i]);
        }
        part
    }

    /// Puts the transformed features back.
    fn scatter<E: Scalar>(&self, part: &[E], x: &mut [E]) {
        let rows = part.chunks_exact(self.parts.moved.len());
        for (row, to) in rows.zip(x.chunks_exact_mut(self.shape.size())) {
            row.iter().zip(&self.parts.moved).for_each(|(&v, &(_, i))| to[i] = v);
        }
    }

    /// Whether the net writes the parameters of transformed features and nothing else.
    fn reads_all(&self) -> bool {
        self.parts.moved.len() == self.parts.written * self.shape.pixels()
    }

    /// The parameters of the transformed features, out of all that the net wrote.
    fn select<E: Scalar>(&self, pass: &mut Pass<'_, E>, written: Scratch<E>) -> Scratch<E> {
        if self.reads_all() {
            return written;
        }
        let p = self.transform.parameters();
        let mut selected = pass.take(pass.rows() * self.parts.moved.len() * p);
        let rows = selected.chunks_exact_mut(self.parts.moved.len() * p);
        let width = self.parts.written * self.shape.pixels() * p;
        for (row, from) in rows.zip(written.chunks_exact(width)) {
            for (to, &(place, _)) in row.chunks_exact_mut(p).zip(&self.parts.moved) {
                to.copy_from_slice(&from[place * p..][..p]);
            }
        }
        pass.give(written);
        selected
    }

    /// The transpose of [`select`](Self::select).
    fn spread<E: Scalar>(&self, pass: &mut Pass<'_, E>, selected: Scratch<E>) -> Scratch<E> {
        if self.reads_all() {
            return selected;
        }
        let p = self.transform.parameters();
        let width = self.parts.written * self.shape.pixels() * p;
        let mut written = pass.take_zeroed(pass.rows() * width);
        let rows = written.chunks_exact_mut(width);
        for (row, from) in rows.zip(selected.chunks_exact(self.parts.moved.len() * p)) {
            for (from, &(place, _)) in from.chunks_exact(p).zip(&self.parts.moved) {
                row[place * p..][..p].copy_from_slice(from);
            }
        }
        pass.give(selected);
        written
    }

    /// The transformed part and its parameters.
    fn condition<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        x: &[E],
    ) -> Result<(Scratch<E>, Scratch<E>)>
    where
        N: Conditioner<E>,
    {
        let input = self.input(pass, x);
        let mut written = pass.take(pass.rows() * self.net.outputs());
        self.net.forward(pass, &input, &mut written)?;
        pass.give(input);
        let parameters = self.select(pass, written);
        Ok((self.gather(pass, x), parameters))
    }

    /// What the net reads on a cell: the kept numbers and the context.
    fn inputs_on(&self, context: &[Interval], cell: &Cell) -> Cell {
        let each = self.parts.read + self.context;
        let width = each * self.shape.pixels();
        let mut inputs = Cell::around(vec![Interval::ZERO; width]);
        for &(place, entry) in &self.parts.kept {
            (inputs.centre[place], inputs.sides[place]) = (cell.centre[entry], cell.sides[entry]);
        }
        let context = Cell::around(context.to_vec());
        for at in (self.parts.read..width).step_by(each.max(1)).filter(|_| self.context > 0) {
            inputs.centre[at..at + self.context].copy_from_slice(&context.centre);
            inputs.sides[at..at + self.context].copy_from_slice(&context.sides);
        }
        inputs
    }

    /// The coupling on a cell, from its net as a map of the kept numbers, which gives those
    /// `parameters` on the box.
    fn steer(
        &self,
        net: &MeanValue,
        parameters: &[Interval],
        cell: &Cell,
        backwards: bool,
    ) -> MeanValue {
        let (p, d) = (self.transform.parameters(), self.shape.size());
        let mut centre = cell.point();
        let mut entries = IntervalMatrix::identity(d).intervals();
        for &(place, entry) in &self.parts.moved {
            let at = place * p..(place + 1) * p;
            let middle = &net.centre[at.clone()];
            centre[entry] = self.transform.enclose(centre[entry], middle, backwards).value;
            let here = &parameters[at.clone()];
            let bent = self.transform.enclose(cell.sides[entry], here, backwards);
            let row = &mut entries[entry * d..][..d];
            row[entry] = if backwards { bent.slope.recip() } else { bent.slope };
            for (k, &(_, kept)) in self.parts.kept.iter().enumerate() {
                let each = bent.by_parameters.iter().zip(at.clone());
                let terms = each.map(|(&by, output)| by * net.jacobian.entry(output, k));
                let moved = terms.fold(Interval::ZERO, |sum, term| sum + term);
                // x moves against z.
                row[kept] = if backwards { -moved / bent.slope } else { moved };
            }
        }
        MeanValue { centre, jacobian: IntervalMatrix::from_intervals(d, d, &entries) }
    }

    /// Bounds from the entries of the Jacobian and of its inverse.
    fn by_entries(&self, found: [IntervalMatrix; 2]) -> Amplification {
        let [kept, moved] = [&self.parts.kept, &self.parts.moved]
            .map(|part| part.iter().map(|&(_, entry)| entry).collect::<Vec<_>>());
        let norms = found.map(|jacobian| {
            let steered = jacobian.taken(&moved, &kept).norm();
            let slopes = moved.iter().map(|&i| jacobian.entry(i, i).magnitude());
            (steered, slopes.fold(0.0, f64::max))
        });
        let [own, published] = [coupled, |m: f64, g: f64| up(g.max(1.0) + m)]
            .map(|bound: fn(f64, f64) -> f64| norms.map(|(m, g)| bound(m, g)));
        Amplification::certified(own[0], own[1]).beside_published(published[0], published[1])
    }

    /// Keeps what [`product`](Self::product) needs.
    fn keep<E: Scalar>(&self, pass: &mut Pass<'_, E>, x: Scratch<E>, parameters: Scratch<E>) {
        pass.save_or_give(x);
        pass.save_or_give(parameters);
    }

    /// The product of either direction, which differ in that of the transform alone.
    fn product<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        gradient: &mut [E],
        transform: impl FnOnce(&[E], &mut [E], &mut [E]),
    ) -> Result<()>
    where
        N: Conditioner<E>,
    {
        let mut parameters = pass.restore();
        let x = pass.restore();
        let mut part = self.gather(pass, gradient);
        transform(&x, &mut parameters, &mut part);
        self.scatter(&part, gradient);
        pass.give(part);
        pass.give(x);

        let each = self.parts.read + self.context;
        let width = each * self.shape.pixels();
        let mut by_output = self.spread(pass, parameters);
        let mut by_input = pass.take(pass.rows() * width);
        self.net.vjp(pass, &mut by_output, &mut by_input)?;
        pass.give(by_output);
        if width > 0 {
            let rows = by_input.chunks_exact(width);
            for (row, to) in rows.zip(gradient.chunks_exact_mut(self.shape.size())) {
                for &(place, entry) in &self.parts.kept {
                    to[entry] += row[place];
                }
            }
        }
        if self.context > 0 {
            let context = pass.context_gradient().chunks_exact_mut(self.context);
            for (row, to) in by_input.chunks_exact(width).zip(context) {
                row.chunks_exact(each).for_each(|pixel| add(to, &pixel[self.parts.read..]));
            }
        }
        pass.give(by_input);
        Ok(())
    }
}

impl<E: Scalar, N: Conditioner<E>, T: Transform> Block<E> for Coupling<N, T> {
    const SAVES_ALIKE: bool = true;

    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        let (mut part, mut parameters) = self.condition(pass, x)?;
        let before = pass.take_copy(&part);
        self.transform.forward(&mut part, &mut parameters, log_det);
        self.scatter(&part, x);
        pass.give(part);
        self.keep(pass, before, parameters);
        Ok(())
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        let (mut part, mut parameters) = self.condition(pass, z)?;
        self.transform.inverse(&mut part, &mut parameters, log_det);
        self.scatter(&part, z);
        self.keep(pass, part, parameters);
        Ok(())
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.product(pass, gradient, |x, parameters, part| {
            self.transform.forward_vjp(x, parameters, part, log_det);
        })
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.product(pass, gradient, |x, parameters, part| {
            self.transform.inverse_vjp(x, parameters, part, log_det);
        })
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        self.net.prepare(values, derived)
    }

    fn finish(&self, state: &State<E>, derived_gradient: &[E], gradient: &mut [E]) -> Result<()> {
        self.net.finish(state, derived_gradient, gradient)
    }

    /// The Jacobian is `[[I, 0], [M, G]]` with the transform's slopes G, and `M = Σ Dₚ·Jₚ` over its
    /// parameters: Jₚ is the net's Jacobian of that parameter, Dₚ the transform's slope by it. Its
    /// norm is at most that of the 2 × 2 matrix of the blocks' norms, tighter than the published
    /// max(1, ‖G‖) + ‖M‖ (Behrmann et al. 2021, table 3). The inverse has `−G⁻¹M` and `G⁻¹`.
    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        if let Some(found) = probe.closely() {
            return Ok(self.by_entries(found));
        }
        let (p, written) = (self.transform.parameters(), self.parts.written);
        let each = self.parts.read + self.context;
        let mut input = vec![Interval::ZERO; each * self.shape.pixels()];
        for &(place, entry) in &self.parts.kept {
            input[place] = probe.region()[entry];
        }
        if self.context > 0 {
            let context = probe.context().to_vec();
            for pixel in input.chunks_exact_mut(each) {
                pixel[self.parts.read..].copy_from_slice(&context);
            }
        }
        let net = self.net.enclose(probe.state(), &input, self.context);
        let backwards = probe.backwards();
        // For each output of the net at a pixel: how far it moves the result, and the inverse's.
        let (mut there, mut back) = (vec![0.0_f64; written * p], vec![0.0_f64; written * p]);
        let (mut most, mut least) = (0.0_f64, f64::INFINITY);
        for &(place, entry) in &self.parts.moved {
            let parameters = &net.output[place * p..][..p];
            let region = probe.region();
            let bent = self.transform.enclose(region[entry], parameters, backwards);
            region[entry] = bent.value;
            (most, least) = (most.max(bent.slope.high), least.min(bent.slope.low));
            let at = place % written * p;
            for (k, by) in bent.by_parameters.into_iter().enumerate() {
                let by = by.magnitude();
                there[at + k] = there[at + k].max(by);
                let by = if by == 0.0 { 0.0 } else { (by / bent.slope.low).next_up() };
                back[at + k] = back[at + k].max(by);
            }
        }
        let steered = |scale: &[f64]| {
            let one = |k: usize| {
                let only = |(i, &by): (usize, &f64)| if i % p == k { by } else { 0.0 };
                net.norm(&scale.iter().enumerate().map(only).collect::<Vec<_>>())
            };
            let apart = (0..p).map(one).fold(0.0, |sum, norm| up(sum + norm));
            // All at once, by Cauchy's inequality: each row of M is a sum of p.
            let together = up((p as f64).sqrt().next_up() * net.norm(scale));
            apart.min(together)
        };
        let (m, n) = (steered(&there), steered(&back));
        let narrow = (1.0 / least).next_up();
        let found = Amplification::certified(coupled(m, most), coupled(n, narrow));
        Ok(found.beside_published(up(most.max(1.0) + m), up(narrow.max(1.0) + n)))
    }

    /// With m the norm of an additive coupling's net, both bounds are `b = (m + √(m² + 4))/2`, and
    /// `∂ ln b/∂ ln m` is `m/√(m² + 4)`.
    fn add_bound_slopes(&self, state: &State<E>, by: [f64; 2], to: &mut Slopes<E>) -> bool {
        T::LOG_DET == LogDet::Zero
            && self.net.add_norm_slopes(state, self.context, to, |m| {
                (by[0] + by[1]) * m / (m * m + 4.0).sqrt()
            })
    }

    /// The Jacobian's entries, or those of its inverse.
    fn mean_value(&self, probe: &mut Probe<'_, E>, cell: &Cell) -> Result<Option<MeanValue>> {
        let inputs = self.inputs_on(probe.context(), cell);
        let Some(net) = self.net.mean_value(probe.state(), &inputs) else { return Ok(None) };
        let places: Vec<usize> = self.parts.kept.iter().map(|&(place, _)| place).collect();
        let net = net.of_numbers(&inputs, &places);
        let kept = cell.part(self.parts.kept.iter().map(|&(_, entry)| entry));
        Ok(Some(self.steer(&net, &net.image(&kept), cell, probe.backwards())))
    }

    super::lowered!(record, record_weights);

    /// An affine or spline coupling has no global constant: its Jacobian grows with the input, or
    /// its slopes have no bound (Behrmann et al. 2021, "Understanding and mitigating exploding
    /// inverses", theorem 2). The Jacobian of an additive one is unit triangular with the net's
    /// below the diagonal: for ‖J_net‖ = c its norm is at most that of [[1, 0], [c, 1]], which is
    /// (c + √(c² + 4))/2, and its inverse has −J_net in the same place.
    fn facts(&self) -> Facts {
        let closed = Facts {
            analytic_inverse: true,
            memory_saving: true,
            log_det: T::LOG_DET,
            ..Facts::UNKNOWN
        };
        if T::LOG_DET != LogDet::Zero {
            return closed;
        }
        let c = self.net.lipschitz();
        let bound = 0.5 * (c + (c * c + 4.0).sqrt());
        Facts { bi_lipschitz: self.net.is_lipschitz(), forward: bound, inverse: bound, ..closed }
    }
}

#[cfg(feature = "cuda")]
#[path = "coupling_lowering.rs"]
mod lowering;

#[cfg(test)]
#[path = "coupling_tests.rs"]
mod tests;
