//! A search for inputs that are reconstructed badly.

use super::probe::{distances, probe, Probe};
use crate::data::Bits;
use crate::engine::Direction;
use crate::{Architecture, FlowError, Invertible, Noise, NormalizingFlow, Result, Rows, Scalar};

/// Projected gradient ascent on the reconstruction error ‖x − F⁻¹(F(x))‖ in a neighbourhood of each
/// row (Behrmann et al. 2021, "Understanding and mitigating exploding inverses in invertible neural
/// networks", appendix E; the ascent is that of Madry et al. 2018).
///
/// A step moves every number of a row by the step size, in the direction of its gradient's sign,
/// and back into the neighbourhood. Of all inputs visited, the worst is kept: one that is no longer
/// finite, else the one with the largest error. So a search never lowers the error.
///
/// ```
/// use dfdx::prelude::*;
/// use flow_core::prelude::*;
/// use flow_core::stability::Attack;
///
/// flow! {
///     struct Tiny: Vector<2> {
///         affine_coupling(net = mlp([8], relu));
///         affine_coupling(net = mlp([8], relu));
///     }
/// }
///
/// let flow = Tiny::<f32>::build(&Cpu::default(), 0)?;
/// let data = Rows::from_rows([[0.5, 0.25], [0.75, 0.0]])?;
/// let found = Attack::ball(0.1).within(0.0, 1.0).steps(20).run(&flow, &data)?;
/// assert!(found.after.iter().zip(&found.before).all(|(after, before)| after >= before));
/// assert!(found.inputs.values().iter().all(|v| (0.0..=1.0).contains(v)));
/// # Ok::<(), FlowError>(())
/// ```
///
/// # What the gradient means
/// In exact arithmetic the error is zero everywhere, and so is its gradient. With the reconstruction
/// y = F⁻¹(F(x)) and r = x − y as computed, a step follows r − J_Fᵀ·J_{F⁻¹}ᵀ·r, both Jacobians as
/// evaluated on the way: what automatic differentiation gives for the error. The second term
/// amplifies the rounding in r by what the two Jacobians fail to undo, so the ascent is drawn to
/// where that is large. It is a heuristic: a search that finds nothing proves nothing, and
/// [restarts](Self::restarts) help. Where a gradient is zero or not finite, a step has random signs.
#[derive(Clone, Debug, PartialEq)]
pub struct Attack {
    radius: f64,
    bounds: Option<(f64, f64)>,
    step: Option<f64>,
    steps: usize,
    restarts: usize,
    seed: u64,
}

/// What an [`Attack`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Attacked<E> {
    /// The worst input near each row.
    pub inputs: Rows<E>,
    /// The reconstruction error of each row itself; infinite where it is not finite.
    pub before: Vec<f64>,
    /// The reconstruction error of each worst input; infinite where it is not finite.
    pub after: Vec<f64>,
}

impl<E> Attacked<E> {
    /// How many rows' own reconstruction is not finite.
    pub fn broken_before(&self) -> usize {
        self.before.iter().filter(|error| error.is_infinite()).count()
    }

    /// For how many rows an input was found whose reconstruction is not finite, those included.
    pub fn broken_after(&self) -> usize {
        self.after.iter().filter(|error| error.is_infinite()).count()
    }
}

impl Attack {
    /// Inputs none of whose numbers is further than `radius` from those of the row.
    pub fn ball(radius: f64) -> Self {
        Self { radius, bounds: None, step: None, steps: 200, restarts: 2, seed: 0 }
    }

    /// The cube of inputs that are all dequantised to the same levels: half width 0.5/2^bits around
    /// the middle (level + 0.5)/2^bits that the rows should hold. The density of levels cannot tell
    /// its points apart, so what is found there lies within the data.
    ///
    /// ```
    /// use flow_core::{data::Bits, stability::Attack};
    /// assert_eq!(Attack::dequantization(Bits::new(5)?), Attack::ball(0.5 / 32.0));
    /// # Ok::<(), flow_core::FlowError>(())
    /// ```
    pub fn dequantization(bits: Bits) -> Self {
        Self::ball(0.5 / f64::from(bits.levels()))
    }

    /// Only inputs whose numbers lie in a range, such as that of pixels. Rows must lie in it.
    #[must_use]
    pub fn within(mut self, low: f64, high: f64) -> Self {
        self.bounds = Some((low, high));
        self
    }

    /// How far a step moves each number: a thirtieth of the radius without.
    #[must_use]
    pub fn step(mut self, step: f64) -> Self {
        self.step = Some(step);
        self
    }

    /// How many steps a search takes: 200 without.
    #[must_use]
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// How many searches begin at each row: 2 without. The first begins at the row itself, the
    /// others anywhere in its neighbourhood.
    #[must_use]
    pub fn restarts(mut self, restarts: usize) -> Self {
        self.restarts = restarts;
        self
    }

