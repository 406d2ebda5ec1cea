use super::features::add_to_all;
use super::non_empty;
use crate::backend::cpu::elementwise::{sigmoid, softmax};
use crate::engine::{Builder, Derived, Parameter, Pass, Start, State, Values};
use crate::lipschitz::{Amplification, Cell, MeanValue, Probe};
use crate::{Block, Facts, FlowError, LogDet, Result, Scalar, Shape};

#[path = "spline_activation_enclosure.rs"]
mod enclosure;
#[path = "spline_activation_knots.rs"]
mod knots;

use knots::Knots;

/// The least that an optimiser's step leaves of an extent.
const LEAST_EXTENT: f64 = 1e-3;

/// The least share of a bin, in units of the scalar's precision.
const LEAST_SHARE: f64 = 4.0;

/// How near the start comes to the ends of the slopes' range, as a share of it: at an end itself a
/// sigmoid no longer learns.
const NEAREST: f64 = 1e-3;

/// A learned monotone spline for each feature, whose knots have slopes between two limits ("Jacobian
/// Determinant of Normalizing Flows", eq. 16, 17 and 27 to 32).
///
/// With `b = softmax(widths)`, `C` its cumulative sums, `ρ = low + (high − low)·σ(heights)` and `B`
/// the cumulative sums of `ρ·b`, the knots of a feature are `x = (2C − 1)·extent`,
/// `y = (2B − B_last)·extent`, their slopes `low + (high − low)·σ(slopes)`. Between them it is a
/// rational-quadratic spline, as [`Spline`](crate::transforms::Spline) is one, outside a straight line
/// with the end knot's slope. So the ratios `ρ` of each bin's height to its width have the same limits
/// as the slopes at the knots; between two knots the slope can exceed them. The log-determinant is the
/// sum of the logarithms of the slopes at all entries.
///
/// Parameters `widths`, `heights`, `slopes` `[features, bins + 1]` and `extent` `[features]`, which
/// [`project`](Block::project) keeps at 1e-3 or more after each step of an optimiser. The start is the
/// line of slope `beta` in bins of one width: `widths` at 0, `heights` and `slopes` where σ gives
/// `(beta − low)/(high − low)`, that share kept within 1e-3 and 1 − 1e-3, and `extent` at 3.
#[derive(Clone, Debug)]
pub struct SplineActivation {
    path: String,
    features: usize,
    bins: usize,
    low: f64,
    high: f64,
    widths: Parameter,
    heights: Parameter,
    slopes: Parameter,
    extent: Parameter,
    /// For each feature its knots' `x`, `y` and slopes.
    knots: Derived,
}

impl SplineActivation {
    /// The block with `bins` bins and knots of slopes between those of `slopes`.
    ///
    /// `beta` is the slope at the start (eq. 18 there: blocks that expand and contract by it start
    /// volume-preserving together); without, it is that between the limits which is nearest to 1. At
    /// a limit itself it starts short of it by a thousandth of the range.
    ///
    /// # Errors
    /// Where `shape` holds no numbers, there are fewer than 2 bins, `slopes` are not two growing
    /// numbers of at least 0, or `beta` is outside them.
    pub fn new<E: Scalar>(
        builder: &mut Builder<E>,
        shape: Shape,
        bins: usize,
        slopes: (f64, f64),
        beta: Option<f64>,
    ) -> Result<Self> {
        let features = non_empty(shape)?.features();
        let (low, high) = slopes;
        if bins < 2 {
            return Err(FlowError::option("bins", bins, "at least 2"));
        }
        if !(low >= 0.0 && low < high && high.is_finite()) {
            let found = format!("({low}, {high})");
            return Err(FlowError::option("slopes", found, "two growing numbers of at least 0"));
        }
        let beta = match beta {
            Some(beta) if !(beta > 0.0 && low <= beta && beta <= high) => {
                let expected = format!("a number above 0 and between the slopes {low} and {high}");
                return Err(FlowError::option("beta", beta, expected));
            }
            Some(beta) => beta,
            None => 1.0_f64.clamp(low, high),
        };
        let share = ((beta - low) / (high - low)).clamp(NEAREST, 1.0 - NEAREST);
        let raw = (share / (1.0 - share)).ln();
        let knots = bins + 1;
        let mut parameter =
            |name, start| builder.parameter(name, &[features, knots], Start::Constant(start));
        Ok(Self {
            widths: parameter("widths", 0.0),
            heights: parameter("heights", raw),
            slopes: parameter("slopes", raw),
            extent: builder.parameter("extent", &[features], Start::Constant(3.0)),
            knots: builder.derived(3 * knots * features),
            path: builder.path(),
            features,
            bins,
            low,
            high,
        })
    }

