//! The slopes of activations on intervals.

use super::Activation;
use crate::blocks::curves::{Curve, NormalCdf, Softplus, Tanh};
use crate::lipschitz::Interval;

impl Activation {
    /// Every slope on an interval; at a kink, those of both sides.
    pub(crate) fn slopes(self, v: Interval) -> Interval {
        let step = |below: f64| {
            let at = |beyond: bool| if beyond { 1.0 } else { below };
            Interval::new(at(v.low > 0.0), at(v.high >= 0.0))
        };
        let found = match self {
            Self::Relu => step(0.0),
            Self::LeakyRelu => step(0.01),
            Self::Elu => {
                let rest = v.meet(Interval::new(f64::NEG_INFINITY, 0.0)).map(Interval::exp);
                let above = (v.high >= 0.0).then_some(Interval::point(1.0));
                let both = rest.into_iter().chain(above).reduce(Interval::hull);
                both.unwrap_or(Interval::new(0.0, 1.0))
            }
            Self::Softplus => Softplus.enclose(v).1,
            Self::Tanh => Tanh.enclose(v).1,
            Self::Swish | Self::Gelu => self.bent_slopes(v),
        };
        let every = Interval::new((1.0 - self.lipschitz()).next_down(), self.lipschitz());
        found.meet(every).unwrap_or(every)
    }

    /// Swish and gelu: the slope `s` has `s(−v) = 1 − s(v)`, its largest value at a turn, its least at
    /// minus that, and no other.
    fn bent_slopes(self, v: Interval) -> Interval {
        let most = self.lipschitz();
        let turn = if self == Self::Swish { 2.399_357_280_5 } else { std::f64::consts::SQRT_2 };
        let mut all = self.slope_at(v.low).hull(self.slope_at(v.high));
        for (place, extreme) in [(-turn, (1.0 - most).next_down()), (turn, most)] {
            if v.low < place + 1e-6 && v.high > place - 1e-6 {
                all = all.hull(Interval::point(extreme));
            }
        }
        all
    }

    fn slope_at(self, v: f64) -> Interval {
        match v {
            f64::NEG_INFINITY => Interval::ZERO,
            f64::INFINITY => Interval::point(1.0),
            v => {
                let v = Interval::point(v);
                // σ + v·σ(1 − σ), and Φ + v·φ.
                let (share, density) = if self == Self::Swish {
                    (v.sigmoid(), v.sigmoid() * (-v).sigmoid())
                } else {
                    NormalCdf.enclose(v)
                };
                share + v * density
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Noise;

    const ALL: [Activation; 7] = [
        Activation::Relu,
        Activation::Elu,
        Activation::LeakyRelu,
        Activation::Tanh,
        Activation::Swish,
        Activation::Gelu,
        Activation::Softplus,
    ];

    fn slope(activation: Activation, v: f64) -> f64 {
        activation.at(v).1
    }

    #[test]
    fn they_hold_every_slope_and_little_else() {
        let noise = Noise::seed(7);
        for activation in ALL {
            for k in 0..2000 {
                let scale = [0.01, 1.0, 5.0][k as usize % 3];
                let a = 3.0 * noise.normal(2 * k);
                let b = a + scale * noise.normal(2 * k + 1);
                let v = Interval::new(a.min(b), a.max(b));
                let found = activation.slopes(v);
                let mut seen = Interval::point(slope(activation, a));
                for i in 0..=64 {
                    let at = (v.low + (v.high - v.low) * f64::from(i) / 64.0).min(v.high);
                    seen = seen.hull(Interval::point(slope(activation, at)));
                }
                // Near the zero of a slope a kernel loses digits.
                let lost = 1e-15;
                assert!(
                    found.low <= seen.low + lost && seen.high <= found.high + lost,
                    "{activation:?} on {v:?}: {seen:?} outside {found:?}"
                );
                let slack = 0.01 * (v.high - v.low) + 1e-9;
                assert!(
                    found.low >= seen.low - slack && found.high <= seen.high + slack,
                    "{activation:?} on {v:?}: {found:?} around {seen:?}"
                );
            }
        }
    }

    #[test]
    fn slopes_far_out_keep_their_size() {
        for x in [15.0_f64, 20.0, 40.0, 300.0] {
            let found = Activation::Tanh.slopes(Interval::point(-x));
            let want = x.cosh().powi(-2);
            assert!(found.contains(want) && found.high < 1.0001 * want, "{x}: {found:?}, {want:e}");
        }
        for activation in ALL {
            let all = activation.slopes(Interval::EVERYTHING);
            assert!(
                all.high <= activation.lipschitz() && all.high >= 1.0,
                "{activation:?}: {all:?}"
            );
            for v in [-1e308, -800.0, 800.0, 1e308] {
                let at = activation.slopes(Interval::point(v));
                assert!(
                    all.contains(at.low) && all.contains(at.high),
                    "{activation:?} at {v}: {at:?}"
                );
            }
        }
    }
}
