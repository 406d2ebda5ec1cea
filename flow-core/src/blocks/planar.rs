use super::curves::{Curve, Softplus, Tanh};
use super::features::add_scaled;
use super::{no_inverse, non_empty, FORWARD_ONLY, NARROWINGS};
use crate::backend::cpu::elementwise::{sigmoid, softplus};
use crate::engine::{Builder, Derived, Parameter, Pass, Start, State, Values};
use crate::lipschitz::{
    affine, up, Amplification, Cell, Interval, IntervalMatrix, MeanValue, Probe,
};
use crate::sums::dot;
use crate::{Block, Facts, Result, Scalar, Shape};

/// `y = x + û·tanh(wᵀx + b)`, forward only (Rezende and Mohamed 2015, "Variational inference with
/// normalizing flows", eq. 10 and appendix A.1).
///
/// `û` is `u` moved along `w` until `wᵀû = −1 + log(1 + exp(wᵀu))`, which is above −1, so that the map
/// is invertible at every weight. Its inverse has no closed form and is not offered: a flow with this
/// block serves where samples are drawn forwards, as in a variational posterior.
///
/// Parameters `u` and `w` `[features]`, `b` `[1]`. It starts as the identity: with d features `w` is
/// normal of variance 1/d, `u` the multiple of it at which `û` is 0, and `b` is 0. The log-determinant
/// is `log(1 + (1 − tanh²)·wᵀû)`.
#[derive(Clone, Debug)]
pub struct Planar {
    path: String,
    u: Parameter,
    w: Parameter,
    b: Parameter,
    /// `û`, then `1 + wᵀû`.
    moved: Derived,
}

impl Planar {
    /// The block as the identity.
    ///
    /// # Errors
    /// Where `shape` holds no numbers.
    pub fn new<E: Scalar>(builder: &mut Builder<E>, shape: Shape) -> Result<Self> {
        let d = non_empty(shape)?.features();
        let w = builder.noise("w");
        let w: Vec<f64> = (0..d).map(|i| w.normal(i as u64) / (d as f64).sqrt()).collect();
        // wᵀu = softplus⁻¹(1), where û = 0.
        let along = 1f64.exp_m1().ln() / w.iter().map(|w| w * w).sum::<f64>();
        let u = w.iter().map(|w| E::of(along * w)).collect();
        Ok(Self {
            path: builder.path(),
            u: builder.parameter("u", &[d], Start::Values(u)),
            w: builder.parameter("w", &[d], Start::Values(w.iter().map(|&w| E::of(w)).collect())),
            b: builder.parameter("b", &[1], Start::Constant(0.0)),
            moved: builder.derived(d + 1),
        })
    }
}

/// What `u` is moved by, as a multiple of `w`, with `wᵀu` and `‖w‖²`. For `w = 0` there is nothing to
/// guard, and no direction to move in.
fn moved<E: Scalar>(u: &[E], w: &[E]) -> (E, E, E) {
    let (along, square) = (dot(u, w), dot(w, w));
    let by = if square == E::zero() {
        E::zero()
    } else {
        (softplus(along).0 - E::one() - along) / square
    };
    (by, along, square)
}

/// `û` and `1 + wᵀû` of weights in exact arithmetic.
fn enclosed_move(u: &[Interval], w: &[Interval]) -> (Vec<Interval>, Interval) {
    let (zero, one) = (Interval::ZERO, Interval::point(1.0));
    if w.iter().all(|&w| w == zero) {
        return (u.to_vec(), one);
    }
    let along = u.iter().zip(w).fold(zero, |sum, (&u, &w)| sum + u * w);
    let square = w.iter().fold(zero, |sum, w| sum + w.square());
    let (kappa, _) = Softplus.enclose(along);
    let by = (kappa - one - along) / square;
    (u.iter().zip(w).map(|(&u, &w)| u + by * w).collect(), kappa)
}

/// The map on a box.
struct On {
    /// What goes in.
    x: Vec<Interval>,
    /// What comes out.
    y: Vec<Interval>,
    /// `û`.
    moved: Vec<Interval>,
    w: Vec<Interval>,
    /// `1 − tanh²`.
    slope: Interval,
    /// `1 + wᵀû`.
    kappa: Interval,
}