    /// The seed of random beginnings and signs.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Searches near each row.
    ///
    /// # Errors
    /// Settings out of range, a row outside of the range, rows of another width than the flow's, or
    /// a block that is not initialised.
    pub fn run<F>(&self, flow: &F, data: &Rows<F::Scalar>) -> Result<Attacked<F::Scalar>>
    where
        F: NormalizingFlow + ?Sized,
        F::Architecture: Invertible,
    {
        self.check()?;
        let probe = probe(flow, data)?;
        let (low, high) = self.neighbourhood(data)?;
        let mut search = Search {
            probe: &probe,
            of: (0..data.len()).collect(),
            worst: data.values().to_vec(),
            errors: vec![f64::NEG_INFINITY; data.len()],
            low,
            high,
        };
        search.errors = search.measure(data.values())?.0;
        let before = search.errors.clone();
        for restart in 0..self.restarts {
            let noise = Noise::seed(self.seed).at(restart as u64);
            let begin = match restart {
                0 => data.values().to_vec(),
                _ => search.anywhere(&noise.named("begin")),
            };
            search.climb(begin, self.steps, self.step.unwrap_or(self.radius / 30.0), &noise)?;
        }
        let inputs = Rows::new(search.worst, data.width())?;
        Ok(Attacked { inputs, before, after: search.errors })
    }

    fn check(&self) -> Result<()> {
        let positive = |v: f64| v > 0.0 && v.is_finite();
        if !positive(self.radius) {
            return Err(FlowError::option("radius", self.radius, "a positive number"));
        }
        if let Some(step) = self.step.filter(|step| !positive(*step)) {
            return Err(FlowError::option("step", step, "a positive number"));
        }
        let empty = |(low, high): &(f64, f64)| low.is_nan() || high.is_nan() || low >= high;
        if let Some((low, high)) = self.bounds.filter(empty) {
            let found = format_args!("{low} to {high}").to_string();
            return Err(FlowError::option("the range", found, "a lower edge below an upper one"));
        }
        if self.restarts == 0 {
            return Err(FlowError::option("restarts", 0, "at least 1"));
        }
        Ok(())
    }

    /// The least and the largest value of each number.
    fn neighbourhood<E: Scalar>(&self, data: &Rows<E>) -> Result<(Vec<E>, Vec<E>)> {
        let bounds = self.bounds.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
        let outside = |v: &&E| !(bounds.0..=bounds.1).contains(&v.as_f64());
        if let Some(value) = data.values().iter().find(outside) {
            let expected = format!("between {} and {}", bounds.0, bounds.1);
            return Err(FlowError::option("a number of the data", value.as_f64(), expected));
        }
        let edges = data.values().iter().map(|&x| {
            let (low, high) = (x.as_f64() - self.radius, x.as_f64() + self.radius);
            // Rounding may not step outside, nor past the row itself.
            let low = at_least::<E>(low.max(bounds.0)).min(x);
            (low, (-at_least::<E>(-high.min(bounds.1))).max(x))
        });
        Ok(edges.unzip())
    }
}

/// The value nearest to `edge` that is not below it.
fn at_least<E: Scalar>(edge: f64) -> E {
    let near = E::of(edge);
    if near.as_f64() >= edge {
        return near;
    }
    near + (near.abs() * E::epsilon()).max(E::min_positive_value())
}

struct Search<'p, A: Architecture<E>, E: Scalar> {
    probe: &'p Probe<A, E>,
    of: Vec<usize>,
    worst: Vec<E>,
    errors: Vec<f64>,
    low: Vec<E>,
    high: Vec<E>,
}

