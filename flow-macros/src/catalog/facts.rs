//! What is true of a block whatever its weights. The run-time bounds are tested against these.

use super::NetId;
use crate::architecture::{Arguments, Net, NetKind};

/// `Err` says why the claim does not hold.
pub(crate) type Claim = Result<(), &'static str>;

pub(crate) struct Facts {
    pub(crate) analytic_inverse: Claim,
    pub(crate) log_det: LogDet,
    /// A finite global bound both ways, at every weight.
    pub(crate) bi_lipschitz: Claim,
    pub(crate) memory_saving: Claim,
    /// Whether the block has an inverse at all that can be run.
    pub(crate) invertible: bool,
    pub(crate) forward: Bound,
    pub(crate) inverse: Bound,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogDet {
    Zero,
    Constant,
    Varying,
}

/// A bound for all weights together.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// With its logarithm, so that a hundred blocks do not overflow.
    At { value: f64, log: f64 },
    /// There is none, and why.
    None(&'static str),
}

impl Bound {
    const ONE: Self = Self::At { value: 1.0, log: 0.0 };

    fn at(value: f64) -> Self {
        if value > 0.0 && value.is_finite() {
            Self::At { value, log: value.ln() }
        } else {
            Self::None("its arguments put no limit on it")
        }
    }

    pub(crate) fn log(self) -> Option<f64> {
        match self {
            Self::At { log, .. } => Some(log),
            Self::None(_) => None,
        }
    }
}

impl LogDet {
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Zero => "0",
            Self::Constant => "constant",
            Self::Varying => "varies with the input",
        }
    }
}

const ISOMETRY: Facts = Facts {
    analytic_inverse: Ok(()),
    log_det: LogDet::Zero,
    bi_lipschitz: Ok(()),
    memory_saving: Ok(()),
    invertible: true,
    forward: Bound::ONE,
    inverse: Bound::ONE,
};

fn unbounded(log_det: LogDet, bi_lipschitz: Claim, why: &'static str) -> Facts {
    Facts {
        log_det,
        bi_lipschitz,
        forward: Bound::None(why),
        inverse: Bound::None(why),
        ..ISOMETRY
    }
}

pub(super) fn isometry(_: &Arguments) -> Facts {
    ISOMETRY
}

pub(super) fn standardize(_: &Arguments) -> Facts {
    unbounded(LogDet::Constant, Ok(()), "its scale comes from the data")
}

pub(super) fn learned_scale(_: &Arguments) -> Facts {
    unbounded(LogDet::Constant, Ok(()), "its learned scale has no limit")
}

pub(super) fn linear(arguments: &Arguments) -> Facts {
    match arguments.choice("form").name {
        "orthogonal" | "householder" => ISOMETRY,
        "diagonal" => learned_scale(arguments),
        "dense" => dense(arguments),
        _ => unbounded(LogDet::Constant, Ok(()), "its learned matrix has no limit"),
    }
}

pub(super) fn dense(_: &Arguments) -> Facts {
    let why = "its matrix can become singular";
    unbounded(LogDet::Constant, Err(why), why)
}

pub(super) fn additive_coupling(arguments: &Arguments) -> Facts {
    let net = arguments.net();
    let (forward, inverse) = match net.lipschitz() {
        // ‖[[1, 0], [c, 1]]‖₂, tighter than 1 + c; the inverse has −c in its place.
        Some(c) => {
            let bound = Bound::at((c + (c * c + 4.0).sqrt()) / 2.0);
            (bound, bound)
        }
        None => {
            let none = Bound::None("its net has no `lipschitz = c`");
            (none, none)
        }
    };
    Facts { bi_lipschitz: is_lipschitz(net), forward, inverse, ..ISOMETRY }
}

/// Every net of ours is Lipschitz at every weight: its activations are. Products of activations,
/// as attention has, are not; of a user's module nothing is known.
fn is_lipschitz(net: &Net) -> Claim {
    match &net.kind {
        NetKind::Use(_) => Err("nothing is known of the Lipschitz bound of its net"),
        NetKind::BuiltIn { row, arguments }
            if row.id == NetId::ResNet && arguments.flag("attention") =>
        {
            Err("attention in its net multiplies activations, which has no global bound")
        }
        NetKind::BuiltIn { .. } => Ok(()),
    }
}

/// Behrmann et al. 2021, Theorem 2: the Jacobian contains the input times the derivative of the
/// scale, whatever the scale function is.
const AFFINE: &str =
    "an affine coupling has no global bound, whatever its scale (Behrmann et al. 2021, Theorem 2)";

pub(super) fn affine(_: &Arguments) -> Facts {
    unbounded(LogDet::Varying, Err(AFFINE), AFFINE)
}

