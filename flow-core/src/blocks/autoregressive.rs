use crate::backend::cpu::elementwise::transpose;
use crate::engine::{Builder, Pass, State, Values};
use crate::lipschitz::triangle::Triangle;
use crate::lipschitz::{up, Amplification, Cell, Interval, MeanValue, Probe};
use crate::nets::{Activations, Enclosed, LastLayer, Made};
use crate::transforms::{Bent, Transform};
use crate::{Block, Facts, FlowError, Result, Scalar, Shape};

/// Transforms every feature with parameters that a masked net makes of the features before it and
/// the context (Papamakarios et al. 2017, "Masked Autoregressive Flow for Density Estimation").
///
/// `zᵢ = f(xᵢ; θᵢ)` with `θᵢ` from x₀, …, xᵢ₋₁. `T` is the scalar map f, a [`Transform`] with p
/// parameters; the net's output is feature-major: entry `feature·p + parameter`. The log-determinant
/// is the sum of the log-slopes of all features. Parameters are those of the net, whose last layer
/// starts as the transform asks.
///
/// Data to latent is one evaluation of the net. Latent to data goes feature by feature, and each opens
/// only those units of the net that it is the last to be seen by, so that all of them together are
/// one evaluation as well.
///
/// ```
/// use flow_core::blocks::{Inverted, MaskedAutoregressive};
/// use flow_core::nets::{Activation, Made, NetOptions};
/// use flow_core::transforms::{Affine, Scale};
/// use flow_core::{Builder, Shape};
///
/// let mut builder = Builder::<f32>::new(0);
/// let (shape, affine) = (Shape::vector(6), Affine::new(Scale::Exp));
/// let block = builder.block("0", |builder| {
///     MaskedAutoregressive::new(builder, shape, 0, affine, |builder, shape, context, each, last| {
///         let features = shape.features();
///         let options = NetOptions::default();
///         Made::new(builder, features, context, each, last, &[32], Activation::Relu, options)
///     })
/// })?;
/// let inverse = Inverted::new(block);
/// # Ok::<(), flow_core::FlowError>(())
/// ```
#[derive(Clone, Debug)]
pub struct MaskedAutoregressive<T> {
    features: usize,
    transform: T,
    net: Made,
}

impl<T: Transform> MaskedAutoregressive<T> {
    /// A block on vectors of that shape, with `context` numbers of context a row, whose net
    /// `net(builder, shape, context, parameters_of_each_feature, last_layer)` makes.
    ///
    /// # Errors
    /// [`FlowError::Option`] where the shape is no vector of at least one feature, or an option of
    /// the transform is out of its range; and the net's own.
    pub fn new<E: Scalar>(
        builder: &mut Builder<E>,
        shape: Shape,
        context: usize,
        transform: T,
        net: impl FnOnce(&mut Builder<E>, Shape, usize, usize, LastLayer<'_>) -> Result<Made>,
    ) -> Result<Self> {
        if shape.sides().is_some() || shape.features() == 0 {
            let expected = "a vector of at least one feature";
            return Err(FlowError::option("shape of an autoregressive block", shape, expected));
        }
        transform.check()?;
        let p = transform.parameters();
        let last = LastLayer { start: &|output| Some(transform.start(output % p)) };
        let net = net(builder, shape, context, p, last)?;
        Ok(Self { features: shape.features(), transform, net })
    }

    /// The net on a box of what the probe comes with, and the transform of each feature.
    fn on_box<'a, E: Scalar>(
        &'a self,
        probe: &Probe<'a, E>,
        region: &[Interval],
    ) -> (Enclosed<'a, E>, Vec<Bent>) {
        let backwards = probe.backwards();
        let mut net = self.net.enclose(probe.state(), region, probe.context());
        let mut all = Vec::with_capacity(self.features);
        for (feature, &at) in region.iter().enumerate() {
            net.open(feature..feature + 1);
            let found = self.transform.enclose(at, net.parameters(feature), backwards);
            if backwards {
                *net.feature_mut(feature) = found.value;
            }
            all.push(found);
        }
        net.open(self.features..self.features + 1);
        (net, all)
    }
}

