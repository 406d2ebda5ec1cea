use super::curves::{Curve, Softplus};
use super::features::add_scaled;
use super::{no_inverse, non_empty, FORWARD_ONLY};
use crate::backend::cpu::elementwise::{sigmoid, softplus};
use crate::engine::{Builder, Derived, Parameter, Pass, Start, State, Values};
use crate::lipschitz::{up, Amplification, Cell, Interval, IntervalMatrix, MeanValue, Probe};
use crate::sums::dot;
use crate::{Block, Facts, Result, Scalar, Shape};

/// `y = x + β·(x − center)/(α + r)` with `r = ‖x − center‖`, forward only (Rezende and Mohamed 2015,
/// "Variational inference with normalizing flows", eq. 14 and appendix A.2).
///
/// `α = exp(log_alpha)` and `β = −α + log(1 + exp(beta))`, which is above `−α`, so that the map is
/// invertible at every weight. Its inverse is not offered, as that of [`Planar`](super::Planar) is
/// not.
///
/// Parameters `center` `[features]`, `log_alpha` `[1]`, `beta` `[1]`. It starts as the identity: the
/// center standard normal, `log_alpha` at 0, `beta` at `ln(e − 1)`. With d features the log-determinant
/// is `(d − 1)·ln(1 + β/(α + r)) + ln(1 + αβ/(α + r)²)`.
#[derive(Clone, Debug)]
pub struct Radial {
    path: String,
    center: Parameter,
    log_alpha: Parameter,
    beta: Parameter,
    /// `α` and `κ = α + β`.
    numbers: Derived,
}

impl Radial {
    /// The block as the identity.
    ///
    /// # Errors
    /// Where `shape` holds no numbers.
    pub fn new<E: Scalar>(builder: &mut Builder<E>, shape: Shape) -> Result<Self> {
        let d = non_empty(shape)?.features();
        Ok(Self {
            path: builder.path(),
            center: builder.parameter("center", &[d], Start::Normal),
            log_alpha: builder.parameter("log_alpha", &[1], Start::Constant(0.0)),
            // softplus⁻¹(1), where β = 0.
            beta: builder.parameter("beta", &[1], Start::Constant(1f64.exp_m1().ln())),
            numbers: builder.derived(2),
        })
    }
}

/// The map at a distance `r` in `d` dimensions.
struct At<E> {
    /// `1/(α + r)`.
    near: E,
    /// `β/(α + r)`, by which the difference from the center grows.
    growth: E,
    /// The slope along the radius. All others are `1 + growth`.
    along: E,
}

impl<E: Scalar> At<E> {
    /// `along` is `1 + αβ/(α + r)² = (r² + 2αr + ακ)/(α + r)²`, a sum of numbers of one sign.
    fn new(r: E, alpha: E, kappa: E) -> Self {
        let near = (alpha + r).recip();
        let along = r * near * (r + alpha + alpha) * near + alpha * near * kappa * near;
        Self { near, growth: (kappa - alpha) * near, along }
    }
}

/// The map in exact arithmetic; every number of it is positive.
struct Enclosed {
    alpha: Interval,
    kappa: Interval,
}

impl Enclosed {
    /// The slope across the radius at a distance.
    fn others(&self, r: Interval) -> Interval {
        if r.low == f64::INFINITY {
            return Interval::point(1.0);
        }
        (r + self.kappa) / (r + self.alpha)
    }

    /// The slope along it.
    fn along(&self, r: Interval) -> Interval {
        if r.low == f64::INFINITY {
            return Interval::point(1.0);
        }
        let below = r + self.alpha;
        let (share, rest) = (r / below, self.alpha / below);
        share.square() + share * (rest + rest) + rest * (self.kappa / below)
    }

    /// By how much the slope along it is more than that across it, `−βr/(α + r)²`.
    fn bend(&self, r: Interval) -> Interval {
        if r.low == f64::INFINITY {
            return Interval::ZERO;
        }
        let below = r + self.alpha;
        (self.alpha - self.kappa) / below * (r / below)
    }

    /// The distance that is mapped to a distance ρ: `r² + (κ − ρ)r = αρ`, of whose two forms of the root
    /// the one is taken that adds numbers of one sign.
    fn radius(&self, length: f64) -> Interval {
        if length == f64::INFINITY {
            return Interval::point(length);
        }
        let length = Interval::point(length);
        let (half, ahead) = (Interval::point(0.5), length - self.kappa);
        let product = self.alpha * length;
        let root = (ahead.square() + Interval::point(4.0) * product).sqrt();
        let r = if ahead.low > 0.0 {
            half * (ahead + root)
        } else {
            (product + product) / (root - ahead)
        };
        Interval::new(r.low.max(0.0), r.high)
    }
}

