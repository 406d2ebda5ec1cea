//! The rows.

use super::{facts, Argument, Block, Id, Kind, Landed, Numbers, On, Variant};

const KEEP: Argument = Argument::optional(
    "keep",
    Kind::OneOf(&[
        Variant::plain("first"),
        Variant::plain("second"),
        Variant::plain("even"),
        Variant::plain("odd"),
        Variant::plain("checker_even"),
        Variant::plain("checker_odd"),
    ]),
);

const EXP: Variant = Variant::plain("exp");
const TANH: Variant =
    Variant::with("tanh", &[Argument::required("limit", Kind::Real(Numbers::Positive))]);
const SIGMOID: Variant = Variant::with(
    "sigmoid",
    &[
        Argument::required("low", Kind::Real(Numbers::NotNegative)),
        Argument::required("high", Kind::Real(Numbers::Positive)),
        Argument::with("shift", Kind::Real(Numbers::Any), "2.0"),
    ],
);
const MEXICAN_HAT: Variant = Variant::with(
    "mexican_hat",
    &[
        Argument::required("m", Kind::Count(1)),
        Argument::with("beta", Kind::Real(Numbers::Beta), "1.0"),
    ],
);

const SCALE: Argument =
    Argument::with("scale", Kind::OneOf(&[EXP, TANH, SIGMOID, MEXICAN_HAT]), "exp");

const NET: Argument = Argument::required("net", Kind::Net).named();
const BINS: Argument = Argument::with("bins", Kind::Count(2), "8");
const BOUND: Argument = Argument::with("bound", Kind::Real(Numbers::Positive), "3.0");
const FACTOR: Argument = Argument::required("factor", Kind::Count(2));

/// Bins and bound count for splines, the scale for affine maps. Hats have weights for each of a
/// coupling's transformed features, which the masked net does not have.
const AUTOREGRESSIVE: &[Argument] = &[
    Argument::required(
        "transform",
        Kind::OneOf(&[Variant::plain("affine"), Variant::with("spline", &[BINS, BOUND])]),
    ),
    Argument::with("scale", Kind::OneOf(&[EXP, TANH, SIGMOID]), "exp"),
    NET,
];