impl<A: Architecture<E>, E: Scalar> Search<'_, A, E> {
    /// Errors of inputs, infinite where they are not finite, with their latents and reconstructions.
    fn measure(&self, x: &[E]) -> Result<(Vec<f64>, Vec<E>, Vec<E>)> {
        let z = self.probe.send(Direction::Forward, x, &self.of)?.values;
        let y = self.probe.send(Direction::Inverse, &z, &self.of)?.values;
        let broken = |error: f64| if error.is_nan() { f64::INFINITY } else { error };
        let errors = distances(x, &y, self.probe.size()).into_iter().map(broken).collect();
        Ok((errors, z, y))
    }

    fn climb(&mut self, mut x: Vec<E>, steps: usize, step: f64, noise: &Noise) -> Result<()> {
        for at in 0..=steps {
            let (errors, z, y) = self.measure(&x)?;
            self.keep(&x, &errors);
            if at < steps {
                let gradient = self.gradient(&x, &z, &y)?;
                self.step(&mut x, &gradient, E::of(step), &noise.at(at as u64));
            }
        }
        Ok(())
    }

    fn keep(&mut self, x: &[E], errors: &[f64]) {
        let size = self.probe.size();
        for (row, &error) in errors.iter().enumerate() {
            if error > self.errors[row] {
                self.errors[row] = error;
                let range = row * size..(row + 1) * size;
                self.worst[range.clone()].copy_from_slice(&x[range]);
            }
        }
    }

    /// r − J_Fᵀ·J_{F⁻¹}ᵀ·r with r = x − y; NaN where the pass there and back is not finite.
    fn gradient(&self, x: &[E], z: &[E], y: &[E]) -> Result<Vec<E>> {
        let size = self.probe.size();
        let finite = |row: &[E]| row.iter().all(|v| v.is_finite());
        let rows: Vec<usize> = (0..self.of.len())
            .filter(|row| {
                let range = row * size..(row + 1) * size;
                finite(&z[range.clone()]) && finite(&y[range])
            })
            .collect();
        let pick = |from: &[E]| -> Vec<E> {
            rows.iter().flat_map(|row| &from[row * size..(row + 1) * size]).copied().collect()
        };
        let (x, z, y) = (pick(x), pick(z), pick(y));
        let off: Vec<E> = x.iter().zip(&y).map(|(x, y)| *x - *y).collect();
        // A gradient's sign does not depend on its length, so tiny errors need not underflow.
        let mut product = off.clone();
        for row in product.chunks_exact_mut(size) {
            let largest = row.iter().fold(E::zero(), |most, v| most.max(v.abs()));
            if largest > E::zero() {
                row.iter_mut().for_each(|v| *v /= largest);
            }
        }
        let direct = product.clone();
        self.probe.vjp(Direction::Inverse, &z, &mut product, &rows)?;
        let lost: Vec<bool> = product.chunks_exact(size).map(|row| !finite(row)).collect();
        for (row, lost) in product.chunks_exact_mut(size).zip(&lost) {
            if *lost {
                row.fill(E::zero());
            }
        }
        self.probe.vjp(Direction::Forward, &x, &mut product, &rows)?;
        let mut gradient = vec![E::nan(); self.worst.len()];
        for (i, row) in rows.iter().enumerate() {
            let range = i * size..(i + 1) * size;
            let parts = direct[range.clone()].iter().zip(&product[range]);
            let into = &mut gradient[row * size..(row + 1) * size];
            for (g, (direct, product)) in into.iter_mut().zip(parts) {
                *g = if lost[i] { E::nan() } else { *direct - *product };
            }
        }
        Ok(gradient)
    }

    fn step(&self, x: &mut [E], gradient: &[E], step: E, noise: &Noise) {
        for (i, (x, g)) in x.iter_mut().zip(gradient).enumerate() {
            let up = match *g {
                g if g > E::zero() => true,
                g if g < E::zero() => false,
                _ => noise.below(i as u64, 2) == 1,
            };
            let moved = if up { *x + step } else { *x - step };
            *x = moved.max(self.low[i]).min(self.high[i]);
        }
    }

    fn anywhere(&self, noise: &Noise) -> Vec<E> {
        let edges = self.low.iter().zip(&self.high).enumerate();
        edges
            .map(|(i, (&low, &high))| {
                let share = noise.uniform(i as u64);
                let value = low.as_f64() * (1.0 - share) + high.as_f64() * share;
                E::of(value).max(low).min(high)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_never_steps_outside() {
        for edge in
            [0.1, -0.1, 1.0 / 3.0, -1.0 / 3.0, 1e-50, -1e-50, 0.0, 12345.678, f64::MIN_POSITIVE]
        {
            let inside: f32 = at_least(edge);
            assert!(f64::from(inside) >= edge, "{inside} for {edge}");
            assert!(f64::from(inside) - edge <= edge.abs() * 2.4e-7 + 1.2e-38, "{inside}");
            assert_eq!(at_least::<f64>(edge), edge);
        }
        assert_eq!(at_least::<f32>(f64::NEG_INFINITY), f32::NEG_INFINITY);
    }

    #[test]
    fn a_neighbourhood_is_a_ball_within_a_box() {
        let data = Rows::from_rows([[0.0_f32, 0.3, 1.0]]).unwrap();
        let (low, high) = Attack::ball(0.1).within(0.0, 1.0).neighbourhood(&data).unwrap();
        assert_eq!((low[0], high[2]), (0.0, 1.0));
        for ((low, high), x) in low.iter().zip(&high).zip(data.values()) {
            assert!(low <= x && x <= high);
            assert!(
                f64::from(*x) - f64::from(*low) <= 0.1 && f64::from(*high) - f64::from(*x) <= 0.1
            );
        }
        let error = Attack::ball(0.1).within(0.0, 0.5).neighbourhood(&data).unwrap_err();
        assert_eq!(error.to_string(), "a number of the data is 1, expected between 0 and 0.5");
    }

    #[test]
    fn settings_out_of_range_are_errors() {
        for bad in [
            Attack::ball(0.0),
            Attack::ball(f64::NAN),
            Attack::ball(1.0).step(-1.0),
            Attack::ball(1.0).within(1.0, 0.0),
            Attack::ball(1.0).restarts(0),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        assert!(Attack::ball(1.0).steps(0).check().is_ok());
    }
}