pub(super) fn spline(_: &Arguments) -> Facts {
    let why = "the slopes of its splines have no limit";
    unbounded(LogDet::Varying, Err(why), why)
}

pub(super) fn autoregressive(arguments: &Arguments) -> Facts {
    match arguments.choice("transform").name {
        "spline" => spline(arguments),
        _ => affine(arguments),
    }
}

pub(super) fn residual(arguments: &Arguments) -> Facts {
    let c = arguments.real("lipschitz");
    Facts {
        analytic_inverse: Err("its inverse is a fixed-point iteration"),
        log_det: LogDet::Varying,
        forward: Bound::at(1.0 + c),
        inverse: Bound::at(1.0 / (1.0 - c)),
        ..ISOMETRY
    }
}

pub(super) fn ode(arguments: &Arguments) -> Facts {
    let net = arguments.net();
    // Grönwall: two solutions part at most by the factor exp(c·T), in either direction of time.
    let bound = match net.lipschitz() {
        Some(c) => {
            let log = c * arguments.real("time");
            Bound::At { value: log.exp(), log }
        }
        None => Bound::None("its net has no `lipschitz = c`"),
    };
    Facts {
        analytic_inverse: Err("its inverse integrates an equation"),
        log_det: LogDet::Varying,
        bi_lipschitz: is_lipschitz(net),
        memory_saving: Err("its solver's backward steps are not the inverse of its forward steps"),
        forward: bound,
        inverse: bound,
        ..ISOMETRY
    }
}

/// The ratios of its bins have the limits of its knots' slopes; between two knots the slope can
/// exceed them by as much as the bin's ratio, squared, can be larger than the mean of all three.
pub(super) fn spline_activation(arguments: &Arguments) -> Facts {
    let (low, high) = arguments.pair("slopes");
    let square = (low + high) * (low + high);
    let inverse = if low > 0.0 {
        Bound::at(square / (4.0 * low * low * low))
    } else {
        Bound::None("with a lower limit of 0 its slopes come as near to 0 as they like")
    };
    let forward = Bound::at(4.0 * high * high * high / square);
    Facts { log_det: LogDet::Varying, forward, inverse, ..ISOMETRY }
}

/// Element-wise maps whose slope is at most `forward` and tends to 0.
fn squash(forward: f64) -> Facts {
    const WHY: &str = "its slope tends to 0 in the tails, so that its inverse has no bound";
    Facts {
        log_det: LogDet::Varying,
        bi_lipschitz: Err(WHY),
        forward: Bound::at(forward),
        inverse: Bound::None(WHY),
        ..ISOMETRY
    }
}

pub(super) fn tanh(_: &Arguments) -> Facts {
    squash(1.0)
}

pub(super) fn sigmoid(_: &Arguments) -> Facts {
    squash(0.25)
}

pub(super) fn normal_cdf(_: &Arguments) -> Facts {
    squash(1.0 / (2.0 * std::f64::consts::PI).sqrt())
}

pub(super) fn softplus(_: &Arguments) -> Facts {
    squash(1.0)
}

pub(super) fn logit(arguments: &Arguments) -> Facts {
    // With p = α + (1 − 2α)x the slope is (1 − 2α)/(p(1 − p)), least at p = ½; the domain is where
    // p is between 0 and 1, whatever α is.
    const WHY: &str = "its slope has no limit at the ends of its domain";
    Facts {
        log_det: LogDet::Varying,
        bi_lipschitz: Err(WHY),
        forward: Bound::None(WHY),
        inverse: Bound::at(1.0 / (4.0 * (1.0 - 2.0 * arguments.real("alpha")))),
        ..ISOMETRY
    }
}

pub(super) fn leaky_relu(arguments: &Arguments) -> Facts {
    let slope = arguments.real("slope");
    Facts {
        log_det: LogDet::Varying,
        forward: Bound::at(slope.max(1.0)),
        inverse: Bound::at(1.0 / slope.min(1.0)),
        ..ISOMETRY
    }
}

pub(super) fn scale(arguments: &Arguments) -> Facts {
    let factor = arguments.real("factor").abs();
    Facts {
        log_det: if factor == 1.0 { LogDet::Zero } else { LogDet::Constant },
        forward: Bound::at(factor),
        inverse: Bound::at(1.0 / factor),
        ..ISOMETRY
    }
}

pub(super) fn forward_only(_: &Arguments) -> Facts {
    const WHY: &str = "its inverse has no closed form";
    Facts {
        analytic_inverse: Err(WHY),
        memory_saving: Err(WHY),
        invertible: false,
        ..unbounded(LogDet::Varying, Ok(()), "its learned vectors have no limit")
    }
}
