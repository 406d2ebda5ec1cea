//! The numbers a flow computes with.

use dfdx::prelude::{Cpu, Dtype, Storage};
use num_traits::{Float, FloatConst};

/// A floating point type that flows compute with: `f32` or `f64`.
///
/// It joins what dfdx asks of an element with what the engine needs, and reaches through to the
/// plain slice behind a dfdx tensor or gradient.
///
/// ```
/// use flow_core::Scalar;
/// assert_eq!(<f32 as Scalar>::of(0.5), 0.5_f32);
/// assert_eq!(0.5_f32.as_f64(), 0.5);
/// ```
pub trait Scalar: Dtype + Float + FloatConst + std::iter::Sum + sealed::Sealed {
    /// The name that messages and files use: `f32` or `f64`.
    const NAME: &'static str;

    /// The nearest value of this type.
    fn of(value: f64) -> Self;

    /// The same value as an `f64`.
    fn as_f64(self) -> f64;

    /// The plain slice in a dfdx CPU buffer, such as a gradient's.
    fn slice(storage: &mut <Cpu as Storage<Self>>::Vec) -> &mut [Self];
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Scalar for f32 {
    const NAME: &'static str = "f32";

    #[inline]
    fn of(value: f64) -> Self {
        value as f32
    }

    #[inline]
    fn as_f64(self) -> f64 {
        self.into()
    }

    fn slice(storage: &mut <Cpu as Storage<Self>>::Vec) -> &mut [Self] {
        storage
    }
}

impl Scalar for f64 {
    const NAME: &'static str = "f64";

    #[inline]
    fn of(value: f64) -> Self {
        value
    }

    #[inline]
    fn as_f64(self) -> f64 {
        self
    }

    fn slice(storage: &mut <Cpu as Storage<Self>>::Vec) -> &mut [Self] {
        storage
    }
}
