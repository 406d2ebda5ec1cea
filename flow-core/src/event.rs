//! What one sample is: a vector or an image, and the dfdx shape of a batch of them.

use dfdx::prelude::{Const, Dim, Shape as TensorShape};

/// The kind of one sample, known at compile time.
///
/// It fixes the shape of a batch as a dfdx tensor: for a batch dimension `N`,
/// [`Vector<D>`](Vector) gives `(N, Const<D>)` and [`Image<C, H, W>`](Image) gives
/// `(N, Const<C>, Const<H>, Const<W>)`.
pub trait Event: Send + Sync + 'static {
    /// The dfdx shape of a batch.
    type Batch<N: Dim>: TensorShape;

    /// The same as a value.
    const SHAPE: Shape;

    /// The shape of a batch of `rows` samples.
    fn batch<N: Dim>(rows: N) -> Self::Batch<N>;

    /// The batch dimension of a batch's shape.
    fn rows<N: Dim>(batch: &Self::Batch<N>) -> N;
}

/// `D` numbers a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector<const D: usize>;

/// `C` channels of `H` rows and `W` columns a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image<const C: usize, const H: usize, const W: usize>;

impl<const D: usize> Event for Vector<D> {
    type Batch<N: Dim> = (N, Const<D>);
    const SHAPE: Shape = Shape::vector(D);

    fn batch<N: Dim>(rows: N) -> Self::Batch<N> {
        (rows, Const)
    }

    fn rows<N: Dim>(batch: &Self::Batch<N>) -> N {
        batch.0
    }
}

impl<const C: usize, const H: usize, const W: usize> Event for Image<C, H, W> {
    type Batch<N: Dim> = (N, Const<C>, Const<H>, Const<W>);
    const SHAPE: Shape = Shape::image(C, H, W);

    fn batch<N: Dim>(rows: N) -> Self::Batch<N> {
        (rows, Const, Const, Const)
    }

    fn rows<N: Dim>(batch: &Self::Batch<N>) -> N {
        batch.0
    }
}

/// What a flow is conditioned on: nothing ([`Unconditional`]) or a [`Vector`].
pub trait Context: Send + Sync + 'static {
    /// Numbers a row, 0 for an unconditional flow.
    const SIZE: usize;
}

/// No context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unconditional;

impl Context for Unconditional {
    const SIZE: usize = 0;
}

impl<const D: usize> Context for Vector<D> {
    const SIZE: usize = D;
}

/// The shape of one sample as a value: a vector's features, or an image's channels and pixels.
///
/// Inside the engine an image is stored channels-last, so that a block which treats each feature
/// alike at every pixel sees `rows × pixels` vectors of `features` entries.
///
/// ```
/// use flow_core::Shape;
/// let image = Shape::image(3, 4, 6);
/// assert_eq!((image.features(), image.pixels(), image.size()), (3, 24, 72));
/// assert_eq!(Shape::vector(5).to_string(), "Vector<5>");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    features: usize,
    sides: Option<(usize, usize)>,
}

impl Shape {
    /// A vector of `features` numbers.
    pub const fn vector(features: usize) -> Self {
        Self { features, sides: None }
    }

    /// An image of `channels` × `height` × `width`.
    pub const fn image(channels: usize, height: usize, width: usize) -> Self {
        Self { features: channels, sides: Some((height, width)) }
    }

    /// Entries of a vector, or channels of an image.
    pub const fn features(self) -> usize {
        self.features
    }

    /// Height and width of an image.
    pub const fn sides(self) -> Option<(usize, usize)> {
        self.sides
    }

    /// Pixels of an image, 1 for a vector.
    pub const fn pixels(self) -> usize {
        match self.sides {
            Some((height, width)) => height * width,
            None => 1,
        }
    }

    /// Numbers a sample.
    pub const fn size(self) -> usize {
        self.features * self.pixels()
    }

    /// The same vector or image with another number of features.
    pub const fn with_features(self, features: usize) -> Self {
        Self { features, ..self }
    }

    /// Whether two shapes are the same, in a constant.
    pub const fn same(self, other: Self) -> bool {
        self.features == other.features
            && match (self.sides, other.sides) {
                (None, None) => true,
                (Some(a), Some(b)) => a.0 == b.0 && a.1 == b.1,
                _ => false,
            }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.sides {
            None => write!(f, "Vector<{}>", self.features),
            Some((height, width)) => write!(f, "Image<{}, {height}, {width}>", self.features),
        }
    }
}
