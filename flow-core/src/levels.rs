//! The latents of a multi-scale flow, level by level.

use dfdx::prelude::{Cpu, Dim, HasShape, NoneTape, Tensor};

use crate::engine::read;
use crate::engine::tensor;
use crate::{Architecture, Backend, Event, Flow, FlowError, Result, Scalar};

/// Blocks whose latents are those of a `multiscale`.
///
/// `flow!` implements it where the last item of a flow is its only `multiscale`, of at most twelve
/// levels.
#[diagnostic::on_unimplemented(
    message = "the latents of `{Self}` are not those of one `multiscale`",
    note = "a flow has levels where its last item is its only `multiscale`, of at most 12 levels \
            and of sizes that the macro can compute"
)]
pub trait MultiScale {
    /// What each level factored out: a tuple of [`Event`]s.
    type Levels: Levels;
}

/// The events of some levels, as a tuple.
pub trait Levels: 'static {
    /// A batch of each.
    type Parts<N: Dim, E: Scalar>;

    /// Cuts flat latents, row after row, into parts.
    ///
    /// # Errors
    /// Where dfdx runs out of memory.
    fn split<N: Dim, E: Scalar>(z: &[E], rows: N) -> Result<Self::Parts<N, E>>;

    /// The rows of all parts, and flat latents that hold them.
    ///
    /// # Errors
    /// Parts without rows, of different numbers of rows, or with NaN or an infinity.
    fn join<N: Dim, E: Scalar>(parts: Self::Parts<N, E>) -> Result<(N, Vec<E>)>;
}

impl<A: Architecture<E> + MultiScale, E: Scalar, B: Backend> Flow<A, E, B> {
    /// The latents by level: for each the part that it factored out, with its own shape, in the
    /// order of the levels. [`join_levels`](Self::join_levels) puts them together again, so that
    /// some levels can be kept and others drawn anew. The parts carry no tape.
    ///
    /// Only a flow whose last item is its only `multiscale` has levels.
    ///
    /// ```
    /// use dfdx::prelude::*;
    /// use flow_core::prelude::*;
    ///
    /// flow! {
    ///     struct Pyramid: Image<1, 8, 8> {
    ///         multiscale 2 {
    ///             squeeze(2);
    ///             conv1x1(lu);
    ///         }
    ///     }
    /// }
    ///
    /// let cpu = Cpu::default();
    /// let flow = Pyramid::<f32>::build(&cpu, 0)?;
    /// let x: Tensor<Rank4<5, 1, 8, 8>, f32, _> = cpu.sample_normal();
    /// let (z, _) = flow.forward(x)?;
    /// let (fine, coarse) = flow.levels(&z)?;
    /// let fine: Tensor<Rank4<5, 2, 4, 4>, f32, _> = fine;
    ///
    /// // Other images of the same coarse structure.
    /// let fine = fine.device().sample_normal_like(&fine);
    /// let z = flow.join_levels((fine, coarse))?;
    /// let (others, _) = flow.inverse(z)?;
    /// # Ok::<(), FlowError>(())
    /// ```
    ///
    /// # Errors
    /// Latents without rows, or with NaN or an infinity.
    pub fn levels<N: Dim, T>(
        &self,
        z: &Tensor<<A::Latent as Event>::Batch<N>, E, Cpu, T>,
    ) -> Result<<A::Levels as Levels>::Parts<N, E>> {
        let rows = A::Latent::rows(z.shape());
        let z = read(z.retaped::<NoneTape>(), "latent", A::Latent::SHAPE.size())?;
        A::Levels::split(&z, rows)
    }

    /// The latents whose [`levels`](Self::levels) these are.
    ///
    /// # Errors
    /// Levels without rows, of different numbers of rows, or with NaN or an infinity.
    pub fn join_levels<N: Dim>(
        &self,
        levels: <A::Levels as Levels>::Parts<N, E>,
    ) -> Result<Tensor<<A::Latent as Event>::Batch<N>, E, Cpu>> {
        let (rows, z) = A::Levels::join(levels)?;
        tensor(z, A::Latent::batch(rows))
    }
}

/// Where the part of a level stands in each row.
struct Place {
    level: usize,
    from: usize,
    width: usize,
}

impl Place {
    fn take<V: Event, N: Dim, E: Scalar>(
        self,
        z: &[E],
        rows: N,
    ) -> Result<Tensor<V::Batch<N>, E, Cpu>> {
        let parts = z.chunks_exact(self.width).map(|row| &row[self.from..][..V::SHAPE.size()]);
        tensor(parts.flatten().copied().collect(), V::batch(rows))
    }

    fn put<V: Event, N: Dim, E: Scalar>(
        self,
        part: Tensor<V::Batch<N>, E, Cpu>,
        z: &mut [E],
    ) -> Result<()> {
        let (size, rows) = (V::SHAPE.size(), z.len() / self.width);
        let part = read(part, &format!("latent of level {}", self.level), size)?;
        if part.len() != rows * size {
            let what = format!("the latent of level {}", self.level);
            return Err(FlowError::Length { what, found: part.len(), expected: rows * size });
        }
        for (row, part) in z.chunks_exact_mut(self.width).zip(part.chunks_exact(size)) {
            row[self.from..][..size].copy_from_slice(part);
        }
        Ok(())
    }
}

macro_rules! levels {
    ($($V:ident $level:tt),+) => {
        impl<$($V: Event),+> Levels for ($($V,)+) {
            type Parts<N: Dim, E: Scalar> = ($(Tensor<$V::Batch<N>, E, Cpu>,)+);

            fn split<N: Dim, E: Scalar>(z: &[E], rows: N) -> Result<Self::Parts<N, E>> {
                let sizes = [$($V::SHAPE.size()),+];
                Ok(($(place(&sizes, $level).take::<$V, N, E>(z, rows)?,)+))
            }

            fn join<N: Dim, E: Scalar>(parts: Self::Parts<N, E>) -> Result<(N, Vec<E>)> {
                let sizes = [$($V::SHAPE.size()),+];
                let rows = V0::rows(parts.0.shape());
                let mut z = vec![E::zero(); rows.size() * sizes.iter().sum::<usize>()];
                $(place(&sizes, $level).put::<$V, N, E>(parts.$level, &mut z)?;)+
                Ok((rows, z))
            }
        }
    };
}

fn place(sizes: &[usize], level: usize) -> Place {
    Place { level, from: sizes[..level].iter().sum(), width: sizes.iter().sum() }
}

levels!(V0 0);
levels!(V0 0, V1 1);
levels!(V0 0, V1 1, V2 2);
levels!(V0 0, V1 1, V2 2, V3 3);
levels!(V0 0, V1 1, V2 2, V3 3, V4 4);
levels!(V0 0, V1 1, V2 2, V3 3, V4 4, V5 5);
levels!(V0 0, V1 1, V2 2, V3 3, V4 4, V5 5, V6 6);
levels!(V0 0, V1 1, V2 2, V3 3, V4 4, V5 5, V6 6, V7 7);
levels!(V0 0, V1 1, V2 2, V3 3, V4 4, V5 5, V6 6, V7 7, V8 8);
levels!(V0 0, V1 1, V2 2, V3 3, V4 4, V5 5, V6 6, V7 7, V8 8, V9 9);
levels!(V0 0, V1 1, V2 2, V3 3, V4 4, V5 5, V6 6, V7 7, V8 8, V9 9, V10 10);
levels!(V0 0, V1 1, V2 2, V3 3, V4 4, V5 5, V6 6, V7 7, V8 8, V9 9, V10 10, V11 11);
