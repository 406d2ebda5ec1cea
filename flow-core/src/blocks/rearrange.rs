use super::non_empty;
use crate::engine::{Builder, Pass};
use crate::lipschitz::{Amplification, Cell, MeanValue, Probe};
use crate::{Block, Facts, FlowError, Result, Scalar, Shape};

/// Another order of all numbers of an image: `squeeze(k)`, `unsqueeze(k)` and `flatten`. The
/// log-determinant is 0.
///
/// ```
/// use flow_core::blocks::Rearrange;
/// use flow_core::{Builder, Shape};
///
/// let mut builder = Builder::<f32>::new(0);
/// assert!(Rearrange::squeeze(&mut builder, Shape::image(3, 4, 6), 2).is_ok());
/// let error = Rearrange::squeeze(&mut builder, Shape::image(3, 4, 5), 2).unwrap_err();
/// assert!(error.to_string().starts_with("the factor of squeeze is 2, expected a divisor"));
/// ```
#[derive(Clone, Debug)]
pub struct Rearrange {
    /// Where each number of the output stands in the input.
    there: Box<[usize]>,
    /// Where each number of the input stands in the output.
    back: Box<[usize]>,
}

impl Rearrange {
    /// `k × k` pixels become `k²` channels (Dinh et al. 2017, "Density estimation using Real NVP",
    /// section 3.6): the pixel at row `dy` and column `dx` of its square becomes channel
    /// `channel·k² + dy·k + dx`.
    ///
    /// # Errors
    /// Where `shape` is no image with numbers in it, or `factor` does not divide its sides.
    pub fn squeeze<E: Scalar>(_: &mut Builder<E>, shape: Shape, factor: usize) -> Result<Self> {
        let [channels, height, width] = sides("squeeze", shape)?;
        if factor == 0 || height % factor != 0 || width % factor != 0 {
            let expected = format!("a divisor of both sides of {shape}");
            return Err(FlowError::option("the factor of squeeze", factor, expected));
        }
        Ok(Self::of(squeezed(channels, height, width, factor)))
    }

    /// The inverse of [`squeeze`](Self::squeeze): `k²` channels become `k × k` pixels.
    ///
    /// # Errors
    /// Where `shape` is no image with numbers in it, or `factor`² does not divide its channels.
    pub fn unsqueeze<E: Scalar>(_: &mut Builder<E>, shape: Shape, factor: usize) -> Result<Self> {
        let [channels, height, width] = sides("unsqueeze", shape)?;
        let square = factor.checked_mul(factor);
        let square = square.filter(|&square| square != 0 && channels % square == 0);
        let Some(square) = square else {
            let expected = format!("one whose square divides the channels of {shape}");
            return Err(FlowError::option("the factor of unsqueeze", factor, expected));
        };
        let Self { there, back } =
            Self::of(squeezed(channels / square, height * factor, width * factor, factor));
        Ok(Self { there: back, back: there })
    }

    /// An image becomes a vector by channels, rows and columns.
    ///
    /// # Errors
    /// Where `shape` is no image with numbers in it.
    pub fn flatten<E: Scalar>(_: &mut Builder<E>, shape: Shape) -> Result<Self> {
        let [channels, height, width] = sides("flatten", shape)?;
        let pixels = height * width;
        Ok(Self::of((0..shape.size()).map(|to| to % pixels * channels + to / pixels).collect()))
    }

    fn of(there: Vec<usize>) -> Self {
        let mut back = vec![0; there.len()];
        there.iter().enumerate().for_each(|(to, &from)| back[from] = to);
        Self { there: there.into(), back: back.into() }
    }

    /// Data to latent, and the gradient of the other direction.
    pub(super) fn there<E: Scalar>(&self, pass: &mut Pass<'_, E>, x: &mut [E]) {
        gather(pass, &self.there, x);
    }

    /// Brings a probe's box in order.
    pub(super) fn reorder<E: Scalar>(&self, probe: &mut Probe<'_, E>, backwards: bool) {
        let from = if backwards { &self.back } else { &self.there };
        let region = probe.region();
        *region = from.iter().map(|&i| region[i]).collect();
    }

    /// Latent to data, and the gradient of the other direction.
    pub(super) fn back<E: Scalar>(&self, pass: &mut Pass<'_, E>, x: &mut [E]) {
        gather(pass, &self.back, x);
    }
}

/// The channels, height and width of an image with numbers in it.
pub(super) fn sides(block: &str, shape: Shape) -> Result<[usize; 3]> {
    match non_empty(shape)?.sides() {
        Some((height, width)) => Ok([shape.features(), height, width]),
        None => Err(FlowError::option(format!("the shape of {block}"), shape, "an image")),
    }
}

/// Where each number of the squeezed image stands in an image of this shape, channels-last both.
fn squeezed(channels: usize, height: usize, width: usize, k: usize) -> Vec<usize> {
    let mut there = Vec::with_capacity(channels * height * width);
    for (row, column) in (0..height / k).flat_map(|y| (0..width / k).map(move |x| (y * k, x * k))) {
        for channel in 0..channels {
            for (dy, dx) in (0..k).flat_map(|dy| (0..k).map(move |dx| (dy, dx))) {
                there.push(((row + dy) * width + column + dx) * channels + channel);
            }
        }
    }
    there
}

fn gather<E: Scalar>(pass: &mut Pass<'_, E>, from: &[usize], x: &mut [E]) {
    let mut scratch = pass.take(from.len());
    for row in x.chunks_exact_mut(from.len()) {
        scratch.copy_from_slice(row);
        row.iter_mut().zip(from).for_each(|(entry, &from)| *entry = scratch[from]);
    }
    pass.give(scratch);
}

