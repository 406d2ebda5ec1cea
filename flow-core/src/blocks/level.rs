use super::non_empty;
use crate::engine::{Pass, Setup, State, Values};
use crate::lipschitz::{Amplification, Probe};
use crate::{Block, Facts, FlowError, Result, Scalar, Shape};

/// One level of a multi-scale flow: its body, after which the first `keep` features go on to `next`
/// and the rest is latent (Dinh et al. 2017, "Density estimation using Real NVP", section 3.6).
///
/// A row of the result is the rest, flattened by channels, rows and columns, then what `next` made
/// of the features that went on.
#[derive(Clone, Debug)]
pub struct Level<B, N> {
    body: B,
    next: N,
    parts: Parts,
}

/// The last level of a multi-scale flow: its body, then the result flattened by channels, rows and
/// columns.
#[derive(Clone, Debug)]
pub struct LastLevel<B> {
    body: B,
    parts: Parts,
}

impl<B, N> Level<B, N> {
    /// A level whose body gives `shape`; `next` takes that with `keep` features.
    ///
    /// # Errors
    /// Where `keep` leaves nothing for `next` or for the latent, or `shape` holds no numbers.
    pub fn new(body: B, next: N, shape: Shape, keep: usize) -> Result<Self> {
        let features = non_empty(shape)?.features();
        if !(1..features).contains(&keep) {
            let expected = format!("at least 1 and less than the {features} features of {shape}");
            return Err(FlowError::option("keep", keep, expected));
        }
        Ok(Self { body, next, parts: Parts { shape, keep } })
    }
}

impl<B> LastLevel<B> {
    /// A level whose body gives `shape`.
    ///
    /// # Errors
    /// Where `shape` holds no numbers.
    pub fn new(body: B, shape: Shape) -> Result<Self> {
        Ok(Self { body, parts: Parts { shape: non_empty(shape)?, keep: 0 } })
    }
}

/// What goes on and what stays, on rows of `shape`.
#[derive(Clone, Copy, Debug)]
struct Parts {
    shape: Shape,
    keep: usize,
}

impl Parts {
    /// Numbers of a row that go on.
    fn kept(self) -> usize {
        self.keep * self.shape.pixels()
    }

    /// Takes the features that go on out of each row, channels-last as they came, and brings the
    /// rest, flattened, to the row's front.
    fn split<E: Copy>(self, x: &mut [E], kept: &mut [E], scratch: &mut [E]) {
        let (features, pixels) = (self.shape.features(), self.shape.pixels());
        for (i, row) in x.chunks_exact_mut(scratch.len()).enumerate() {
            scratch.copy_from_slice(row);
            let kept = &mut kept[i * self.kept()..][..self.kept()];
            for (at, pixel) in scratch.chunks_exact(features).enumerate() {
                kept[at * self.keep..][..self.keep].copy_from_slice(&pixel[..self.keep]);
                for (channel, &value) in pixel[self.keep..].iter().enumerate() {
                    row[channel * pixels + at] = value;
                }
            }
        }
    }

    /// The inverse of [`split`](Self::split).
    fn join<E: Copy>(self, x: &mut [E], kept: &[E], scratch: &mut [E]) {
        let (features, pixels) = (self.shape.features(), self.shape.pixels());
        for (i, row) in x.chunks_exact_mut(scratch.len()).enumerate() {
            scratch.copy_from_slice(row);
            let kept = &kept[i * self.kept()..][..self.kept()];
            for (at, pixel) in row.chunks_exact_mut(features).enumerate() {
                pixel[..self.keep].copy_from_slice(&kept[at * self.keep..][..self.keep]);
                for (channel, value) in pixel[self.keep..].iter_mut().enumerate() {
                    *value = scratch[channel * pixels + at];
                }
            }
        }
    }

    /// The end of each row, behind the rest.
    fn ends<E>(self, x: &mut [E]) -> impl Iterator<Item = &mut [E]> {
        let rest = self.shape.size() - self.kept();
        x.chunks_exact_mut(self.shape.size()).map(move |row| &mut row[rest..])
    }