impl Planar {
    /// On the box of what goes in, or of what comes out where the probe goes backwards.
    fn on_box<E: Scalar>(&self, probe: &Probe<'_, E>, region: &[Interval]) -> On {
        let wide = |slot| -> Vec<Interval> {
            probe.parameter(slot).iter().map(|v| Interval::point(v.as_f64())).collect()
        };
        let (u, w, b) = (wide(&self.u), wide(&self.w), wide(&self.b)[0]);
        let (moved, kappa) = enclosed_move(&u, &w);
        let bend = |x: &[Interval]| affine(|_, j| w[j].low, 1, x, |_| b.low)[0];
        let shifted = |x: &[Interval], t: Interval| -> Vec<Interval> {
            x.iter().zip(&moved).map(|(&x, &u)| x + u * t).collect()
        };
        let mut x = region.to_vec();
        if probe.backwards() {
            let mut t = Interval::new(-1.0, 1.0);
            x = shifted(region, -t);
            for _ in 0..NARROWINGS {
                t = t.meet(bend(&x).tanh()).unwrap_or(t);
                x = shifted(region, -t);
            }
        }
        let v = bend(&x);
        let y = shifted(&x, v.tanh());
        let (_, slope) = Tanh.enclose(v);
        let slope = Interval::new(slope.low.max(0.0), slope.high.min(1.0));
        On { x, y, moved, w, slope, kappa }
    }
}

/// `1 + (1 − t²)·(κ − 1)`, without the difference that would lose it near 0.
pub(super) fn stretch<E: Scalar>(t: E, kappa: E) -> E {
    t * t + (E::one() - t * t) * kappa
}

