//! The optimisers and their options, as PyTorch 2 has them.

use crate::{FlowError, Result};

/// Adam (Kingma and Ba 2015, "Adam: a method for stochastic optimization") with L2 decay.
///
/// The defaults are PyTorch's: rate 1e-3, betas 0.9 and 0.999, epsilon 1e-8, no decay. Epsilon is
/// added to the square root of the bias-corrected second moment, as in PyTorch and in dfdx, whose
/// steps differ only in rounding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the first and second moment.
    pub betas: [f64; 2],
    /// Keeps the quotient finite.
    pub epsilon: f64,
    /// Multiple of the weights that is added to the gradient.
    pub weight_decay: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self { learning_rate: 1e-3, betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// Adam with decoupled decay (Loshchilov and Hutter 2019, "Decoupled weight decay regularization").
///
/// The defaults are PyTorch's: those of [`Adam`], and decay 1e-2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the first and second moment.
    pub betas: [f64; 2],
    /// Keeps the quotient finite.
    pub epsilon: f64,
    /// Each step takes `learning_rate · weight_decay` of the weights away.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { learning_rate: 1e-3, betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 1e-2 }
    }
}

/// Adamax (Kingma and Ba 2015, section 7.1) with L2 decay.
///
/// The defaults are PyTorch's: rate 2e-3, betas 0.9 and 0.999, epsilon 1e-8, no decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adamax {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the first moment and of the infinity norm.
    pub betas: [f64; 2],
    /// Keeps the quotient finite.
    pub epsilon: f64,
    /// Multiple of the weights that is added to the gradient.
    pub weight_decay: f64,
}

impl Default for Adamax {
    fn default() -> Self {
        Self { learning_rate: 2e-3, betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// Stochastic gradient descent with momentum and L2 decay.
///
/// The defaults are PyTorch's: rate 1e-3, no momentum, no decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Step size.
    pub learning_rate: f64,
    /// What is kept of the last step.
    pub momentum: f64,
    /// Whether to look ahead by the momentum (Sutskever et al. 2013, "On the importance of
    /// initialization and momentum in deep learning").
    pub nesterov: bool,
    /// Multiple of the weights that is added to the gradient.
    pub weight_decay: f64,
}

impl Default for Sgd {
    fn default() -> Self {
        Self { learning_rate: 1e-3, momentum: 0.0, nesterov: false, weight_decay: 0.0 }
    }
}

/// An update rule with its options.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Optimizer {
    /// See [`Adam`].
    Adam(Adam),
    /// See [`AdamW`].
    AdamW(AdamW),
    /// See [`Adamax`].
    Adamax(Adamax),
    /// See [`Sgd`].
    Sgd(Sgd),
}

macro_rules! optimizers {
    ($($Name:ident)*) => {$(
        impl $Name {
            /// The defaults with another step size.
            pub fn new(learning_rate: f64) -> Self {
                Self { learning_rate, ..Self::default() }
            }
        }

        impl From<$Name> for Optimizer {
            fn from(rule: $Name) -> Self {
                Self::$Name(rule)
            }
        }
    )*};
}

optimizers!(Adam AdamW Adamax Sgd);

impl Optimizer {
    /// Its name, as checkpoints have it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Adam(_) => "Adam",
            Self::AdamW(_) => "AdamW",
            Self::Adamax(_) => "Adamax",
            Self::Sgd(_) => "Sgd",
        }
    }

    /// Its step size before any schedule.
    pub fn learning_rate(&self) -> f64 {
        match self {
            Self::Adam(Adam { learning_rate, .. })
            | Self::AdamW(AdamW { learning_rate, .. })
            | Self::Adamax(Adamax { learning_rate, .. })
            | Self::Sgd(Sgd { learning_rate, .. }) => *learning_rate,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let (decay, unit, epsilon) = match *self {
            Self::Adam(Adam { weight_decay, betas, epsilon, .. })
            | Self::AdamW(AdamW { weight_decay, betas, epsilon, .. })
            | Self::Adamax(Adamax { weight_decay, betas, epsilon, .. }) => (
                weight_decay,
                [("the first beta", betas[0]), ("the second beta", betas[1])],
                epsilon,
            ),
            Self::Sgd(Sgd { weight_decay, momentum, nesterov, .. }) => {
                if nesterov && momentum == 0.0 {
                    let expected = "above 0 with nesterov";
                    return Err(FlowError::option("the momentum", momentum, expected));
                }
                (weight_decay, [("the momentum", momentum); 2], 0.0)
            }
        };
        let positive = [
            ("the learning rate", self.learning_rate()),
            ("the weight decay", decay),
            ("epsilon", epsilon),
        ];
        for (option, value) in positive {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(FlowError::option(option, value, "a finite number of at least 0"));
            }
        }
        for (option, value) in unit {
            if !(0.0..1.0).contains(&value) {
                return Err(FlowError::option(option, value, "at least 0 and less than 1"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_range_are_named() {
        let bad: [(Optimizer, &str); 6] = [
            (Adam::new(-1.0).into(), "the learning rate is -1"),
            (AdamW::new(f64::NAN).into(), "the learning rate is NaN"),
            (Adam { betas: [0.9, 1.0], ..Adam::default() }.into(), "the second beta is 1"),
            (Adamax { epsilon: -1.0, ..Adamax::default() }.into(), "epsilon is -1"),
            (Sgd { momentum: 1.5, ..Sgd::default() }.into(), "the momentum is 1.5"),
            (Sgd { nesterov: true, ..Sgd::default() }.into(), "the momentum is 0"),
        ];
        for (rule, expected) in bad {
            let error = rule.check().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let good: [Optimizer; 4] = [
            Adam::default().into(),
            AdamW::default().into(),
            Adamax::default().into(),
            Sgd { momentum: 0.9, nesterov: true, ..Sgd::default() }.into(),
        ];
        assert!(good.iter().all(|rule| rule.check().is_ok()));
    }
}