    /// Splits a probe's box where it comes from the data, lets `ask` take the part that goes on, and
    /// joins it where the probe goes backwards.
    fn visit<E: Scalar>(
        self,
        probe: &mut Probe<'_, E>,
        ask: impl FnOnce(&mut Probe<'_, E>) -> Result<Amplification>,
    ) -> Result<Amplification> {
        let (mut row, backwards) = (std::mem::take(probe.region()), probe.backwards());
        let mut scratch = row.clone();
        let rest = row.len() - self.kept();
        let mut kept = row[rest..].to_vec();
        let mut order: Vec<usize> = (0..row.len()).collect();
        let (mut places, mut ordered) = (order.clone(), order[rest..].to_vec());
        if !backwards {
            self.split(&mut row, &mut kept, &mut scratch);
            self.split(&mut order, &mut ordered, &mut places);
            order[rest..].copy_from_slice(&ordered);
            probe.reorder(&order);
        }
        *probe.region() = kept;
        probe.move_start(rest as isize);
        let found = ask(probe);
        probe.move_start(-(rest as isize));
        let kept = std::mem::take(probe.region());
        if backwards {
            self.join(&mut row, &kept, &mut scratch);
            self.join(&mut order, &ordered, &mut places);
            probe.reorder(&order);
        } else {
            row[rest..].copy_from_slice(&kept);
        }
        *probe.region() = row;
        found
    }

    /// Splits, lets `run` change the part that goes on, and puts it at each row's end.
    fn onwards<E: Scalar>(
        self,
        pass: &mut Pass<'_, E>,
        x: &mut [E],
        run: impl FnOnce(&mut Pass<'_, E>, &mut [E]) -> Result<()>,
    ) -> Result<()> {
        let mut scratch = pass.take(self.shape.size());
        let mut kept = pass.take(pass.rows() * self.kept());
        self.split(x, &mut kept, &mut scratch);
        pass.give(scratch);
        let ran = run(pass, &mut kept);
        self.ends(x).enumerate().for_each(|(i, end)| {
            end.copy_from_slice(&kept[i * self.kept()..][..self.kept()]);
        });
        pass.give(kept);
        ran
    }

    /// Lets `run` change each row's end, and joins.
    fn backwards<E: Scalar>(
        self,
        pass: &mut Pass<'_, E>,
        x: &mut [E],
        run: impl FnOnce(&mut Pass<'_, E>, &mut [E]) -> Result<()>,
    ) -> Result<()> {
        let mut kept = pass.take(pass.rows() * self.kept());
        self.ends(x).enumerate().for_each(|(i, end)| {
            kept[i * self.kept()..][..self.kept()].copy_from_slice(end);
        });
        let ran = pass.beside(|pass| run(pass, &mut kept));
        let mut scratch = pass.take(self.shape.size());
        self.join(x, &kept, &mut scratch);
        pass.give(scratch);
        pass.give(kept);
        ran
    }
}

impl<E: Scalar, B: Block<E>, N: Block<E>> Block<E> for Level<B, N> {
    const COMPOSITE: bool = true;

    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        pass.forward(&self.body, x, log_det)?;
        self.parts.onwards(pass, x, |pass, x| pass.forward(&self.next, x, log_det))
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        self.parts.backwards(pass, z, |pass, z| pass.inverse(&self.next, z, log_det))?;
        pass.inverse(&self.body, z, log_det)
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.parts.backwards(pass, gradient, |pass, g| pass.forward_vjp(&self.next, g, log_det))?;
        pass.forward_vjp(&self.body, gradient, log_det)
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        pass.inverse_vjp(&self.body, gradient, log_det)?;
        self.parts.onwards(pass, gradient, |pass, g| pass.inverse_vjp(&self.next, g, log_det))
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        self.body.prepare(values, derived)?;
        self.next.prepare(values, derived)
    }

    fn finish(&self, state: &State<E>, from: &[E], gradient: &mut [E]) -> Result<()> {
        self.body.finish(state, from, gradient)?;
        self.next.finish(state, from, gradient)
    }

    fn initialize(&self, setup: &mut Setup<'_, E>, x: &mut [E]) -> Result<()> {
        setup.initialize(&self.body, x)?;
        let mut scratch = vec![E::zero(); self.parts.shape.size()];
        let mut kept = vec![E::zero(); setup.rows() * self.parts.kept()];
        self.parts.split(x, &mut kept, &mut scratch);
        setup.initialize(&self.next, &mut kept)?;
        for (end, kept) in self.parts.ends(x).zip(kept.chunks_exact(self.parts.kept())) {
            end.copy_from_slice(kept);
        }
        Ok(())
    }

    fn project(&self, values: &mut Values<E>) {
        self.body.project(values);
        self.next.project(values);
    }

    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        if probe.backwards() {
            let next = self.parts.visit(probe, |probe| probe.visit(&self.next))?;
            return Ok(next.beside_identity().then(probe.visit(&self.body)?));
        }
        let body = probe.visit(&self.body)?;
        let next = self.parts.visit(probe, |probe| probe.visit(&self.next))?;
        Ok(body.then(next.beside_identity()))
    }

    fn facts(&self) -> Facts {
        let next = self.next.facts();
        // What does not go on stays as it is, so the two together are not below 1.
        let (forward, inverse) = (next.forward.max(1.0), next.inverse.max(1.0));
        self.body.facts().then(Facts { forward, inverse, ..next })
    }
}

impl<E: Scalar, B: Block<E>> Block<E> for LastLevel<B> {
    const COMPOSITE: bool = true;

    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        pass.forward(&self.body, x, log_det)?;
        self.parts.onwards(pass, x, |_, _| Ok(()))
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        self.parts.backwards(pass, z, |_, _| Ok(()))?;
        pass.inverse(&self.body, z, log_det)
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.parts.backwards(pass, gradient, |_, _| Ok(()))?;
        pass.forward_vjp(&self.body, gradient, log_det)
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        pass.inverse_vjp(&self.body, gradient, log_det)?;
        self.parts.onwards(pass, gradient, |_, _| Ok(()))
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        self.body.prepare(values, derived)
    }

    fn finish(&self, state: &State<E>, from: &[E], gradient: &mut [E]) -> Result<()> {
        self.body.finish(state, from, gradient)
    }

    fn initialize(&self, setup: &mut Setup<'_, E>, x: &mut [E]) -> Result<()> {
        setup.initialize(&self.body, x)?;
        self.parts.split(x, &mut [], &mut vec![E::zero(); self.parts.shape.size()]);
        Ok(())
    }

    fn project(&self, values: &mut Values<E>) {
        self.body.project(values);
    }

    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        let same = |_: &mut Probe<'_, E>| Ok(Amplification::ISOMETRY);
        if probe.backwards() {
            self.parts.visit(probe, same)?;
            return probe.visit(&self.body);
        }
        let body = probe.visit(&self.body)?;
        self.parts.visit(probe, same)?;
        Ok(body)
    }

    fn facts(&self) -> Facts {
        self.body.facts()
    }
}

#[cfg(test)]
#[path = "level_tests.rs"]
mod tests;
