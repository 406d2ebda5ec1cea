use super::{Conditioner, LastLayer};
use crate::engine::{Builder, Parameter, Pass, Start, State, Values};
use crate::lipschitz::{Cell, Enclosure, Interval, MeanValue};
use crate::{FlowError, Result, Scalar, Shape};

/// A net whose factors are bounded: of the two parameters (s, t) of each affine map it turns `s`
/// into the mean over m of `(1 − φ²)·exp(−φ²/2)` with `φ = w·s + b`, between −0.4463 and 1, so that
/// [`Scale::Exp`](crate::transforms::Scale::Exp) makes a factor between 0.64 and e of it (paper
/// "Jacobian determinant of normalizing flows", equation 15).
///
/// Parameters `w` and `b` `[features, m]` stand beside the net, not under `net.`, the features being
/// those that are transformed (on a checkerboard all channels). `w` starts at 0, and the net's rows for `s` start at random, or nothing would ever
/// move. The m hats start a little apart around the same mean: alike, they would stay alike.
#[derive(Clone, Debug)]
pub struct MexicanHat<N> {
    net: N,
    w: Parameter,
    b: Parameter,
    hats: usize,
}

impl<N> MexicanHat<N> {
    /// `hats` of them on what `net(builder, inputs, outputs, last_layer)` writes, starting at a
    /// factor of 1/beta. An activation of slope beta behind two such couplings that together transform
    /// every feature, as those of [`DualCoupling`](crate::blocks::DualCoupling) do, starts
    /// volume-preserving with them (equation 18).
    ///
    /// # Errors
    /// [`FlowError::Option`] for no hats, or a beta outside (1/e, 1]: 1/beta must be below the
    /// largest factor; and the net's own.
    pub fn new<E: Scalar>(
        builder: &mut Builder<E>,
        inputs: Shape,
        outputs: usize,
        last: LastLayer<'_>,
        hats: usize,
        beta: f64,
        net: impl FnOnce(&mut Builder<E>, Shape, usize, LastLayer<'_>) -> Result<N>,
    ) -> Result<Self> {
        if hats == 0 {
            return Err(FlowError::option("m of mexican_hat", hats, "at least 1"));
        }
        if !(beta > (-1.0_f64).exp() && beta <= 1.0) {
            let expected = "above 1/e = 0.3679 and at most 1";
            return Err(FlowError::option("beta of mexican_hat", beta, expected));
        }
        let features = outputs / 2;
        let starts = starts(-beta.ln(), hats);
        let starts = (0..features * hats).map(|i| E::of(starts[i % hats])).collect();
        let w = builder.parameter("w", &[features, hats], Start::Constant(0.0));
        let b = builder.parameter("b", &[features, hats], Start::Values(starts));
        let last = LastLayer {
            start: &|output| if output % 2 == 0 { None } else { (last.start)(output) },
        };
        Ok(Self { net: net(builder, inputs, outputs, last)?, w, b, hats })
    }
}

/// Places φ ≥ 0 whose hats have the mean `target`, from 0 to below 1, and lie a little apart.
fn starts(target: f64, hats: usize) -> Vec<f64> {
    let spread = 0.2_f64.min(0.5 * (1.0 - target));
    let place = |k: usize| {
        let value = target + spread * (2.0 * k as f64 + 1.0 - hats as f64) / hats as f64;
        // The hat falls from 1 at 0 to its least value at √3.
        let (mut low, mut high) = (0.0, 3.0_f64.sqrt());
        for _ in 0..80 {
            let middle = 0.5 * (low + high);
            if hat(middle).0 > value {
                low = middle;
            } else {
                high = middle;
            }
        }
        0.5 * (low + high)
    };
    (0..hats).map(place).collect()
}

/// `(1 − φ²)·exp(−φ²/2)` and its slope.
#[inline]
fn hat<E: Scalar>(phi: E) -> (E, E) {
    let square = phi * phi;
    let bell = (E::of(-0.5) * square).exp();
    // Far out the bell is 0 before the square overflows.
    if bell == E::zero() {
        return (bell, bell);
    }
    ((E::one() - square) * bell, phi * (square - E::of(3.0)) * bell)
}

/// Every hat on an interval, and every slope.
fn enclosed_hat(phi: Interval) -> (Interval, Interval) {
    let near = if phi.contains(0.0) { 0.0 } else { phi.low.abs().min(phi.high.abs()) };
    let far = phi.magnitude();
    // Out there both are less than any number of note, and the square may overflow.
    const FAR: f64 = 40.0;
    let nothing = Interval::new(-1e-300, 1e-300);
    let at = |phi: f64| {
        if phi > FAR {
            return (nothing, nothing);
        }
        let phi = Interval::point(phi);
        let square = phi.square();
        let bell = (Interval::point(-0.5) * square).exp();
        ((Interval::point(1.0) - square) * bell, phi * (square - Interval::point(3.0)) * bell)
    };
    let (a, b) = (at(near), at(far));
    let mut value = a.0.hull(b.0);
    let mut steepest = a.1.hull(b.1).magnitude();
    let meets = |place: f64| near <= place + 1e-6 && place - 1e-6 <= far;
    // The hat is least at √3, and steepest at √(3 ∓ √6).
    if meets(1.7320508) {
        value = value.hull(Interval::point(-0.446_260_320_297));
    }
    for (place, slope) in [(0.7419638, 1.380_119_046_161), (2.3344142, 0.374_896_928_84)] {
        if meets(place) {
            steepest = steepest.max(slope);
        }
    }
    let limits = Interval::new(-steepest, steepest);
    let square = phi.square();
    let slope = phi * (square - Interval::point(3.0)) * (Interval::point(-0.5) * square).exp();
    (value, slope.meet(limits).unwrap_or(limits))
}

impl<N> MexicanHat<N> {
    /// The mean over a feature's hats, and its slope, on an interval of what the net gives.
    fn enclosed_mean<E: Scalar>(
        &self,
        state: &State<E>,
        feature: usize,
        raw: Interval,
    ) -> (Interval, Interval) {
        let (w, b) = (state.values.parameter(&self.w), state.values.parameter(&self.b));
        let point = |v: E| Interval::point(v.as_f64());
        let each = feature * self.hats..(feature + 1) * self.hats;
        let sums = each.fold((Interval::ZERO, Interval::ZERO), |(values, slopes), k| {
            let (value, slope) = enclosed_hat(point(w[k]) * raw + point(b[k]));
            (values + value, slopes + point(w[k]) * slope)
        });
        let share = Interval::point(self.hats as f64).recip();
        (sums.0 * share, sums.1 * share)
    }

