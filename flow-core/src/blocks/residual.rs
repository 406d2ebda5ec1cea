use super::contraction::{Contraction, Stuck};
use super::determinant::Determinant;
use super::expansion::Expansion;
use super::field::Field;
use crate::backend::cpu::elementwise::add;
use crate::engine::{Builder, Pass, State, Values};
use crate::lipschitz::{
    up, Amplification, Cell, Interval, IntervalMatrix, MeanValue, Probe, Slopes,
};
use crate::nets::{Differentiable, LastLayer};
use crate::{Block, Facts, FlowError, LogDet, Result, Scalar, Shape};

/// `y = x + g(x)` with a net g that is certified to be a contraction (Behrmann et al. 2019,
/// "Invertible residual networks"; Chen et al. 2019, "Residual flows for invertible generative
/// modeling").
///
/// The net reads x and, at every pixel, the context after the features; its Jacobian J is that by x.
/// The log-determinant is `ln det(I + J)`, found as the [`Determinant`] says. Parameters are those of
/// the net, whose last layer starts at zero: the block starts as the identity.
///
/// The inverse iterates `x ← z − g(x)`, rows of up to 8 numbers by Broyden's method and a last such
/// step. It stops a row where the certified radius c/(1 − c) times
/// the last step is at most the tolerance times the larger of 1 and ‖x‖, but no less than 8ε/(1 − c)
/// of the larger of 1, ‖x‖ and ‖z‖, with ε the spacing of the numbers at 1; where rounding keeps the
/// steps from shrinking before, up to 16/(1 − c) times that floor is accepted.
/// [`inverse_with_radius`](crate::NormalizingFlow::inverse_with_radius) returns the radius, of which
/// rounding inside the net is no part. Gradients of the inverse come from the implicit function
/// theorem, to rounding.
#[derive(Clone, Debug)]
pub struct Residual<N> {
    field: Field<N>,
    determinant: Determinant,
    contraction: Contraction,
    path: String,
}

impl<N> Residual<N> {
    /// A block with `context` numbers of context a row, whose net
    /// `net(builder, inputs, outputs, last_layer)` makes with a Lipschitz constant of at most
    /// `lipschitz`. `tolerance` is that of the inverse, relative to the larger of 1 and ‖x‖.
    ///
    /// # Errors
    /// [`FlowError::Option`] for a coefficient outside (0, 1), a net that does not keep it, a
    /// tolerance that is not above 0, and options of the determinant out of their range; and the
    /// net's own.
    pub fn new<E: Scalar>(
        builder: &mut Builder<E>,
        shape: Shape,
        context: usize,
        lipschitz: f64,
        determinant: Determinant,
        tolerance: f64,
        net: impl FnOnce(&mut Builder<E>, Shape, usize, LastLayer<'_>) -> Result<N>,
    ) -> Result<Self>
    where
        N: Differentiable<E>,
    {
        if !(lipschitz > 0.0 && lipschitz < 1.0) {
            let expected = "a number strictly between 0 and 1";
            return Err(FlowError::option("lipschitz of a residual block", lipschitz, expected));
        }
        if !(tolerance > 0.0 && tolerance.is_finite()) {
            return Err(FlowError::option("tolerance", tolerance, "a finite number above 0"));
        }
        determinant.check()?;
        let path = builder.path();
        let field = Field::new(builder, shape, context, false, net)?;
        let found = field.net().lipschitz();
        if found > lipschitz {
            let what = "the Lipschitz constant of a residual block's net";
            return Err(FlowError::option(what, found, format!("at most {lipschitz}")));
        }
        let contraction = Contraction { lipschitz, tolerance, unit: 1.0 };
        Ok(Self { field, determinant, contraction, path })
    }

    /// A box that holds every point whose image lies in a box.
    fn preimage<E: Scalar>(&self, probe: &Probe<'_, E>, z: &[Interval]) -> Vec<Interval>
    where
        N: Differentiable<E>,
    {
        if !z.iter().all(|side| side.is_bounded()) {
            return vec![Interval::EVERYTHING; z.len()];
        }
        let middle: Vec<f64> =
            z.iter().map(|side| side.low + 0.5 * (side.high - side.low)).collect();
        let net = |x: &[f64]| {
            let points: Vec<Interval> = x.iter().map(|&v| Interval::point(v)).collect();
            self.field.enclose(probe, &points).output
        };
        let mut x = middle.clone();
        let mut g = net(&x);
        for _ in 0..200 {
            let next: Vec<f64> =
                middle.iter().zip(&g).map(|(z, g)| z - 0.5 * (g.low + g.high)).collect();
            let step = next.iter().zip(&x).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            x = next;
            g = net(&x);
            let size = x.iter().fold(1.0, |most: f64, v| most.max(v.abs()));
            if step.is_nan() || step <= 1e-13 * size {
                break;
            }
        }
        let squares = x.iter().zip(&g).zip(z.iter().zip(&middle)).map(|((&x, &g), (&side, &m))| {
            let residual = (Interval::point(x) + g - Interval::point(m)).magnitude();
            let half = (side - Interval::point(m)).magnitude();
            (residual * residual, half * half)
        });
        let (residual, half) = squares.fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d));
        let reach = (residual.sqrt() + half.sqrt()) * (1.0 + 1e-12) + f64::MIN_POSITIVE;
        let radius = (reach / (1.0 - self.contraction.lipschitz).next_down()).next_up();
        x.iter().map(|&x| Interval::point(x) + Interval::new(-radius, radius)).collect()
    }