impl<E: Scalar> Block<E> for Planar {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        let d = self.w.len();
        let (w, b) = (pass.parameter(&self.w), pass.parameter(&self.b)[0]);
        let (u, kappa) = pass.derived(&self.moved).split_at(d);
        if pass.saving() {
            let input = pass.take_copy(x);
            pass.save(input);
        }
        for (row, log_det) in x.chunks_exact_mut(d).zip(log_det) {
            let t = (dot(w, row) + b).tanh();
            add_scaled(row, u, t);
            *log_det += stretch(t, kappa[0]).ln();
        }
        Ok(())
    }

    super::lowered!(record, record_weights);

    fn inverse(&self, _: &mut Pass<'_, E>, _: &mut [E], _: &mut [E]) -> Result<()> {
        no_inverse("planar", &self.path)
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        let (d, one, two) = (self.w.len(), E::one(), E::of(2.0));
        let x = pass.restore();
        let (w, b) = (pass.parameter(&self.w), pass.parameter(&self.b)[0]);
        let (u, kappa) = pass.derived(&self.moved).split_at(d);
        let kappa = kappa[0];
        let rows = gradient.chunks_exact_mut(d).zip(x.chunks_exact(d)).zip(log_det);
        for ((gradient, x), &by_log) in rows {
            let t = (dot(w, x) + b).tanh();
            let (slope, stretch) = (one - t * t, stretch(t, kappa));
            let by_t = dot(gradient, u) + by_log * two * t * (one - kappa) / stretch;
            let by_sum = by_t * slope;
            let by_moved = pass.derived_gradient(&self.moved);
            add_scaled(&mut by_moved[..d], gradient, t);
            by_moved[d] += by_log * slope / stretch;
            add_scaled(pass.gradient(&self.w), x, by_sum);
            pass.gradient(&self.b)[0] += by_sum;
            add_scaled(gradient, w, by_sum);
        }
        pass.give(x);
        Ok(())
    }

    fn inverse_vjp(&self, _: &mut Pass<'_, E>, _: &mut [E], _: &[E]) -> Result<()> {
        no_inverse("planar", &self.path)
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        let (u, w) = (values.parameter(&self.u), values.parameter(&self.w));
        let (by, along, square) = moved(u, w);
        let (out, kappa) = self.moved.of_mut(derived).split_at_mut(u.len());
        out.copy_from_slice(u);
        add_scaled(out, w, by);
        kappa[0] = if square == E::zero() { E::one() } else { softplus(along).0 };
        Ok(())
    }

    fn finish(&self, state: &State<E>, from: &[E], gradient: &mut [E]) -> Result<()> {
        let (u, w) = (state.values.parameter(&self.u), state.values.parameter(&self.w));
        let (by, along, square) = moved(u, w);
        let (by_moved, by_kappa) = self.moved.of(from).split_at(u.len());
        add_scaled(self.u.of_mut(gradient), by_moved, E::one());
        if square == E::zero() {
            return Ok(());
        }
        let per_square = dot(by_moved, w) / square;
        let slope = sigmoid(along);
        let by_along = by_kappa[0] * slope + per_square * (slope - E::one());
        add_scaled(self.u.of_mut(gradient), w, by_along);
        let by_w = self.w.of_mut(gradient);
        add_scaled(by_w, by_moved, by);
        add_scaled(by_w, u, by_along);
        add_scaled(by_w, w, E::of(-2.0) * per_square * by);
        Ok(())
    }

    /// The Jacobian is `I + s·û·wᵀ` with `s = 1 − tanh²`. Its singular values are 1 but for two, whose
    /// product is `κ = 1 + s·wᵀû` and whose difference is `β = s·‖û‖·‖w‖`: the largest is
    /// `(√(4κ + β²) + β)/2`, the smallest κ over it. Both leave 1 further as s rises, for the inverse is
    /// `I − (s/κ)·û·wᵀ`, where s/κ rises with s.
    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        let region = std::mem::take(probe.region());
        let On { x, y, moved, w, slope, kappa } = self.on_box(probe, &region);
        *probe.region() = if probe.backwards() { x } else { y };

        let (one, slope) = (Interval::point(1.0), Interval::point(slope.high));
        let kappa = (one - slope) + slope * kappa;
        let length =
            |v: &[Interval]| v.iter().fold(Interval::ZERO, |sum, v| sum + v.square()).sqrt();
        let beta = slope * length(&moved) * length(&w);
        let four = Interval::point(4.0);
        let most = Interval::point(0.5) * ((four * kappa + beta.square()).sqrt() + beta);
        let least = kappa / most;
        let inverse = if least.low > 0.0 { up(1.0 / least.low) } else { f64::INFINITY };
        Ok(Amplification::certified(most.high.max(1.0), inverse.max(1.0)))
    }

    /// `I + s·û·wᵀ`, or its inverse on a box that holds the preimage.
    fn mean_value(&self, probe: &mut Probe<'_, E>, cell: &Cell) -> Result<Option<MeanValue>> {
        let (backwards, d) = (probe.backwards(), cell.centre.len());
        let On { moved, w, slope, .. } = self.on_box(probe, &cell.sides);
        let On { x, y, .. } = self.on_box(probe, &cell.point());
        let entry = |i: usize| {
            let step = slope * moved[i / d] * w[i % d];
            if i / d == i % d {
                Interval::point(1.0) + step
            } else {
                step
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
#[path = "planar_lowering.rs"]
mod lowering;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Direction;
    use crate::testing::{check_forward_laws, single, Make};

    struct Vectors;
    impl<const D: usize> Make<D, 0> for Vectors {
        type Block = Planar;
        fn make(b: &mut Builder<f64>) -> Result<Planar> {
            Planar::new(b, Shape::vector(D))
        }
    }

    #[test]
    fn laws_hold() {
        check_forward_laws::<Vectors, 1, 0>();
        check_forward_laws::<Vectors, 2, 0>();
        check_forward_laws::<Vectors, 5, 0>();
    }

    #[test]
    fn it_starts_as_the_identity() {
        let machine = single::<Vectors, 3, 0>();
        let mut x = [1.0, -2.0, 0.3];
        let (log_det, _) = machine.run(Direction::Forward, &mut x, &[], None).unwrap();
        assert!(log_det[0].abs() < 1e-15 && (x[1] + 2.0).abs() < 1e-15, "{x:?} {log_det:?}");
    }

    #[test]
    fn no_weights_make_it_fold() {
        let run = |size: f64, x: &mut [f64]| {
            let mut machine = single::<Vectors, 2, 0>();
            // u against w, as far as it goes.
            machine.step(|p| p.copy_from_slice(&[-size, 0.5 * size, 2.0, -1.0, 0.0])).unwrap();
            machine.run(Direction::Forward, x, &[], None).unwrap().0
        };
        // At the plane wᵀx = 0 the slope along w is least.
        for size in [30.0, 100.0, 250.0] {
            let log_det = run(size, &mut [1.0, 2.0])[0];
            assert!((log_det + 2.5 * size).abs() < 1e-11, "{size}: {log_det}");
        }
        let beside = run(1e6, &mut [1.0, 2.001, 1.0, 1.999]);
        assert!(beside.iter().all(|l| l.is_finite()), "{beside:?}");
    }

    #[test]
    fn a_plane_without_direction_is_a_shift() {
        let mut machine = single::<Vectors, 2, 0>();
        machine.step(|p| p.copy_from_slice(&[1.0, 2.0, 0.0, 0.0, 0.5])).unwrap();
        let mut x = [0.0, 1.0];
        let (log_det, _) = machine.run(Direction::Forward, &mut x, &[], None).unwrap();
        let t = 0.5_f64.tanh();
        assert_eq!((x, log_det[0]), ([t, 1.0 + 2.0 * t], 0.0));
    }
}