    fn features<E: Scalar>(&self, state: &State<E>) -> usize {
        state.values.parameter(&self.w).len() / self.hats
    }
}

impl<E: Scalar, N: Conditioner<E>> Conditioner<E> for MexicanHat<N> {
    fn inputs(&self) -> usize {
        self.net.inputs()
    }

    fn outputs(&self) -> usize {
        self.net.outputs()
    }

    fn enclose(&self, state: &State<E>, input: &[Interval], beside: usize) -> Enclosure {
        let mut net = self.net.enclose(state, input, beside);
        let features = self.features(state);
        let mut rows = vec![1.0; 2 * features];
        rows.iter_mut().step_by(2).for_each(|row| *row = 0.0);
        for (place, theta) in net.output.chunks_exact_mut(2).enumerate() {
            let feature = place % features;
            let (value, slope) = self.enclosed_mean(state, feature, theta[0]);
            theta[0] = value;
            rows[2 * feature] = f64::max(rows[2 * feature], slope.magnitude());
        }
        net.scale_rows(rows)
    }

    fn mean_value(&self, state: &State<E>, cell: &Cell) -> Option<MeanValue> {
        let net = self.net.mean_value(state, cell)?;
        let (features, mut centre) = (self.features(state), net.centre.clone());
        let mut slopes = vec![Interval::point(1.0); centre.len()];
        for (place, raw) in net.image(cell).chunks_exact(2).enumerate() {
            let (feature, at) = (place % features, 2 * place);
            slopes[at] = self.enclosed_mean(state, feature, raw[0]).1;
            centre[at] = self.enclosed_mean(state, feature, centre[at]).0;
        }
        Some(net.then_each(centre, &slopes))
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        self.net.prepare(values, derived)
    }

