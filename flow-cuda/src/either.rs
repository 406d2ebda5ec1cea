//! One of two devices, chosen at run time.

use crate::{Area, Device, DeviceError, Op, Result};

/// One of two devices, or of two memories of theirs.
///
/// ```
/// use flow_cuda::{Device, Either};
/// # #[cfg(all(feature = "gpu", feature = "emulation"))]
/// # fn main() {
/// use flow_cuda::{Emulated, Gpu};
/// let device: Option<Either<Gpu, Emulated>> =
///     Gpu::new(0).map(Either::First).or_else(|_| Emulated::new().map(Either::Second)).ok();
/// if let Some(device) = device {
///     println!("on {}", device.name());
/// }
/// # }
/// # #[cfg(not(all(feature = "gpu", feature = "emulation")))]
/// # fn main() {}
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The one.
    First(A),
    /// The other.
    Second(B),
}

use Either::{First, Second};

/// A memory of the other device.
fn foreign<T>() -> Result<T> {
    let reason = "it is in the memory of another device".into();
    Err(DeviceError::Transfer { what: "reaching for numbers", reason })
}

impl<A: Device, B: Device> Device for Either<A, B> {
    type Memory = Either<A::Memory, B::Memory>;
    type Tables = Either<A::Tables, B::Tables>;
    type Graph = Either<A::Graph, B::Graph>;

    fn name(&self) -> String {
        match self {
            First(device) => device.name(),
            Second(device) => device.name(),
        }
    }

    fn memory(&self, len: usize) -> Result<Self::Memory> {
        Ok(match self {
            First(device) => First(device.memory(len)?),
            Second(device) => Second(device.memory(len)?),
        })
    }

    fn write(&self, memory: &mut Self::Memory, offset: usize, numbers: &[f32]) -> Result<()> {
        match (self, memory) {
            (First(device), First(memory)) => device.write(memory, offset, numbers),
            (Second(device), Second(memory)) => device.write(memory, offset, numbers),
            _ => foreign(),
        }
    }

    fn read(&self, memory: &Self::Memory, offset: usize, numbers: &mut [f32]) -> Result<()> {
        match (self, memory) {
            (First(device), First(memory)) => device.read(memory, offset, numbers),
            (Second(device), Second(memory)) => device.read(memory, offset, numbers),
            _ => foreign(),
        }
    }

    fn tables(&self, indices: &[i32]) -> Result<Self::Tables> {
        Ok(match self {
            First(device) => First(device.tables(indices)?),
            Second(device) => Second(device.tables(indices)?),
        })
    }

    fn run<'m>(
        &self,
        ops: &[Op],
        memory: &mut dyn FnMut(Area) -> Option<&'m Self::Memory>,
        tables: &Self::Tables,
    ) -> Result<()>
    where
        Self::Memory: 'm,
    {
        match (self, tables) {
            (First(device), First(tables)) => device.run(ops, &mut first(memory), tables),
            (Second(device), Second(tables)) => device.run(ops, &mut second(memory), tables),
            _ => foreign(),
        }
    }

    fn capture<'m>(
        &self,
        ops: &[&[Op]],
        memory: &mut dyn FnMut(Area) -> Option<&'m Self::Memory>,
        tables: &Self::Tables,
    ) -> Result<Option<Self::Graph>>
    where
        Self::Memory: 'm,
    {
        match (self, tables) {
            (First(device), First(tables)) => {
                Ok(device.capture(ops, &mut first(memory), tables)?.map(First))
            }
            (Second(device), Second(tables)) => {
                Ok(device.capture(ops, &mut second(memory), tables)?.map(Second))
            }
            _ => foreign(),
        }
    }

    fn replay<'m>(
        &self,
        graph: &Self::Graph,
        memory: &mut dyn FnMut(Area) -> Option<&'m Self::Memory>,
        tables: &Self::Tables,
    ) -> Result<bool>
    where
        Self::Memory: 'm,
    {
        match (self, graph, tables) {
            (First(device), First(graph), First(tables)) => {
                device.replay(graph, &mut first(memory), tables)
            }
            (Second(device), Second(graph), Second(tables)) => {
                device.replay(graph, &mut second(memory), tables)
            }
            _ => foreign(),
        }
    }
}

/// The memories of the one device.
fn first<'a, 'm: 'a, A, B: 'm>(
    memory: &'a mut dyn FnMut(Area) -> Option<&'m Either<A, B>>,
) -> impl FnMut(Area) -> Option<&'m A> + 'a {
    move |area| match memory(area) {
        Some(First(memory)) => Some(memory),
        _ => None,
    }
}

/// Those of the other.
fn second<'a, 'm: 'a, A: 'm, B>(
    memory: &'a mut dyn FnMut(Area) -> Option<&'m Either<A, B>>,
) -> impl FnMut(Area) -> Option<&'m B> + 'a {
    move |area| match memory(area) {
        Some(Second(memory)) => Some(memory),
        _ => None,
    }
}