pub(crate) const BLOCKS: &[Block] = &[
    Block {
        id: Id::Standardize,
        name: "standardize",
        arguments: &[],
        on: On::Both,
        keeps_shape: true,
        facts: facts::standardize,
        landed: Landed::EVERYWHERE,
    },
    Block {
        id: Id::ActNorm,
        name: "actnorm",
        arguments: &[],
        on: On::Both,
        keeps_shape: true,
        facts: facts::learned_scale,
        landed: Landed::EVERYWHERE,
    },
    Block {
        id: Id::Permute,
        name: "permute",
        arguments: &[Argument::required(
            "order",
            Kind::OneOf(&[
                Variant::plain("reverse"),
                Variant::with("roll", &[Argument::required("by", Kind::Count(0))]),
                Variant::with("shuffle", &[Argument::required("seed", Kind::Seed)]),
            ]),
        )],
        on: On::Both,
        keeps_shape: true,
        facts: facts::isometry,
        landed: Landed::EVERYWHERE,
    },
    Block {
        id: Id::Linear,
        name: "linear",
        arguments: &[Argument::required(
            "form",
            Kind::OneOf(&[
                Variant::plain("lu"),
                Variant::plain("orthogonal"),
                Variant::plain("diagonal"),
                Variant::plain("dense"),
                Variant::plain("svd"),
                Variant::with("householder", &[Argument::required("count", Kind::Count(1))]),
            ]),
        )],
        on: On::Vectors,
        keeps_shape: true,
        facts: facts::linear,
        landed: Landed::VECTORS,
    },
    Block {
        id: Id::Conv1x1,
        name: "conv1x1",
        arguments: &[Argument::required(
            "form",
            Kind::OneOf(&[
                Variant::plain("lu"),
                Variant::plain("dense"),
                Variant::plain("orthogonal"),
            ]),
        )],
        on: On::Images,
        keeps_shape: true,
        facts: facts::linear,
        landed: Landed::IMAGES,
    },
    Block {
        id: Id::InvertibleConv,
        name: "invertible_conv",
        arguments: &[
            Argument::required("kernel", Kind::Count(2)),
            Argument::with("kappa", Kind::Real(Numbers::Positive), "1.0"),
        ],
        on: On::Images,
        keeps_shape: false,
        facts: facts::dense,
        landed: Landed::IMAGES,
    },
    Block {
        id: Id::AdditiveCoupling,
        name: "additive_coupling",
        arguments: &[KEEP, NET],
        on: On::Both,
        keeps_shape: true,
        facts: facts::additive_coupling,
        landed: Landed::EVERYWHERE,
    },
    Block {
        id: Id::AffineCoupling,
        name: "affine_coupling",
        arguments: &[KEEP, SCALE, NET],
        on: On::Both,
        keeps_shape: true,
        facts: facts::affine,
        landed: Landed::EVERYWHERE,
    },
    Block {
        id: Id::SplineCoupling,
        name: "spline_coupling",
        arguments: &[KEEP, BINS, BOUND, NET],
        on: On::Both,
        keeps_shape: true,
        facts: facts::spline,
        landed: Landed::EVERYWHERE,
    },
    Block {
        id: Id::DualAffineCoupling,
        name: "dual_affine_coupling",
        arguments: &[SCALE, NET],
        on: On::Both,
        keeps_shape: true,
        facts: facts::affine,
        landed: Landed::EVERYWHERE,
    },
    Block {
        id: Id::MaskedAutoregressive,
        name: "masked_autoregressive",
        arguments: AUTOREGRESSIVE,
        on: On::Vectors,
        keeps_shape: true,
        facts: facts::autoregressive,
        landed: Landed::VECTORS,
    },
    Block {
        id: Id::InverseAutoregressive,
        name: "inverse_autoregressive",
        arguments: AUTOREGRESSIVE,
        on: On::Vectors,
        keeps_shape: true,
        facts: facts::autoregressive,
        landed: Landed::VECTORS,
    },
    Block {
        id: Id::Residual,
        name: "residual",
        arguments: &[
            Argument::required("lipschitz", Kind::Real(Numbers::Unit)).named(),
            NET,
            Argument::with(
                "log_det",
                Kind::OneOf(&[
                    Variant::plain("exact"),
                    Variant::with("series", &[Argument::required("terms", Kind::Count(1))]),
                    Variant::with(
                        "roulette",
                        &[
                            Argument::with("p", Kind::Real(Numbers::Unit), "0.5").positional(),
                            Argument::with("exact_terms", Kind::Count(1), "2"),
                        ],
                    ),
                ]),
                "exact",
            ),
            Argument::with("tolerance", Kind::Real(Numbers::Positive), "1e-6"),
        ],
        on: On::Both,
        keeps_shape: true,
        facts: facts::residual,
        landed: Landed::NOT_YET,
    },
    Block {
        id: Id::Ode,
        name: "ode",
        arguments: &[
            NET,
            Argument::with("time", Kind::Real(Numbers::Positive), "1.0"),
            Argument::with(
                "solver",
                Kind::OneOf(&[
                    Variant::with("rk4", &[Argument::required("steps", Kind::Count(1))]),
                    Variant::with(
                        "dopri5",
                        &[Argument::required("tolerance", Kind::Real(Numbers::Positive))],
                    ),
                ]),
                "rk4(20)",
            ),
            Argument::with(
                "trace",
                Kind::OneOf(&[Variant::plain("exact"), Variant::plain("hutchinson")]),
                "exact",
            ),
        ],
        on: On::Both,
        keeps_shape: true,
        facts: facts::ode,
        landed: Landed::NOT_YET,
    },
    Block {
        id: Id::Squeeze,
        name: "squeeze",
        arguments: &[FACTOR],
        on: On::Images,
        keeps_shape: false,
        facts: facts::isometry,
        landed: Landed::IMAGES,
    },
    Block {
        id: Id::Unsqueeze,
        name: "unsqueeze",
        arguments: &[FACTOR],
        on: On::Images,
        keeps_shape: false,
        facts: facts::isometry,
        landed: Landed::IMAGES,
    },
    Block {
        id: Id::Haar,
        name: "haar",
        arguments: &[],
        on: On::Images,
        keeps_shape: false,
        facts: facts::isometry,
        landed: Landed::IMAGES,
    },
    Block {
        id: Id::Flatten,
        name: "flatten",
        arguments: &[],
        on: On::Images,
        keeps_shape: false,
        facts: facts::isometry,
        landed: Landed::IMAGES,
    },
    Block {
        id: Id::SplineActivation,
        name: "spline_activation",
        arguments: &[
            Argument::with("bins", Kind::Count(2), "16"),
            Argument::with("slopes", Kind::Pair(Numbers::NotNegative), "(0.0, 1.0)"),
            Argument::optional("beta", Kind::Real(Numbers::Positive)),
        ],
        on: On::Both,
        keeps_shape: true,
        facts: facts::spline_activation,
        landed: Landed::EVERYWHERE,
    },
    Block {
        id: Id::Tanh,
        name: "tanh",
        arguments: &[],
        on: On::Both,
        keeps_shape: true,
        facts: facts::tanh,
        landed: Landed::EVERYWHERE,
    },
    Block {
        id: Id::Sigmoid,
        name: "sigmoid",
        arguments: &[],
        on: On::Both,
        keeps_shape: true,
        facts: facts::sigmoid,
        landed: Landed::EVERYWHERE,
    },
    Block {
        id: Id::Logit,
        name: "logit",
        arguments: &[Argument::with("alpha", Kind::Real(Numbers::BelowHalf), "0.0").positional()],
        on: On::Both,
        keeps_shape: true,
        facts: facts::logit,
        landed: Landed::EVERYWHERE,
    },
    Block {
        id: Id::NormalCdf,
        name: "normal_cdf",
        arguments: &[],
        on: On::Both,
        keeps_shape: true,
        facts: facts::normal_cdf,
        landed: Landed::EVERYWHERE,
    },
    Block {
        id: Id::LeakyRelu,
        name: "leaky_relu",
        arguments: &[Argument::with("slope", Kind::Real(Numbers::Positive), "0.01").positional()],
        on: On::Both,
        keeps_shape: true,
        facts: facts::leaky_relu,
        landed: Landed::EVERYWHERE,
    },
    Block {
        id: Id::Softplus,
        name: "softplus",
        arguments: &[],
        on: On::Both,
        keeps_shape: true,
        facts: facts::softplus,
        landed: Landed::EVERYWHERE,
    },
    Block {
        id: Id::Scale,
        name: "scale",
        arguments: &[Argument::required("factor", Kind::Real(Numbers::NotZero))],
        on: On::Both,
        keeps_shape: true,
        facts: facts::scale,
        landed: Landed::EVERYWHERE,
    },
    Block {
        id: Id::Planar,
        name: "planar",
        arguments: &[],
        on: On::Vectors,
        keeps_shape: true,
        facts: facts::forward_only,
        landed: Landed::VECTORS,
    },
    Block {
        id: Id::Radial,
        name: "radial",
        arguments: &[],
        on: On::Vectors,
        keeps_shape: true,
        facts: facts::forward_only,
        landed: Landed::VECTORS,
    },
    Block {
        id: Id::Sylvester,
        name: "sylvester",
        arguments: &[Argument::required("rank", Kind::Count(1))],
        on: On::Vectors,
        keeps_shape: true,
        facts: facts::forward_only,
        landed: Landed::VECTORS,
    },
];
