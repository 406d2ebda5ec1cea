//! Conditioners and activations.

use super::{Argument, Kind, Net, NetId, Numbers, On, Variant};

pub(crate) const ACTIVATIONS: &[Variant] = &[
    Variant::plain("relu"),
    Variant::plain("elu"),
    Variant::plain("leaky_relu"),
    Variant::plain("tanh"),
    Variant::plain("swish"),
    Variant::plain("gelu"),
    Variant::plain("softplus"),
];

const ACTIVATION: Argument = Argument::required("activation", Kind::OneOf(ACTIVATIONS));
const ZERO_INIT: Argument = Argument::with("zero_init", Kind::Bool, "true");
const LIPSCHITZ: Argument = Argument::optional("lipschitz", Kind::Real(Numbers::Positive));
const WEIGHT_NORM: Argument = Argument::with("weight_norm", Kind::Bool, "false");

pub(crate) const NETS: &[Net] = &[
    Net {
        id: NetId::Mlp,
        name: "mlp",
        arguments: &[
            Argument::required("hidden", Kind::Counts(0)),
            ACTIVATION,
            ZERO_INIT,
            LIPSCHITZ,
            WEIGHT_NORM,
        ],
        on: On::Vectors,
        landed: true,
    },
    Net {
        id: NetId::Conv,
        name: "conv",
        arguments: &[
            Argument::required("kernels", Kind::Counts(1)),
            Argument::required("hidden", Kind::Count(1)),
            ACTIVATION,
            ZERO_INIT,
            LIPSCHITZ,
            WEIGHT_NORM,
        ],
        on: On::Images,
        landed: true,
    },
    Net {
        id: NetId::ResNet,
        name: "resnet",
        arguments: &[
            Argument::required("blocks", Kind::Count(1)),
            Argument::required("hidden", Kind::Count(1)),
            ACTIVATION,
            ZERO_INIT,
            LIPSCHITZ,
            WEIGHT_NORM,
            Argument::with("attention", Kind::Bool, "false"),
        ],
        on: On::Both,
        landed: true,
    },
    Net {
        id: NetId::Made,
        name: "made",
        arguments: &[
            Argument::required("hidden", Kind::Counts(1)),
            ACTIVATION,
            ZERO_INIT,
            LIPSCHITZ,
            WEIGHT_NORM,
        ],
        on: On::Vectors,
        landed: true,
    },
];