    /// Numbers of a feature in `knots`.
    fn stride(&self) -> usize {
        3 * (self.bins + 1)
    }

    /// Between the limits.
    fn limited<E: Scalar>(&self, raw: E) -> E {
        E::of(self.low) + E::of(self.high - self.low) * sigmoid(raw)
    }

    /// The derivative of [`limited`](Self::limited).
    fn limited_slope<E: Scalar>(&self, raw: E) -> E {
        E::of(self.high - self.low) * sigmoid(raw) * sigmoid(-raw)
    }

    /// Calls `each` for every number of a batch with its row and its feature.
    fn visit<E: Scalar>(
        &self,
        values: &mut [E],
        rows: usize,
        mut each: impl FnMut(usize, usize, &mut E),
    ) {
        let size = values.len() / rows;
        for (row, values) in values.chunks_exact_mut(size).enumerate() {
            for pixel in values.chunks_exact_mut(self.features) {
                for (feature, v) in pixel.iter_mut().enumerate() {
                    each(row, feature, v);
                }
            }
        }
    }

    /// A feature's part of what all of them have.
    fn of<'a, E: Scalar>(&self, all: &'a [E], feature: usize) -> Knots<'a, E> {
        Knots::new(&all[feature * self.stride()..(feature + 1) * self.stride()])
    }
}