impl<E: Scalar> Block<E> for Rearrange {
    super::orthogonal!(there, back);

    super::lowered!(record);

    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        self.reorder(probe, probe.backwards());
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
#[path = "rearrange_lowering.rs"]
mod lowering;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Direction;
    use crate::testing::{check_laws, single, Make};

    struct Squeeze<const C: usize, const H: usize, const W: usize, const K: usize>;
    impl<const C: usize, const H: usize, const W: usize, const K: usize, const D: usize> Make<D, 0>
        for Squeeze<C, H, W, K>
    {
        type Block = Rearrange;
        fn make(b: &mut Builder<f64>) -> Result<Rearrange> {
            Rearrange::squeeze(b, Shape::image(C, H, W), K)
        }
    }

    struct Unsqueeze<const C: usize, const H: usize, const W: usize, const K: usize>;
    impl<const C: usize, const H: usize, const W: usize, const K: usize, const D: usize> Make<D, 0>
        for Unsqueeze<C, H, W, K>
    {
        type Block = Rearrange;
        fn make(b: &mut Builder<f64>) -> Result<Rearrange> {
            Rearrange::unsqueeze(b, Shape::image(C, H, W), K)
        }
    }

    struct Flatten<const C: usize, const H: usize, const W: usize>;
    impl<const C: usize, const H: usize, const W: usize, const D: usize> Make<D, 0>
        for Flatten<C, H, W>
    {
        type Block = Rearrange;
        fn make(b: &mut Builder<f64>) -> Result<Rearrange> {
            Rearrange::flatten(b, Shape::image(C, H, W))
        }
    }

    #[test]
    fn laws_hold() {
        check_laws::<Squeeze<3, 2, 4, 2>, 24, 0>();
        check_laws::<Squeeze<1, 3, 6, 3>, 18, 0>();
        check_laws::<Squeeze<5, 1, 2, 1>, 10, 0>();
        check_laws::<Unsqueeze<12, 1, 2, 2>, 24, 0>();
        check_laws::<Flatten<3, 2, 3>, 18, 0>();
        check_laws::<Flatten<1, 1, 1>, 1, 0>();
    }

    /// Channels-last rows as functions of their place in the image.
    fn image([c, h, w]: [usize; 3], at: impl Fn(usize, usize, usize) -> f64) -> Vec<f64> {
        let mut row = vec![0.0; c * h * w];
        for (channel, y, x) in
            (0..c).flat_map(|c| (0..h).flat_map(move |y| (0..w).map(move |x| (c, y, x))))
        {
            row[(y * w + x) * c + channel] = at(channel, y, x);
        }
        row
    }

    fn number(channel: usize, y: usize, x: usize) -> f64 {
        (channel * 1000 + y * 30 + x) as f64
    }

    #[test]
    fn squares_become_channels_row_by_row() {
        let machine = single::<Squeeze<2, 6, 9, 3>, 108, 0>();
        let mut x = image([2, 6, 9], number);
        x.extend(image([2, 6, 9], |c, y, x| -number(c, y, x)));
        machine.run(Direction::Forward, &mut x, &[], None).unwrap();
        let want = image([18, 2, 3], |c, y, x| number(c / 9, 3 * y + c % 9 / 3, 3 * x + c % 3));
        assert_eq!(x[..108], want);
        assert!(x[108..].iter().zip(&want).all(|(x, want)| *x == -want));
    }

    #[test]
    fn unsqueezing_undoes_squeezing() {
        let (mut workspace, mut none) = Default::default();
        let mut builder = Builder::<f64>::new(0);
        let squeeze = Rearrange::squeeze(&mut builder, Shape::image(3, 4, 6), 2).unwrap();
        let unsqueeze = Rearrange::unsqueeze(&mut builder, Shape::image(12, 2, 3), 2).unwrap();
        let (_, state) = builder.finish();
        let mut pass = Pass::new(1, &state, &[], &mut workspace, &mut none);
        let mut x = image([3, 4, 6], number);
        squeeze.forward(&mut pass, &mut x, &mut [0.0]).unwrap();
        unsqueeze.forward(&mut pass, &mut x, &mut [0.0]).unwrap();
        assert_eq!(x, image([3, 4, 6], number));
    }

    #[test]
    fn a_flat_image_is_ordered_by_channels_rows_and_columns() {
        let machine = single::<Flatten<3, 2, 5>, 30, 0>();
        let mut x = image([3, 2, 5], number);
        machine.run(Direction::Forward, &mut x, &[], None).unwrap();
        let mut sorted = x.clone();
        sorted.sort_by(f64::total_cmp);
        assert_eq!(x, sorted);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut builder = Builder::<f32>::new(0);
        let b = &mut builder;
        let text = |made: Result<Rearrange>| made.unwrap_err().to_string();
        let image = Shape::image(3, 4, 6);
        assert_eq!(
            text(Rearrange::squeeze(b, image, 4)),
            "the factor of squeeze is 4, expected a divisor of both sides of Image<3, 4, 6>"
        );
        assert!(text(Rearrange::squeeze(b, image, 0)).contains("squeeze is 0"));
        assert_eq!(
            text(Rearrange::unsqueeze(b, image, 2)),
            "the factor of unsqueeze is 2, expected one whose square divides the channels of \
             Image<3, 4, 6>"
        );
        for factor in [0, usize::MAX] {
            assert!(text(Rearrange::unsqueeze(b, image, factor)).contains("unsqueeze is"));
        }
        assert_eq!(
            text(Rearrange::flatten(b, Shape::vector(3))),
            "the shape of flatten is Vector<3>, expected an image"
        );
        assert!(text(Rearrange::flatten(b, Shape::image(3, 0, 2))).contains("at least one number"));
    }
}
