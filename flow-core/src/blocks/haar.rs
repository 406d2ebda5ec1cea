use super::rearrange::Rearrange;
use crate::engine::{Builder, Pass};
use crate::lipschitz::{Amplification, Cell, Interval, MeanValue, Probe};
use crate::{Block, Facts, Result, Scalar, Shape};

/// The orthonormal Haar wavelet transform of each 2 × 2 square of pixels, channel by channel:
/// `haar` (as in Ardizzone et al. 2019, "Guided image generation with conditional invertible
/// neural networks"). The log-determinant is 0.
///
/// Of a square `[[p, q], [r, s]]` of a channel `c`, output channels `4c` to `4c + 3` are
/// `(p+q+r+s)/2`, its mean twice over, `(p−q+r−s)/2`, `(p+q−r−s)/2` and `(p−q−r+s)/2`.
#[derive(Clone, Debug)]
pub struct Haar {
    squeeze: Rearrange,
}

impl Haar {
    /// The block on images of even height and width.
    ///
    /// # Errors
    /// Where `shape` is no image with numbers in it, or a side is odd.
    pub fn new<E: Scalar>(builder: &mut Builder<E>, shape: Shape) -> Result<Self> {
        Ok(Self { squeeze: Rearrange::squeeze(builder, shape, 2)? })
    }

    /// Data to latent, and the gradient of the other direction.
    fn there<E: Scalar>(&self, pass: &mut Pass<'_, E>, x: &mut [E]) {
        self.squeeze.there(pass, x);
        mix(x);
    }

    /// Latent to data, and the gradient of the other direction.
    fn back<E: Scalar>(&self, pass: &mut Pass<'_, E>, x: &mut [E]) {
        mix(x);
        self.squeeze.back(pass, x);
    }
}

/// The four pixels of each square, which stand together, become its bands. The matrix is symmetric
/// and orthogonal, so this is its own inverse and its own transpose.
fn mix<E: Scalar>(x: &mut [E]) {
    let half = E::of(0.5);
    for square in x.chunks_exact_mut(4) {
        let [p, q, r, s] = [square[0], square[1], square[2], square[3]];
        let ([top, bottom], [left, right]) = ([p + q, r + s], [p - q, r - s]);
        square[0] = half * (top + bottom);
        square[1] = half * (left + right);
        square[2] = half * (top - bottom);
        square[3] = half * (left - right);
    }
}

impl<E: Scalar> Block<E> for Haar {
    super::orthogonal!(there, back);

    super::lowered!(record);

    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        if !probe.backwards() {
            self.squeeze.reorder(probe, false);
        }
        for square in probe.region().chunks_exact_mut(4) {
            let [p, q, r, s] = [square[0], square[1], square[2], square[3]];
            let half = Interval::point(0.5);
            square[0] = (p + q + r + s) * half;
            square[1] = (p - q + r - s) * half;
            square[2] = (p + q - r - s) * half;
            square[3] = (p - q - r + s) * half;
        }
        if probe.backwards() {
            self.squeeze.reorder(probe, true);
        }
        Ok(Amplification::ISOMETRY)
    }

    fn mean_value(&self, probe: &mut Probe<'_, E>, cell: &Cell) -> Result<Option<MeanValue>> {
        probe.affine(self, cell).map(Some)
    }

    fn facts(&self) -> Facts {
        Facts::ISOMETRY
    }
}

#[cfg(feature = "cuda")]
#[path = "haar_lowering.rs"]
mod lowering;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Direction;
    use crate::testing::{check_laws, single, Make};

    struct Images<const C: usize, const H: usize, const W: usize>;
    impl<const C: usize, const H: usize, const W: usize, const D: usize> Make<D, 0>
        for Images<C, H, W>
    {
        type Block = Haar;
        fn make(b: &mut Builder<f64>) -> Result<Haar> {
            Haar::new(b, Shape::image(C, H, W))
        }
    }

    #[test]
    fn laws_hold() {
        check_laws::<Images<1, 2, 2>, 4, 0>();
        check_laws::<Images<3, 2, 4>, 24, 0>();
    }

    #[test]
    fn bands_are_sums_and_differences_of_each_square() {
        let machine = single::<Images<3, 4, 6>, 72, 0>();
        let pixel = |c: usize, y: usize, x: usize| ((c * 71 + y * 37 + x * x * 11) % 23) as f64;
        let mut x = vec![0.0; 72];
        for (i, value) in x.iter_mut().enumerate() {
            *value = pixel(i % 3, i / 18, i / 3 % 6);
        }
        machine.run(Direction::Forward, &mut x, &[], None).unwrap();
        for (i, &got) in x.iter().enumerate() {
            let (channel, column, row) = (i % 12, i / 12 % 3, i / 36);
            let (down, across) = (channel % 4 / 2 == 1, channel % 2 == 1);
            let mut want = 0.0;
            for (dy, dx) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let minus = (down && dy == 1) != (across && dx == 1);
                let sign = if minus { -0.5 } else { 0.5 };
                want += sign * pixel(channel / 4, 2 * row + dy, 2 * column + dx);
            }
            assert_eq!(got, want, "channel {channel} at row {row}, column {column}");
        }
    }

    #[test]
    fn odd_sides_are_refused() {
        let made = Haar::new(&mut Builder::<f32>::new(0), Shape::image(3, 4, 5));
        assert!(made.unwrap_err().to_string().contains("a divisor of both sides"));
    }
}