impl<E: Scalar> Block<E> for SplineActivation {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        if pass.saving() {
            let input = pass.take_copy(x);
            pass.save(input);
        }
        let knots = pass.derived(&self.knots);
        self.visit(x, pass.rows(), |row, feature, v| {
            let (z, log_slope) = self.of(knots, feature).forward(*v);
            *v = z;
            log_det[row] += log_slope;
        });
        Ok(())
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        let knots = pass.derived(&self.knots);
        self.visit(z, pass.rows(), |row, feature, v| {
            let (x, log_slope) = self.of(knots, feature).inverse(*v);
            *v = x;
            log_det[row] -= log_slope;
        });
        if pass.saving() {
            let output = pass.take_copy(z);
            pass.save(output);
        }
        Ok(())
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.product(pass, gradient, |knots, by_knots, x, by_z, row| {
            let (_, by_x) = knots.product(x, by_knots, |_, _| (by_z, log_det[row]));
            by_x
        });
        Ok(())
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        // The implicit function theorem at the solution, as for every scalar transform.
        self.product(pass, gradient, |knots, by_knots, x, by_x, row| {
            let (by_f, _) = knots.product(x, by_knots, |slope, bend| {
                ((log_det[row] * bend - by_x) / slope, -log_det[row])
            });
            -by_f
        });
        Ok(())
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        let count = self.bins + 1;
        let extents = values.parameter(&self.extent);
        if let Some(feature) = extents.iter().position(|&extent| extent <= E::zero()) {
            let found = extents[feature].as_f64();
            let reason = format!(
                "the extent of feature {feature} is {found}, expected a number above 0\nhelp: the \
                 weights were set by hand or belong to another block"
            );
            return Err(FlowError::Block {
                block: "spline_activation",
                path: self.path.clone(),
                reason,
            });
        }
        let features = self
            .knots
            .of_mut(derived)
            .chunks_exact_mut(self.stride())
            .zip(values.parameter(&self.widths).chunks_exact(count))
            .zip(values.parameter(&self.heights).chunks_exact(count))
            .zip(values.parameter(&self.slopes).chunks_exact(count))
            .zip(extents);
        let two = E::of(2.0);
        // Less would vanish beside the sums: a bin without a size has no inverse. The ratio of both is
        // within the limits.
        let least = E::of(LEAST_SHARE) * E::epsilon();
        let least_rise = least * E::of(self.high);
        let at_least = |size: E, least: E| if size < least { least } else { size };
        for ((((knots, widths), heights), slopes), &extent) in features {
            let (x, rest) = knots.split_at_mut(count);
            let (y, out) = rest.split_at_mut(count);
            x.copy_from_slice(widths);
            softmax(x);
            let (mut across, mut up) = (E::zero(), E::zero());
            for ((x, y), &height) in x.iter_mut().zip(&mut *y).zip(heights) {
                let share = at_least(*x, least);
                across += share;
                up += at_least(share * self.limited(height), least_rise);
                *x = (two * across - E::one()) * extent;
                *y = two * up * extent;
            }
            add_to_all(y, -up * extent);
            out.iter_mut().zip(slopes).for_each(|(out, &raw)| *out = self.limited(raw));
        }
        Ok(())
    }

    fn finish(&self, state: &State<E>, from: &[E], gradient: &mut [E]) -> Result<()> {
        let (count, two) = (self.bins + 1, E::of(2.0));
        let values = &state.values;
        let mut shares = vec![E::zero(); count];
        let mut by_shares = vec![E::zero(); count];
        for (feature, by) in self.knots.of(from).chunks_exact(self.stride()).enumerate() {
            let part = feature * count..(feature + 1) * count;
            let heights = &values.parameter(&self.heights)[part.clone()];
            let slopes = &values.parameter(&self.slopes)[part.clone()];
            let extent = values.parameter(&self.extent)[feature];
            let knots = self.of(self.knots.of(&state.derived), feature);
            let by = Knots::new(by);
            shares.copy_from_slice(&values.parameter(&self.widths)[part.clone()]);
            softmax(&mut shares);

            // All knots grow with the extent.
            let along =
                |by: &[E], knots: &[E]| by.iter().zip(knots).map(|(&a, &b)| a * b).sum::<E>();
            self.extent.of_mut(gradient)[feature] +=
                (along(by.x, knots.x) + along(by.y, knots.y)) / extent;

            // Knot i holds twice the sums up to i, and of y the whole sum once less.
            let whole = by.y.iter().copied().sum::<E>();
            let (mut by_x, mut by_y) = (E::zero(), E::zero());
            let by_heights = &mut self.heights.of_mut(gradient)[part.clone()];
            for i in (0..count).rev() {
                by_x += two * by.x[i];
                by_y += two * by.y[i];
                let by_height = (by_y - whole) * extent;
                by_shares[i] = by_x * extent + by_height * self.limited(heights[i]);
                by_heights[i] += by_height * shares[i] * self.limited_slope(heights[i]);
            }
            let mean = along(&by_shares, &shares);
            let by_widths = &mut self.widths.of_mut(gradient)[part.clone()];
            for ((by_width, &share), &by_share) in by_widths.iter_mut().zip(&shares).zip(&by_shares)
            {
                *by_width += share * (by_share - mean);
            }
            let by_raw = &mut self.slopes.of_mut(gradient)[part];
            for ((by_raw, &raw), &by_slope) in by_raw.iter_mut().zip(slopes).zip(by.slopes) {
                *by_raw += by_slope * self.limited_slope(raw);
            }
        }
        Ok(())
    }

    super::lowered!(record, record_weights);

    fn project(&self, values: &mut Values<E>) {
        let least = E::of(LEAST_EXTENT);
        for extent in values.parameter_mut(&self.extent) {
            if *extent < least {
                *extent = least;
            }
        }
    }

    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        Ok(self.on_box(probe))
    }

    fn mean_value(&self, probe: &mut Probe<'_, E>, cell: &Cell) -> Result<Option<MeanValue>> {
        Ok(self.on_cell(probe, cell))
    }

    /// In a bin of ratio `ρ` with the knots' slopes `a` and `b`, and with `u = ξ(1 − ξ) ≤ ¼`, the
    /// slope is `γ·(ρ/(ρ(1 − 2u) + (a + b)u))²` (eq. 17) where `γ`, a mean of `ρ`, `a` and `b`, is
    /// between `low` and `high`. The fraction grows with `ρ` and falls with `a + b`, so that it is
    /// between `2·low/(low + high)` and `2·high/(low + high)`.
    fn facts(&self) -> Facts {
        let (low, high) = (self.low, self.high);
        let square = (low + high) * (low + high);
        Facts {
            log_det: LogDet::Varying,
            forward: 4.0 * high * high * high / square,
            inverse: square / (4.0 * low * low * low),
            ..Facts::ISOMETRY
        }
    }
}

impl SplineActivation {
    /// The product of either direction, which `each` gives from a feature's knots, their gradient,
    /// `x`, the gradient of the output and the row.
    fn product<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        gradient: &mut [E],
        each: impl Fn(&Knots<'_, E>, &mut [E], E, E, usize) -> E,
    ) {
        let saved = pass.restore();
        let (rows, stride) = (pass.rows(), self.stride());
        let knots = pass.derived(&self.knots);
        let by_knots = pass.derived_gradient(&self.knots);
        let mut x = saved.iter();
        self.visit(gradient, rows, |row, feature, by| {
            if let Some(&x) = x.next() {
                let by_feature = &mut by_knots[feature * stride..(feature + 1) * stride];
                *by = each(&self.of(knots, feature), by_feature, x, *by, row);
            }
        });
        pass.give(saved);
    }
}

#[cfg(feature = "cuda")]
#[path = "spline_activation_lowering.rs"]
mod lowering;

#[cfg(test)]
#[path = "spline_activation_tests.rs"]
mod tests;