    /// Runs `f` on as many rows at once as the determinant's memory allows.
    fn in_parts<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        mut f: impl FnMut(&mut Pass<'_, E>, std::ops::Range<usize>) -> Result<()>,
    ) -> Result<()> {
        let rows = pass.rows();
        let each = self.determinant.rows_at_once(rows, self.field.size());
        (0..rows).step_by(each).try_for_each(|start| {
            let range = start..rows.min(start + each);
            pass.part(range.clone(), |pass| f(pass, range))
        })
    }

    /// Numbers of those rows.
    fn numbers(&self, rows: &std::ops::Range<usize>) -> std::ops::Range<usize> {
        rows.start * self.field.size()..rows.end * self.field.size()
    }

    fn complaint(&self, about: (&'static str, &'static str)) -> Complaint {
        Complaint { path: self.path.clone(), coefficient: self.contraction.lipschitz, about }
    }

    /// The net at x in `output`, with log-determinants added times `sign`, and kept where the pass
    /// saves.
    fn expand<E: Scalar>(
        &self,
        pass: &mut Pass<'_, E>,
        x: &[E],
        sign: f64,
        output: &mut [E],
        log_det: &mut [E],
    ) -> Result<()>
    where
        N: Differentiable<E>,
    {
        if pass.saving() && Expansion::<E>::fits(self.determinant, pass.rows(), self.field.size()) {
            let expansion = Expansion::new(&self.field, pass, x, output)?;
            expansion.add_log_dets(pass, sign, log_det);
            expansion.save(pass);
            return Ok(());
        }
        self.in_parts(pass, |pass, rows| {
            let at = self.numbers(&rows);
            let (x, output) = (&x[at.clone()], &mut output[at]);
            let at = self.field.linearize(pass, x, &[], output, false)?;
            self.determinant.add(&self.field, pass, &at, sign, &mut log_det[rows]);
            at.release(pass);
            Ok(())
        })
    }
}

/// What is said of a row whose fixed point was not found.
struct Complaint {
    path: String,
    coefficient: f64,
    /// What was looked for, and what helps.
    about: (&'static str, &'static str),
}

impl Complaint {
    const INVERSE: (&'static str, &'static str) = (
        "the inverse",
        "a larger `tolerance`, a smaller `lipschitz`, or weights whose layers are alike in size let \
         rounding spoil less",
    );
    const GRADIENT: (&'static str, &'static str) =
        ("the inverse's gradient", "a smaller `lipschitz` makes the inverse better conditioned");

    /// The error of that row of the batch.
    fn error(&self, row: usize, stuck: Stuck) -> FlowError {
        let Stuck { iterations, radius, .. } = stuck;
        let (c, (what, help)) = (self.coefficient, self.about);
        let reason = if radius.is_finite() {
            format!(
                "{what} of row {row} is known only to a radius of {radius:.1e} after {iterations} \
                 steps, which suffice for a contraction by {c} without rounding\nhelp: {help}"
            )
        } else {
            format!(
                "{what} of row {row} left the finite numbers in step {iterations}\nhelp: look for \
                 weights that are not finite, and for rows that are too large"
            )
        };
        FlowError::Block { block: "residual", path: self.path.clone(), reason }
    }
}