    fn finish(&self, state: &State<E>, derived_gradient: &[E], gradient: &mut [E]) -> Result<()> {
        self.net.finish(state, derived_gradient, gradient)
    }

    #[cfg(feature = "cuda")]
    fn lower(
        &self,
        to: &mut crate::cuda::Lowering<E>,
        passes: [flow_cuda::Slot; 2],
        products: [flow_cuda::Slot; 2],
    ) -> Result<Vec<flow_cuda::Op>> {
        self.record(to, passes, products)
    }

    #[cfg(feature = "cuda")]
    fn lower_weights(&self, to: &mut crate::cuda::Lowering<E>) {
        self.net.lower_weights(to);
    }

    fn forward(&self, pass: &mut Pass<'_, E>, input: &[E], output: &mut [E]) -> Result<()> {
        self.net.forward(pass, input, output)?;
        let (w, b) = (pass.parameter(&self.w), pass.parameter(&self.b));
        let mut raw = pass.take(output.len() / 2);
        let share = E::of(1.0 / self.hats as f64);
        for (pixel, raw) in output
            .chunks_exact_mut(2 * w.len() / self.hats)
            .zip(raw.chunks_exact_mut(w.len() / self.hats))
        {
            let hats = w.chunks_exact(self.hats).zip(b.chunks_exact(self.hats));
            for ((theta, raw), (w, b)) in pixel.chunks_exact_mut(2).zip(raw).zip(hats) {
                *raw = theta[0];
                let sum = w.iter().zip(b).map(|(&w, &b)| hat(w * *raw + b).0).sum::<E>();
                theta[0] = share * sum;
            }
        }
        pass.save_or_give(raw);
        Ok(())
    }

    fn vjp(
        &self,
        pass: &mut Pass<'_, E>,
        output_gradient: &mut [E],
        input_gradient: &mut [E],
    ) -> Result<()> {
        let raw = pass.restore();
        let (w, b) = (pass.parameter(&self.w), pass.parameter(&self.b));
        let features = w.len() / self.hats;
        let share = E::of(1.0 / self.hats as f64);
        let mut by_w = pass.take_zeroed(w.len());
        let mut by_b = pass.take_zeroed(w.len());
        let pixels = output_gradient.chunks_exact_mut(2 * features);
        for (pixel, raw) in pixels.zip(raw.chunks_exact(features)) {
            for (i, (theta, &raw)) in pixel.chunks_exact_mut(2).zip(raw).enumerate() {
                let by_mean = share * theta[0];
                theta[0] = E::zero();
                for k in i * self.hats..(i + 1) * self.hats {
                    let by_phi = by_mean * hat(w[k] * raw + b[k]).1;
                    by_w[k] += by_phi * raw;
                    by_b[k] += by_phi;
                    theta[0] += by_phi * w[k];
                }
            }
        }
        for (slot, by) in [(&self.w, by_w), (&self.b, by_b)] {
            crate::backend::cpu::elementwise::add(pass.gradient(slot), &by);
            pass.give(by);
        }
        pass.give(raw);
        self.net.vjp(pass, output_gradient, input_gradient)
    }
}

#[cfg(feature = "cuda")]
#[path = "mexican_hat_lowering.rs"]
mod lowering;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nets::testing::{evaluate, product};
    use crate::nets::{Activation, FeedForward, NetOptions};
    use crate::testing::normal;
    use crate::Noise;

