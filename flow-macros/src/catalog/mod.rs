//! The one table of built-in blocks: names, arguments, shape rules and contract facts.

mod arguments;
mod blocks;
mod facts;
mod nets;

pub(crate) use arguments::{Argument, Default, Kind, Numbers, Variant};
pub(crate) use blocks::BLOCKS;
pub(crate) use facts::{Bound, Facts, LogDet};
pub(crate) use nets::{ACTIVATIONS, NETS};

use crate::architecture::Arguments;

/// A block of the language.
pub(crate) struct Block {
    pub(crate) id: Id,
    pub(crate) name: &'static str,
    pub(crate) arguments: &'static [Argument],
    pub(crate) on: On,
    /// The block gives what it takes, whatever its arguments.
    pub(crate) keeps_shape: bool,
    pub(crate) facts: fn(&Arguments) -> Facts,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Id {
    Standardize,
    ActNorm,
    Permute,
    Linear,
    Conv1x1,
    InvertibleConv,
    AdditiveCoupling,
    AffineCoupling,
    SplineCoupling,
    DualAffineCoupling,
    MaskedAutoregressive,
    InverseAutoregressive,
    Residual,
    Ode,
    Squeeze,
    Unsqueeze,
    Haar,
    Flatten,
    SplineActivation,
    Tanh,
    Sigmoid,
    Logit,
    NormalCdf,
    LeakyRelu,
    Softplus,
    Scale,
    Planar,
    Radial,
    Sylvester,
}

/// What a block takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Vectors,
    Images,
    Both,
}

/// A conditioner.
pub(crate) struct Net {
    pub(crate) id: NetId,
    pub(crate) name: &'static str,
    pub(crate) arguments: &'static [Argument],
    pub(crate) on: On,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NetId {
    Mlp,
    Conv,
    ResNet,
    Made,
}

impl Id {
    /// One part passes, and a net of it transforms the other.
    pub(crate) fn is_coupling(self) -> bool {
        matches!(self, Self::AdditiveCoupling | Self::AffineCoupling | Self::SplineCoupling)
    }

    pub(crate) fn is_autoregressive(self) -> bool {
        matches!(self, Self::MaskedAutoregressive | Self::InverseAutoregressive)
    }

    /// The log-determinant is made of the net's Jacobian.
    pub(crate) fn needs_jacobian(self) -> bool {
        matches!(self, Self::Residual | Self::Ode)
    }

    /// Every feature depends on learned numbers and other features afterwards.
    pub(crate) fn transforms_all(self) -> bool {
        self.is_autoregressive()
            || matches!(
                self,
                Self::Conv1x1
                    | Self::InvertibleConv
                    | Self::DualAffineCoupling
                    | Self::Residual
                    | Self::Ode
                    | Self::Haar
                    | Self::Planar
                    | Self::Radial
                    | Self::Sylvester
            )
    }
}

pub(crate) fn find(name: &str) -> Option<&'static Block> {
    BLOCKS.iter().find(|block| block.name == name)
}

pub(crate) fn names() -> Vec<&'static str> {
    BLOCKS.iter().map(|block| block.name).collect()
}

pub(crate) fn find_net(name: &str) -> Option<&'static Net> {
    NETS.iter().find(|net| net.name == name)
}