impl<E: Scalar, N: Differentiable<E>> Block<E> for Residual<N> {
    const SAVES_ALIKE: bool = true;

    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        if pass.saving() {
            let copy = pass.take_copy(x);
            pass.save(copy);
        }
        let mut output = pass.take(x.len());
        self.expand(pass, x, 1.0, &mut output, log_det)?;
        add(x, &output);
        pass.give(output);
        Ok(())
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        let net =
            |pass: &mut Pass<'_, E>, x: &[E], out: &mut [E]| self.field.evaluate(pass, x, &[], out);
        // A row's context lies where the row does.
        let any = pass.context().is_empty();
        let solved = self.contraction.solve(pass, z, any, net, |pass, row, radius| {
            pass.inexact(row, radius);
        })?;
        let said = self.complaint(Complaint::INVERSE);
        solved.map_err(|stuck| said.error(pass.number(stuck.row), stuck))?;
        if pass.saving() {
            let copy = pass.take_copy(z);
            pass.save(copy);
        }
        if !pass.wants_log_det() && !pass.saving() {
            return Ok(());
        }
        let mut output = pass.take(z.len());
        self.expand(pass, z, -1.0, &mut output, log_det)?;
        pass.give(output);
        Ok(())
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.product(pass, product::Direction::Forward, gradient, log_det)
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.product(pass, product::Direction::Inverse, gradient, log_det)
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        self.field.prepare(values, derived)
    }

    fn finish(&self, state: &State<E>, derived_gradient: &[E], gradient: &mut [E]) -> Result<()> {
        self.field.finish(state, derived_gradient, gradient)
    }

    super::lowered!(record, record_weights);

    /// With c the net's constant on the box, `1 + c` and `1/(1 − c)` (Behrmann et al. 2021, table 3).
    ///
    /// Backwards, the preimage of a box lies around that of its middle `z`: with the residual
    /// `r = x + g(x) − z` of any guess x, in the ball of radius (‖half sides‖ + ‖r‖)/(1 − c).
    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        if probe.closely().is_some() {
            return Ok(Amplification::architectural(Block::<E>::facts(self)));
        }
        let features = self.field.features();
        let region = std::mem::take(probe.region());
        let x = if probe.backwards() { self.preimage(probe, &region) } else { region };
        let net = self.field.enclose(probe, &x);
        let c = net.norm(&vec![1.0; features]).min(self.contraction.lipschitz);
        *probe.region() = if probe.backwards() {
            x
        } else {
            x.iter().zip(&net.output).map(|(&x, &g)| x + g).collect()
        };
        Ok(Amplification::certified(up(1.0 + c), (1.0 / (1.0 - c).next_down()).next_up()))
    }

    /// `∂ ln (1 + c)/∂ ln c` is `c/(1 + c)`, and `−∂ ln (1 − c)/∂ ln c` is `c/(1 − c)`.
    fn add_bound_slopes(&self, state: &State<E>, by: [f64; 2], to: &mut Slopes<E>) -> bool {
        self.field.net().add_norm_slopes(state, self.field.beside(), to, |c| {
            by[0] * c / (1.0 + c) + by[1] * c / (1.0 - c)
        })
    }

    /// `I + J` with the net's Jacobian J, or its inverse on a box that holds the preimage.
    fn mean_value(&self, probe: &mut Probe<'_, E>, cell: &Cell) -> Result<Option<MeanValue>> {
        let backwards = probe.backwards();
        let centre = cell.point();
        let (x, centre) = if backwards {
            let x = Cell::around(self.preimage(probe, &cell.sides));
            (x, self.preimage(probe, &centre))
        } else {
            (cell.clone(), centre)
        };
        let Some(net) = self.field.mean_value(probe, &x) else { return Ok(None) };
        let jacobian = IntervalMatrix::identity(centre.len()).plus(&net.jacobian);
        let centre = match backwards {
            true => centre,
            false => centre.iter().zip(&net.centre).map(|(&x, &g)| x + g).collect(),
        };
        Ok(MeanValue::of_direction(centre, jacobian, backwards))
    }

    /// `(1 − c)‖a − b‖ ≤ ‖y(a) − y(b)‖ ≤ (1 + c)‖a − b‖`.
    fn facts(&self) -> Facts {
        let c = self.contraction.lipschitz;
        Facts {
            invertible: true,
            analytic_inverse: false,
            log_det: LogDet::Varying,
            bi_lipschitz: true,
            memory_saving: true,
            forward: 1.0 + c,
            inverse: 1.0 / (1.0 - c),
        }
    }
}

#[path = "residual_product.rs"]
mod product;

#[cfg(feature = "cuda")]
#[path = "residual_lowering.rs"]
mod lowering;

#[cfg(test)]
#[path = "residual_tests.rs"]
mod tests;
