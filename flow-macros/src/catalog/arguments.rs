//! What an argument can be.

use crate::syntax::{Value, ValueKind};

pub(crate) struct Argument {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: Default,
    /// May be written without its name.
    pub(crate) positional: bool,
}

pub(crate) enum Default {
    Required,
    /// Left out where the user leaves it out.
    Optional,
    /// Read as if the user had written it.
    Value(&'static str),
}

pub(crate) enum Kind {
    /// An integer of at least this, or a constant of the user's.
    Count(u64),
    /// A list of counts, each at least 1, of at least this length.
    Counts(usize),
    Seed,
    Real(Numbers),
    /// `(low, high)`.
    Pair(Numbers),
    Bool,
    Fraction,
    OneOf(&'static [Variant]),
    Net,
}

pub(crate) struct Variant {
    pub(crate) name: &'static str,
    pub(crate) arguments: &'static [Argument],
}

/// The numbers that an argument admits.
#[derive(Clone, Copy)]
pub(crate) enum Numbers {
    Any,
    Positive,
    NotNegative,
    NotZero,
    /// Strictly between 0 and 1.
    Unit,
    /// At least 0 and less than a half.
    BelowHalf,
    /// Above 1/e and at most 1.
    Beta,
}

impl Numbers {
    pub(crate) fn contain(self, value: f64) -> bool {
        match self {
            Self::Any => true,
            Self::Positive => value > 0.0,
            Self::NotNegative => value >= 0.0,
            Self::NotZero => value != 0.0,
            Self::Unit => value > 0.0 && value < 1.0,
            Self::BelowHalf => (0.0..0.5).contains(&value),
            Self::Beta => value > (-1.0_f64).exp() && value <= 1.0,
        }
    }

    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Any => "a number",
            Self::Positive => "a number above 0",
            Self::NotNegative => "a number of at least 0",
            Self::NotZero => "a number other than 0",
            Self::Unit => "a number strictly between 0 and 1",
            Self::BelowHalf => "a number of at least 0 and less than 0.5",
            Self::Beta => "a number above 1/e = 0.3679 and at most 1",
        }
    }
}

impl Kind {
    /// Whether a value looks like one of these alone, right or wrong in detail. A number may be anything.
    pub(crate) fn suits(&self, value: &Value) -> bool {
        match (self, &value.kind) {
            (Self::OneOf(variants), ValueKind::Name(call)) => {
                variants.iter().any(|variant| call.name == variant.name)
            }
            (Self::Net, ValueKind::Name(call)) => super::find_net(&call.name.to_string()).is_some(),
            (Self::Net, ValueKind::Use(_))
            | (Self::Counts(_), ValueKind::List(_))
            | (Self::Pair(_), ValueKind::Tuple(_))
            | (Self::Bool, ValueKind::Bool(_))
            | (Self::Fraction, ValueKind::Fraction(..))
            | (Self::Count(_), ValueKind::Constant(_)) => true,
            _ => false,
        }
    }

    /// In words, for "takes …".
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Count(least) => format!("an integer of at least {least}"),
            Self::Counts(_) => "a list of integers such as `[128, 128]`".into(),
            Self::Seed => "an integer, the seed".into(),
            Self::Real(numbers) => numbers.describe().into(),
            Self::Pair(numbers) => format!("`(low, high)`, each {}", numbers.describe()),
            Self::Bool => "`true` or `false`".into(),
            Self::Fraction => "a fraction such as `1/2`".into(),
            Self::OneOf(variants) => {
                let names: Vec<&str> = variants.iter().map(|variant| variant.name).collect();
                crate::report::list(&names, "or")
            }
            Self::Net => "a net: `mlp(…)`, `conv(…)`, `resnet(…)`, `made(…)` or `use Path`".into(),
        }
    }
}

impl Argument {
    pub(crate) const fn required(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, default: Default::Required, positional: true }
    }

    pub(crate) const fn optional(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, default: Default::Optional, positional: false }
    }

    pub(crate) const fn with(name: &'static str, kind: Kind, default: &'static str) -> Self {
        Self { name, kind, default: Default::Value(default), positional: false }
    }

    pub(crate) const fn positional(mut self) -> Self {
        self.positional = true;
        self
    }

    pub(crate) const fn named(mut self) -> Self {
        self.positional = false;
        self
    }
}

impl Variant {
    pub(crate) const fn plain(name: &'static str) -> Self {
        Self { name, arguments: &[] }
    }

    pub(crate) const fn with(name: &'static str, arguments: &'static [Argument]) -> Self {
        Self { name, arguments }
    }
}