    fn net(hats: usize, beta: f64) -> Result<(MexicanHat<FeedForward>, State<f64>)> {
        let mut builder = Builder::new(3);
        let last = LastLayer { start: &|_| Some(0.0) };
        let inputs = Shape::vector(2);
        let net = MexicanHat::new(&mut builder, inputs, 6, last, hats, beta, |b, i, o, last| {
            FeedForward::mlp(b, i, o, last, &[5], Activation::Tanh, NetOptions::default())
        })?;
        Ok((net, builder.finish().1))
    }

    #[test]
    fn it_starts_at_the_factor_asked_for_and_never_leaves_the_range() {
        for (hats, beta) in [(1, 1.0), (4, 1.0), (3, 0.5), (2, 0.37)] {
            let (net, mut state) = net(hats, beta).unwrap();
            let input = [0.3, -2.0];
            let out = evaluate(&net, &state, 1, &input);
            for pair in out.chunks_exact(2) {
                assert!((pair[0].exp() - 1.0 / beta).abs() < 1e-12, "{} at {beta}", pair[0].exp());
                assert_eq!(pair[1], 0.0);
            }
            for seed in 0..200 {
                Noise::seed(seed).fill_normal(0, &mut state.values.parameters);
                state.values.parameters.iter_mut().for_each(|v| *v *= 3.0);
                let out = evaluate(&net, &state, 1, &input);
                for pair in out.chunks_exact(2) {
                    assert!((-0.4463..=1.0).contains(&pair[0]), "{}", pair[0]);
                }
            }
        }
        assert_eq!(hat(1e200_f64), (0.0, 0.0));
    }

    #[test]
    fn products_are_those_of_central_differences() {
        let (net, mut state) = net(3, 0.8).unwrap();
        Noise::seed(5).fill_normal(0, &mut state.values.parameters);
        let numbers = normal(4 * 8, 6);
        let (input, cotangent) = numbers.split_at(8);
        let (by_input, by_parameters) = product(&net, &state, 4, input, cotangent);
        let loss = |state: &State<f64>, input: &[f64]| -> f64 {
            let output = evaluate(&net, state, 4, input);
            output.iter().zip(cotangent).map(|(a, b)| a * b).sum()
        };
        let slope = |at: &dyn Fn(f64) -> f64| (at(1e-5) - at(-1e-5)) / 2e-5;
        for (i, got) in by_input.into_iter().enumerate() {
            let want = slope(&|by| {
                let mut moved = input.to_vec();
                moved[i] += by;
                loss(&state, &moved)
            });
            assert!((got - want).abs() < 1e-8, "input {i}: {got}, not {want}");
        }
        for (i, got) in by_parameters.into_iter().enumerate() {
            let want = slope(&|by| {
                let mut moved = state.clone();
                moved.values.parameters[i] += by;
                loss(&moved, input)
            });
            assert!((got - want).abs() < 1e-8, "parameter {i}: {got}, not {want}");
        }
    }

    #[test]
    fn hats_lie_in_their_enclosures() {
        let noise = Noise::seed(2);
        for k in 0..2000 {
            let (a, b) = (2.0 * noise.normal(2 * k), 2.0 * noise.normal(2 * k + 1));
            let v = Interval::new(a.min(b), a.max(b));
            let (value, steepest) = enclosed_hat(v);
            for i in 0..=32 {
                let (hat, slope) =
                    hat((v.low + (v.high - v.low) * f64::from(i) / 32.0).min(v.high));
                let near = steepest + Interval::new(-1e-14, 1e-14);
                assert!(value.contains(hat) && near.contains(slope), "{v:?}: {hat}, {slope}");
            }
        }
        let (value, steepest) = enclosed_hat(Interval::EVERYTHING);
        assert!(value.contains(1.0) && value.contains(-0.4462603202968));
        assert!((1.38..1.3802).contains(&steepest.magnitude()) && value.magnitude() < 1.0001);
    }

    #[test]
    fn bad_options_are_errors() {
        for (hats, beta) in [(0, 1.0), (2, 0.3), (2, 1.1), (2, f64::NAN)] {
            assert!(net(hats, beta).is_err(), "{hats} hats, beta {beta}");
        }
    }
}