/// The map on a box.
struct On {
    /// What goes in.
    x: Vec<Interval>,
    /// What comes out.
    y: Vec<Interval>,
    /// The slope across the radius.
    others: Interval,
    /// That along it.
    along: Interval,
    /// How much more that is.
    bend: Interval,
    /// The difference from the center on one side, which has the direction of that on the other.
    from: Vec<Interval>,
    /// Its length.
    length: Interval,
}

impl Radial {
    /// On the box of what goes in, or of what comes out where the probe goes backwards.
    fn on_box<E: Scalar>(&self, probe: &Probe<'_, E>, region: &[Interval]) -> On {
        let number = |slot| Interval::point(probe.parameter(slot)[0].as_f64());
        let alpha = number(&self.log_alpha).exp();
        let (kappa, _) = Softplus.enclose(number(&self.beta));
        let map = Enclosed { alpha, kappa };
        let center: Vec<Interval> =
            probe.parameter(&self.center).iter().map(|v| Interval::point(v.as_f64())).collect();
        let from: Vec<Interval> = region.iter().zip(&center).map(|(&x, &c)| x - c).collect();
        let length = from.iter().fold(Interval::ZERO, |sum, v| sum + v.square()).sqrt();
        let ends = [length.low, length.high];
        let r = match probe.backwards() {
            true => ends.map(|length| map.radius(length)),
            false => ends.map(Interval::point),
        };
        let others = map.others(r[0]).hull(map.others(r[1]));
        let along = map.along(r[0]).hull(map.along(r[1]));
        let moved = |by: &dyn Fn(Interval) -> Interval| {
            from.iter().zip(&center).map(|(&from, &center)| center + by(from)).collect()
        };
        let (x, y) = match probe.backwards() {
            true => (moved(&|from| from / others), region.to_vec()),
            false => (region.to_vec(), moved(&|from| from * others)),
        };
        let bend = map.bend(r[0].hull(r[1]));
        On { x, y, others, along, bend, from, length }
    }
}

/// `x − center` and its length.
fn difference<E: Scalar>(out: &mut [E], x: &[E], center: &[E]) -> E {
    let mut largest = E::zero();
    for ((out, &x), &center) in out.iter_mut().zip(x).zip(center) {
        *out = x - center;
        largest = if out.abs() <= largest { largest } else { out.abs() };
    }
    if largest == E::zero() {
        return largest;
    }
    // Relative to the largest entry, so that no square over- or underflows.
    let squares = out.iter().map(|&v| (v / largest) * (v / largest)).sum::<E>();
    largest * squares.sqrt()
}

