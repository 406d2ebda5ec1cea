//! What a plan can be made of: for each file of kernels the functions that record them.
//!
//! A function takes the places of its operands and checks that they are long enough, so that a
//! recorded [`Op`] stays inside of what it was given; too short ones are a bug of whoever records,
//! and panic. Matrices are row-major.

use crate::{Kernel, Launch, Op, Slot, Table};

pub mod affine;
mod arguments;
pub mod bases;
pub mod bounded;
pub mod contraction;
pub mod convolution;
pub mod curves;
pub mod diagonal;
pub mod folds;
pub mod gates;
#[cfg(any(feature = "gpu", test))]
mod gathered;
#[cfg(any(feature = "gpu", test))]
mod gemm;
pub mod guard;
pub mod inverses;
pub mod knots;
pub mod linear;
pub mod net;
pub mod noise;
pub mod norms;
pub mod optimizer;
pub mod product;
pub mod reflections;
pub mod rows;
pub mod spline;
pub mod square;
pub mod steps;
pub mod tangents;
pub mod torus;
pub mod weights;

pub(crate) use arguments::Arguments;
#[cfg(any(feature = "gpu", test))]
pub(crate) use gathered::gathered;
#[cfg(any(feature = "gpu", test))]
pub(crate) use gemm::{Fused, Gemm};

/// A file of kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name without the ending.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! families {
    ($($constant:ident $index:literal $name:literal;)*) => {
        /// All files of kernels.
        pub const FAMILIES: &[Family] =
            &[$(Family { name: $name, text: include_str!(concat!($name, ".cu")) }),*];
        $(pub(crate) const $constant: usize = $index;)*
    };
}

families! {
    ROWS 0 "rows";
    PRODUCT 1 "product";
    AFFINE 2 "affine";
    DIAGONAL 3 "diagonal";
    NOISE 4 "noise";
    OPTIMIZER 5 "optimizer";
    SPLINE 6 "spline";
    LINEAR 7 "linear";
    WEIGHTS 8 "weights";
    TANGENTS 9 "tangents";
    SQUARE 10 "square";
    CONTRACTION 11 "contraction";
    CURVES 12 "curves";
    BASES 13 "bases";
    GATES 14 "gates";
    NET 15 "net";
    FOLDS 16 "folds";
    STEPS 17 "steps";
    GUARD 18 "guard";
    REFLECTIONS 19 "reflections";
    INVERSES 20 "inverses";
    BOUNDED 21 "bounded";
    KNOTS 22 "knots";
    NORMS 23 "norms";
    CONVOLUTION 24 "convolution";
    TORUS 25 "torus";
    GATHERED 26 "gathered";
}

impl Family {
    /// What a compiler of CUDA gets.
    pub fn source(&self) -> String {
        macro_rules! headers {
            ($($name:literal,)*) => { [$(include_str!($name)),*] };
        }
        let headers = include!("headers.in");
        [&headers[..], &[self.text]].concat().concat()
    }

    /// The names of its kernels.
    pub fn kernels(&self) -> impl Iterator<Item = &'static str> {
        let parts = self.text.split("__global__ void ").skip(1);
        parts.filter_map(|part| part.split('(').next())
    }
}

/// A kernel of independent threads.
pub(crate) const fn apart(family: usize, name: &'static str) -> Kernel {
    Kernel { name, family, cooperates: false }
}

/// A kernel whose threads meet at barriers.
pub(crate) const fn together(family: usize, name: &'static str) -> Kernel {
    Kernel { name, family, cooperates: true }
}

/// Starts an op on `count` threads.
pub(crate) fn op(kernel: Kernel, count: usize) -> Op {
    assert!(i32::try_from(count).is_ok(), "{}: {count} numbers at once", kernel.name);
    let launch = Launch::of(count);
    let (slots, tables, sizes, numbers) = (vec![], vec![], vec![], vec![]);
    Op { kernel, slots, tables, sizes, numbers, launch, in_loop: None }
}

impl Op {
    pub(crate) fn slots<const N: usize>(mut self, slots: [Slot; N]) -> Self {
        self.slots = slots.to_vec();
        self
    }

    pub(crate) fn tables<const N: usize>(mut self, tables: [Table; N]) -> Self {
        self.tables = tables.to_vec();
        self
    }

    pub(crate) fn sizes<const N: usize>(mut self, sizes: [usize; N]) -> Self {
        let small = |size| i32::try_from(size).expect("sizes below 2 to the 31st");
        self.sizes = sizes.into_iter().map(small).collect();
        self
    }

    pub(crate) fn numbers<const N: usize>(mut self, numbers: [f64; N]) -> Self {
        self.numbers = numbers.map(|v| v as f32).to_vec();
        self
    }
}

/// Refuses an operand that is too short.
#[track_caller]
pub(crate) fn holds(what: &str, slot: Slot, count: usize) {
    assert!(slot.len >= count, "{what} has {} numbers, expected {count}", slot.len);
}

/// Refuses an index list that reaches too far or has another length.
#[track_caller]
pub(crate) fn reaches(what: &str, table: Table, len: usize, end: usize) {
    assert_eq!(table.len, len, "indices of {what}");
    assert!(table.end <= end, "an index of {what} reaches {}, expected {end} at most", table.end);
}
