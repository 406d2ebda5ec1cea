//! The numbers a flow computes with.

use dfdx::prelude::{Cpu, CpuError, Device, Dtype, HasErr, Storage};
use num_traits::{Float, FloatConst};
use rand::distributions::uniform::SampleUniform;

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
pub trait Scalar:
    Dtype + Float + FloatConst + SampleUniform + std::iter::Sum + flow_kernels::Element + sealed::Sealed
{
    /// [`Cpu`], as a device that is known to have all operations of dfdx for this type. In code
    /// generic over the scalar the compiler cannot see that of `Cpu` itself.
    type Device: Device<Self>
        + Storage<Self, Vec: Send + Sync>
        + HasErr<Err = CpuError>
        + Send
        + Sync;

    /// The name that messages and files use: `f32` or `f64`.
    const NAME: &'static str;

    /// The nearest value of this type.
    fn of(value: f64) -> Self;

    /// The same value as an `f64`.
    fn as_f64(self) -> f64;

    /// A device whose random numbers, such as the starting weights of dfdx modules, are those of
    /// `seed`.
    fn device(seed: u64) -> Self::Device;

    /// The plain slice in a dfdx CPU buffer, such as a gradient's.
    fn slice(storage: &mut <Cpu as Storage<Self>>::Vec) -> &mut [Self];
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Scalar for f32 {
    type Device = Cpu;

    const NAME: &'static str = "f32";

    #[inline]
    fn of(value: f64) -> Self {
        value as f32
    }

    #[inline]
    fn as_f64(self) -> f64 {
        self.into()
    }

    fn device(seed: u64) -> Cpu {
        Cpu::seed_from_u64(seed)
    }

    fn slice(storage: &mut <Cpu as Storage<Self>>::Vec) -> &mut [Self] {
        storage
    }
}

impl Scalar for f64 {
    type Device = Cpu;

    const NAME: &'static str = "f64";

    #[inline]
    fn of(value: f64) -> Self {
        value
    }

    #[inline]
    fn as_f64(self) -> f64 {
        self
    }

    fn device(seed: u64) -> Cpu {
        Cpu::seed_from_u64(seed)
    }

    fn slice(storage: &mut <Cpu as Storage<Self>>::Vec) -> &mut [Self] {
        storage
    }
}
