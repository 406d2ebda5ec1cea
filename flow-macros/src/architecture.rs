//! The flow with every name resolved and every number beside its place.

use std::collections::HashSet;
use std::fmt;
use std::rc::Rc;

use proc_macro2::TokenStream;
use syn::{Attribute, Expr, Ident, Path, Visibility};

use crate::catalog;
use crate::dim::Dim;
use crate::report::Place;

/// What the header says.
pub(crate) struct Header {
    pub(crate) attributes: Attributes,
    pub(crate) visibility: Visibility,
    pub(crate) name: Ident,
    pub(crate) parameters: Vec<syn::ConstParam>,
    /// Every identifier in the flow, which generated names must not meet.
    pub(crate) words: HashSet<String>,
    pub(crate) event: Shape,
    pub(crate) context: Context,
}

pub(crate) enum Context {
    None,
    Size(Dim),
    /// After an error.
    Unknown,
}

impl Context {
    pub(crate) fn size(&self) -> Option<&Dim> {
        match self {
            Self::Size(size) => Some(size),
            Self::None | Self::Unknown => None,
        }
    }
}

pub(crate) struct Attributes {
    pub(crate) docs: Vec<Attribute>,
    /// `cfg` and lint levels: they hold for everything generated.
    pub(crate) everywhere: Vec<Attribute>,
    /// The rest belongs to the struct.
    pub(crate) others: Vec<Attribute>,
    pub(crate) contracts: Vec<Contract>,
    pub(crate) base: Base,
    /// The path of flow-core.
    pub(crate) krate: TokenStream,
}

pub(crate) struct Contract {
    pub(crate) kind: ContractKind,
    pub(crate) place: Place,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum ContractKind {
    AnalyticInverse,
    VolumePreserving,
    ConstantLogDet,
    BiLipschitz,
    MemorySaving,
    Lipschitz { forward: Option<f64>, inverse: Option<f64> },
}

impl ContractKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AnalyticInverse => "analytic_inverse",
            Self::VolumePreserving => "volume_preserving",
            Self::ConstantLogDet => "constant_log_det",
            Self::BiLipschitz => "bi_lipschitz",
            Self::MemorySaving => "memory_saving",
            Self::Lipschitz { .. } => "lipschitz",
        }
    }
}

pub(crate) enum Base {
    Normal,
    Uniform,
    Logistic,
    Mixture(Dim),
}

#[derive(Clone)]
pub(crate) enum Shape {
    /// After an error: whatever follows is not blamed.
    Unknown,
    Vector(Dim),
    Image([Dim; 3]),
}

impl Shape {
    /// Entries of a vector, channels of an image.
    pub(crate) fn features(&self) -> Option<&Dim> {
        match self {
            Self::Unknown => None,
            Self::Vector(features) => Some(features),
            Self::Image([channels, ..]) => Some(channels),
        }
    }

    pub(crate) fn elements(&self) -> Option<Dim> {
        match self {
            Self::Unknown => None,
            Self::Vector(features) => Some(features.clone()),
            Self::Image([c, h, w]) => c.times(h)?.times(w),
        }
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Vector(a), Self::Vector(b)) => a.same(b),
            (Self::Image(a), Self::Image(b)) => a.iter().zip(b).all(|(a, b)| a.same(b)),
            _ => false,
        }
    }

    pub(crate) fn dims(&self) -> Vec<&Dim> {
        match self {
            Self::Unknown => Vec::new(),
            Self::Vector(features) => vec![features],
            Self::Image(dims) => dims.iter().collect(),
        }
    }

    pub(crate) fn is_generic(&self) -> bool {
        self.dims().iter().any(|dim| dim.generic)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("?"),
            Self::Vector(features) => write!(f, "Vector<{}>", features.text()),
            Self::Image([c, h, w]) => write!(f, "Image<{c}, {h}, {w}>"),
        }
    }
}

/// An item before its shapes are known.
pub(crate) struct Node {
    pub(crate) label: Option<Ident>,
    pub(crate) kind: NodeKind,
}

pub(crate) enum NodeKind {
    Block(Rc<Block>),
    Use(Rc<UseBlock>),
    Repeat {
        keyword: Ident,
        count: Dim,
        body: Vec<Node>,
    },
    Multiscale {
        keyword: Ident,
        levels: u64,
        keep: Fraction,
        body: Vec<Node>,
    },
    /// An item with an error in it. What it would have done to the shape is sometimes known.
    Hole {
        keeps_shape: bool,
    },
}

/// The share that goes on to the next level.
#[derive(Clone, Copy)]
pub(crate) struct Fraction {
    pub(crate) top: u64,
    pub(crate) bottom: u64,
    pub(crate) place: Place,
}

pub(crate) struct Block {
    pub(crate) row: &'static catalog::Block,
    pub(crate) arguments: Arguments,
    /// For couplings: what passes, as written or by alternation.
    pub(crate) keep: Option<Keep>,
    pub(crate) name: Ident,
    /// The item as written.
    pub(crate) text: String,
    pub(crate) place: Place,
}

impl Block {
    pub(crate) fn facts(&self) -> catalog::Facts {
        (self.row.facts)(&self.arguments)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Keep {
    First,
    Second,
    Even,
    Odd,
    CheckerEven,
    CheckerOdd,
}

impl Keep {
    pub(crate) const NAMES: [(&'static str, Self); 6] = [
        ("first", Self::First),
        ("second", Self::Second),
        ("even", Self::Even),
        ("odd", Self::Odd),
        ("checker_even", Self::CheckerEven),
        ("checker_odd", Self::CheckerOdd),
    ];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, keep)| *keep)
    }

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }

    pub(crate) fn is_checkerboard(self) -> bool {
        matches!(self, Self::CheckerEven | Self::CheckerOdd)
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
            Self::Even => Self::Odd,
            Self::Odd => Self::Even,
            Self::CheckerEven => Self::CheckerOdd,
            Self::CheckerOdd => Self::CheckerEven,
        }
    }
}