impl<E: Scalar> Block<E> for Radial {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        let d = self.center.len();
        let others = E::of((d - 1) as f64);
        let center = pass.parameter(&self.center);
        let [alpha, kappa] = [0, 1].map(|i| pass.derived(&self.numbers)[i]);
        if pass.saving() {
            let input = pass.take_copy(x);
            pass.save(input);
        }
        let mut from_center = pass.take(d);
        for (row, log_det) in x.chunks_exact_mut(d).zip(log_det) {
            let r = difference(&mut from_center, row, center);
            let at = At::new(r, alpha, kappa);
            add_scaled(row, &from_center, at.growth);
            *log_det += others * ((r + kappa) * at.near).ln() + at.along.ln();
        }
        pass.give(from_center);
        Ok(())
    }

    super::lowered!(record, record_weights);

    fn inverse(&self, _: &mut Pass<'_, E>, _: &mut [E], _: &mut [E]) -> Result<()> {
        no_inverse("radial", &self.path)
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        let d = self.center.len();
        let (two, others) = (E::of(2.0), E::of((d - 1) as f64));
        let x = pass.restore();
        let center = pass.parameter(&self.center);
        let [alpha, kappa] = [0, 1].map(|i| pass.derived(&self.numbers)[i]);
        let mut from_center = pass.take(d);
        let rows = gradient.chunks_exact_mut(d).zip(x.chunks_exact(d)).zip(log_det);
        for ((gradient, x), &by_log) in rows {
            let r = difference(&mut from_center, x, center);
            let At { near, growth, along } = At::new(r, alpha, kappa);
            let far = (r + kappa).recip();
            let by_growth = dot(gradient, &from_center);
            let share = near / along;

            let by_r = by_log * (others * (far - near) + two * share - two * near)
                - by_growth * growth * near;
            let by_kappa = by_log * (others * far + alpha * near * share) + by_growth * near;
            let by_alpha = by_log * ((two * r + kappa) * near * share - (others + two) * near)
                - by_growth * near * ((r + kappa) * near);
            let by_numbers = pass.derived_gradient(&self.numbers);
            by_numbers[0] += by_alpha;
            by_numbers[1] += by_kappa;

            // At the center itself the length has no slope, and nothing depends on its direction.
            let by_unit = if r == E::zero() { E::zero() } else { by_r / r };
            let by_center = pass.gradient(&self.center);
            for ((by, by_center), &v) in gradient.iter_mut().zip(by_center).zip(&*from_center) {
                let by_difference = *by * growth + by_unit * v;
                *by_center -= by_difference;
                *by += by_difference;
            }
        }
        pass.give(from_center);
        pass.give(x);
        Ok(())
    }

    fn inverse_vjp(&self, _: &mut Pass<'_, E>, _: &mut [E], _: &[E]) -> Result<()> {
        no_inverse("radial", &self.path)
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        let numbers = self.numbers.of_mut(derived);
        numbers[0] = values.parameter(&self.log_alpha)[0].exp();
        numbers[1] = softplus(values.parameter(&self.beta)[0]).0;
        Ok(())
    }

    fn finish(&self, state: &State<E>, from: &[E], gradient: &mut [E]) -> Result<()> {
        let by_numbers = self.numbers.of(from);
        let alpha = self.numbers.of(&state.derived)[0];
        let beta = state.values.parameter(&self.beta)[0];
        self.log_alpha.of_mut(gradient)[0] += by_numbers[0] * alpha;
        self.beta.of_mut(gradient)[0] += by_numbers[1] * sigmoid(beta);
        Ok(())
    }

    /// The Jacobian is symmetric, with the eigenvalues `(r + κ)/(α + r)` and, along the radius, that of
    /// `At`. Both go to 1 from one side as r rises, so that their extremes are those of the least and
    /// the largest r.
    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        let region = std::mem::take(probe.region());
        let On { others, along, x, y, .. } = self.on_box(probe, &region);
        *probe.region() = if probe.backwards() { x } else { y };
        let all = if self.center.len() == 1 { along } else { along.hull(others) };
        let inverse = if all.low > 0.0 { up(1.0 / all.low) } else { f64::INFINITY };
        Ok(Amplification::certified(all.high, inverse))
    }

    /// With the unit vector n along the radius, `o·I + (a − o)·n·nᵀ`: o is the slope across it, a
    /// that along it, and `a − o = −βr/(α + r)²`. Backwards the inverse of that, on a box that holds
    /// the preimage.
    fn mean_value(&self, probe: &mut Probe<'_, E>, cell: &Cell) -> Result<Option<MeanValue>> {
        let (backwards, d) = (probe.backwards(), cell.centre.len());
        let On { others, along, from, length, bend, .. } = self.on_box(probe, &cell.sides);
        let On { x, y, .. } = self.on_box(probe, &cell.point());
        let all = Interval::new(-1.0, 1.0);
        let unit = |&from: &Interval| (from / length).meet(all).unwrap_or(all);
        let units: Vec<Interval> = match length.low > 0.0 {
            true => from.iter().map(unit).collect(),
            false => vec![all; d],
        };
        let entry = |i: usize| {
            let (i, j) = (i / d, i % d);
            if d == 1 {
                along
            } else if i == j {
                let share = units[i].square();
                others + bend * Interval::new(share.low, share.high.min(1.0))
            } else {
                bend * units[i] * units[j]
            }
        };
        let entries: Vec<Interval> = (0..d * d).map(entry).collect();
        let jacobian = IntervalMatrix::from_intervals(d, d, &entries);
        Ok(MeanValue::of_direction(if backwards { x } else { y }, jacobian, backwards))
    }

    fn facts(&self) -> Facts {
        FORWARD_ONLY
    }
}

#[cfg(feature = "cuda")]
#[path = "radial_lowering.rs"]
mod lowering;

#[cfg(test)]
#[path = "radial_tests.rs"]
mod tests;