impl<E: Scalar, T: Transform> Block<E> for MaskedAutoregressive<T> {
    const SAVES_ALIKE: bool = true;

    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        let rows = pass.rows();
        let mut at = self.net.start(pass, x);
        for degrees in self.net.bands() {
            self.net.open(pass, &mut at, degrees);
        }
        let mut z = pass.take_copy(self.net.features(&at));
        for feature in 0..self.features {
            let (_, parameters) = self.net.feature(&mut at, feature);
            let z = &mut z[feature * rows..][..rows];
            self.transform.forward(z, parameters, log_det);
        }
        transpose(&z, rows, x);
        pass.give(z);
        at.save_or_give(pass);
        Ok(())
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        let mut at = self.net.start(pass, z);
        for feature in 0..self.features {
            self.net.open(pass, &mut at, feature..feature + 1);
            let (value, parameters) = self.net.feature(&mut at, feature);
            self.transform.inverse(value, parameters, log_det);
        }
        self.net.open(pass, &mut at, self.features..self.features + 1);
        transpose(self.net.features(&at), pass.rows(), z);
        at.save_or_give(pass);
        Ok(())
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        let mut at = Activations::restore(pass);
        let mut by = self.net.cotangents(pass, gradient);
        for feature in 0..self.features {
            self.net.product(&mut at, &mut by, feature, |x, parameters, gradient| {
                self.transform.forward_vjp(x, parameters, gradient, log_det);
            });
        }
        for degrees in self.net.bands().rev() {
            self.net.close(pass, &at, &mut by, degrees);
        }
        self.net.give_gradients(pass, at, by, gradient);
        Ok(())
    }

    /// The steps of [`inverse`](Self::inverse) in the opposite order.
    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        let mut at = Activations::restore(pass);
        let mut by = self.net.cotangents(pass, gradient);
        self.net.close(pass, &at, &mut by, self.features..self.features + 1);
        for feature in (0..self.features).rev() {
            self.net.product(&mut at, &mut by, feature, |x, parameters, gradient| {
                self.transform.inverse_vjp(x, parameters, gradient, log_det);
            });
            self.net.close(pass, &at, &mut by, feature..feature + 1);
        }
        self.net.give_gradients(pass, at, by, gradient);
        Ok(())
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        self.net.prepare(values, derived);
        Ok(())
    }

    fn finish(&self, state: &State<E>, derived_gradient: &[E], gradient: &mut [E]) -> Result<()> {
        self.net.finish(state, derived_gradient, gradient);
        Ok(())
    }

    super::lowered!(record, record_weights);

    /// The Jacobian is lower triangular: the transform's slopes, and below them its slopes by the
    /// parameters times the net's Jacobian.
    ///
    /// Backwards the box opens feature by feature, as the inverse does: that of a feature needs the
    /// net on the boxes of the features before it.
    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        let region = probe.region().clone();
        let (net, bent) = self.on_box(probe, &region);
        probe.region().iter_mut().zip(&bent).for_each(|(v, bent)| *v = bent.value);
        let (a, b) = (by_entries(&net, &bent), by_layers(&net, &bent));
        Ok(Amplification::certified(a.0.min(b.0), a.1.min(b.1)))
    }

    fn mean_value(&self, probe: &mut Probe<'_, E>, cell: &Cell) -> Result<Option<MeanValue>> {
        let point: Vec<Interval> = cell.centre.iter().map(|&c| Interval::point(c)).collect();
        let centre = self.on_box(probe, &point).1.iter().map(|bent| bent.value).collect();
        let (net, bent) = self.on_box(probe, &cell.sides);
        let there = triangle(&net, &bent);
        let jacobian = if probe.backwards() { there.inverse() } else { there.matrix() };
        Ok(Some(MeanValue { centre, jacobian }))
    }

    /// The first feature is moved by constants, but the others as in a coupling: there is no global
    /// constant.
    fn facts(&self) -> Facts {
        Facts { analytic_inverse: true, memory_saving: true, log_det: T::LOG_DET, ..Facts::UNKNOWN }
    }
}

/// Up to so many features the Jacobian is computed entry by entry, which costs an evaluation of the
/// net for each.
const MOST_FEATURES: usize = 256;

/// Bounds of the norms of the Jacobian and its inverse, from intervals of its entries.
fn by_entries<E: Scalar>(net: &Enclosed<'_, E>, bent: &[Bent]) -> (f64, f64) {
    let d = bent.len();
    if d > MOST_FEATURES {
        return (f64::INFINITY, f64::INFINITY);
    }
    triangle(net, bent).norms()
}

/// The Jacobian.
fn triangle<E: Scalar>(net: &Enclosed<'_, E>, bent: &[Bent]) -> Triangle {
    let d = bent.len();
    let mut jacobian = Triangle::new(d);
    for column in 0..d {
        *jacobian.entry(column, column) = bent[column].slope;
        let slopes = net.slopes_by(column);
        for row in column + 1..d {
            let by = &bent[row].by_parameters;
            let each = by.iter().zip(&slopes[row * by.len()..]);
            let terms = each.map(|(&by, &slope)| by * slope);
            *jacobian.entry(row, column) = terms.fold(Interval::ZERO, |sum, term| sum + term);
        }
    }
    jacobian
}

/// The same from the norms of the net's layers. With the slopes `G` on the diagonal and `M` below it,
/// whose norm is at most `m`, that of the Jacobian is at most `‖G‖ + m`. Its inverse is
/// `Σ (−G⁻¹M)ᵏ·G⁻¹`, where all powers from the d-th on are 0.
fn by_layers<E: Scalar>(net: &Enclosed<'_, E>, bent: &[Bent]) -> (f64, f64) {
    let most = bent.iter().map(|b| b.slope.high).fold(0.0, f64::max);
    let least = bent.iter().map(|b| b.slope.low).fold(f64::INFINITY, f64::min);
    let (mut there, mut back) = (Vec::new(), Vec::new());
    for bent in bent {
        for by in &bent.by_parameters {
            let by = by.magnitude();
            there.push(by);
            back.push(if by == 0.0 { 0.0 } else { up(by / bent.slope.low) });
        }
    }
    let p = there.len() / bent.len();
    // Each row of M is a sum over p outputs of the net: Cauchy's inequality.
    let root = (p as f64).sqrt().next_up();
    let (m, q) = (up(root * net.norm(&there)), up(root * net.norm(&back)));
    let (mut sum, mut power) = (0.0, 1.0);
    for _ in bent {
        sum = up(sum + power);
        power = up(power * q);
    }
    (up(most + m), up(up(1.0 / least) * sum))
}

#[cfg(feature = "cuda")]
#[path = "autoregressive_lowering.rs"]
mod lowering;

#[cfg(test)]
#[path = "autoregressive_tests.rs"]
mod tests;