pub(crate) struct UseBlock {
    pub(crate) path: Path,
    pub(crate) arguments: Vec<Expr>,
    pub(crate) event: Option<Shape>,
    pub(crate) text: String,
    pub(crate) place: Place,
}

/// The arguments of a call by name, defaults filled in.
#[derive(Default)]
pub(crate) struct Arguments(pub(crate) Vec<(&'static catalog::Argument, Given)>);

pub(crate) struct Given {
    pub(crate) value: Resolved,
    pub(crate) place: Place,
}

pub(crate) enum Resolved {
    Count(Dim),
    Counts(Vec<Dim>),
    Seed(u64),
    Real(f64),
    Pair(f64, f64),
    Flag(bool),
    Fraction(u64, u64),
    Choice(Choice),
    Net(Net),
}

pub(crate) struct Choice {
    pub(crate) name: &'static str,
    pub(crate) landed: bool,
    pub(crate) arguments: Arguments,
}

pub(crate) struct Net {
    pub(crate) kind: NetKind,
    pub(crate) place: Place,
}

pub(crate) enum NetKind {
    BuiltIn { row: &'static catalog::Net, arguments: Arguments },
    Use(Path),
}

impl Net {
    pub(crate) fn lipschitz(&self) -> Option<f64> {
        match &self.kind {
            NetKind::BuiltIn { arguments, .. } => match arguments.get("lipschitz")?.value {
                Resolved::Real(c) => Some(c),
                _ => None,
            },
            NetKind::Use(_) => None,
        }
    }
}

/// The accessors that take a name are for rows that have it: the catalog's tests see to that.
impl Arguments {
    pub(crate) fn get(&self, name: &str) -> Option<&Given> {
        self.0.iter().find(|(row, _)| row.name == name).map(|(_, given)| given)
    }

    fn expect(&self, name: &str) -> &Resolved {
        &self.get(name).unwrap_or_else(|| panic!("the catalog has no `{name}` here")).value
    }

    pub(crate) fn count(&self, name: &str) -> &Dim {
        match self.expect(name) {
            Resolved::Count(count) => count,
            _ => panic!("`{name}` is no count"),
        }
    }

    pub(crate) fn counts(&self, name: &str) -> &[Dim] {
        match self.expect(name) {
            Resolved::Counts(counts) => counts,
            _ => panic!("`{name}` is no list"),
        }
    }

    pub(crate) fn real(&self, name: &str) -> f64 {
        match self.expect(name) {
            Resolved::Real(value) => *value,
            _ => panic!("`{name}` is no number"),
        }
    }

    pub(crate) fn pair(&self, name: &str) -> (f64, f64) {
        match self.expect(name) {
            Resolved::Pair(low, high) => (*low, *high),
            _ => panic!("`{name}` is no pair"),
        }
    }

    pub(crate) fn seed(&self, name: &str) -> u64 {
        match self.expect(name) {
            Resolved::Seed(value) => *value,
            _ => panic!("`{name}` is no seed"),
        }
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        match self.expect(name) {
            Resolved::Flag(value) => *value,
            _ => panic!("`{name}` is no flag"),
        }
    }

    pub(crate) fn choice(&self, name: &str) -> &Choice {
        match self.expect(name) {
            Resolved::Choice(choice) => choice,
            _ => panic!("`{name}` is no choice"),
        }
    }

    pub(crate) fn net(&self) -> &Net {
        match self.expect("net") {
            Resolved::Net(net) => net,
            _ => panic!("`net` is no net"),
        }
    }
}

/// An item with its shapes.
pub(crate) struct Step {
    pub(crate) label: Option<Ident>,
    /// Among its siblings, labelled ones counted too.
    pub(crate) position: usize,
    pub(crate) input: Shape,
    pub(crate) output: Shape,
    pub(crate) kind: StepKind,
}

pub(crate) enum StepKind {
    Block(Rc<Block>),
    Use(Rc<UseBlock>),
    /// The body keeps the shape: one body, `count` sets of weights.
    Repeat {
        count: Dim,
        body: Vec<Step>,
    },
    /// The body changes the shape: one body an iteration.
    Unrolled(Vec<Vec<Step>>),
    Multiscale(Vec<Level>),
    Hole,
}

pub(crate) struct Level {
    pub(crate) body: Vec<Step>,
    /// Of the body.
    pub(crate) output: Shape,
    /// The features that go on; `None` at the last level.
    pub(crate) kept: Option<Dim>,
}

impl Step {
    /// The path segment: the label, or the position.
    pub(crate) fn segment(&self) -> String {
        match &self.label {
            Some(label) => label.to_string(),
            None => self.position.to_string(),
        }
    }
}

/// A whole flow.
pub(crate) struct Architecture {
    pub(crate) header: Header,
    pub(crate) steps: Vec<Step>,
    pub(crate) latent: Shape,
    pub(crate) assertions: Vec<Assertion>,
}

/// What only rustc can compute, with the words that the macro would have used.
#[derive(Clone)]
pub(crate) struct Assertion {
    pub(crate) condition: TokenStream,
    pub(crate) message: String,
    /// Mentions a const parameter: can only be checked where the flow is built.
    pub(crate) generic: bool,
    pub(crate) place: Place,
}
