//! What is known of a flow's Lipschitz constants, and from where.

use std::fmt;

use super::Interval;
use crate::Facts;

/// Where a bound comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The architecture alone: it holds for all weights.
    Architectural,
    /// The weights: an upper bound in spite of every rounding.
    Certified,
}

/// Where a bound holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    Global,
    /// Between any two points of the region.
    Local,
    /// For small errors at the images of the region's points, which need not be convex.
    Pointwise,
}

/// What a bound of a whole flow was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The product of the blocks' bounds.
    Product,
    /// All Jacobians of blocks in a row together, where that is less: such blocks that give a
    /// [`MeanValue`](super::MeanValue), on a box of at most 64 numbers. Between them, and beside the
    /// others, bounds are multiplied.
    Whole,
}

/// An upper bound in one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// Its natural logarithm, which does not overflow in deep flows; infinite where there is none.
    pub log: f64,
    /// Where it holds.
    pub scope: Scope,
    /// Where it comes from.
    pub kind: Kind,
    /// What it was made of.
    pub way: Way,
}

impl Bound {
    /// The bound itself; infinite where there is none or it is too large for an `f64`.
    pub fn value(self) -> f64 {
        up(self.log.exp())
    }

    /// Whether there is one.
    pub fn exists(self) -> bool {
        self.log < f64::INFINITY
    }
}

/// How much a block can amplify a small change in each direction: natural logarithms of upper
/// bounds of the norms of its Jacobian and of its inverse's, at the points that a
/// [`Probe`](super::Probe) stands for.
///
/// ```
/// use flow_core::lipschitz::Amplification;
///
/// // A map that doubles everything, and one that halves it.
/// let (double, halve) = (Amplification::certified(2.0, 0.5), Amplification::certified(0.5, 2.0));
/// let both = double.then(halve);
/// assert!(both.forward.abs() < 1e-12 && both.inverse.abs() < 1e-12);
/// assert_eq!(double.turned(), halve);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Amplification {
    /// Of the forward direction.
    pub forward: f64,
    /// Of the inverse direction.
    pub inverse: f64,
    /// Where both come from.
    pub kind: Kind,
    /// The logarithms of the bounds that were published for such a block, where those are others.
    pub published: Option<(f64, f64)>,
}

impl Amplification {
    /// Distances stay as they are.
    pub const ISOMETRY: Self =
        Self { forward: 0.0, inverse: 0.0, kind: Kind::Architectural, published: None };

    /// Certified from the weights: upper bounds of the two norms.
    pub fn certified(forward: f64, inverse: f64) -> Self {
        let (forward, inverse) = (ln_up(forward), ln_up(inverse));
        Self { forward, inverse, kind: Kind::Certified, published: None }
    }

    /// What the architecture alone says.
    pub fn architectural(facts: Facts) -> Self {
        let Facts { forward, inverse, .. } = facts;
        let (forward, inverse) = (ln_up(forward), ln_up(inverse));
        Self { forward, inverse, kind: Kind::Architectural, published: None }
    }

    /// With the published bounds beside.
    pub fn beside_published(self, forward: f64, inverse: f64) -> Self {
        Self { published: Some((ln_up(forward), ln_up(inverse))), ..self }
    }

    /// The lesser of what the weights and the architecture say.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let all = |a: f64, b: f64| a.min(b);
        let kind = match (other.forward <= self.forward, other.inverse <= self.inverse) {
            (true, true) => other.kind,
            (false, false) => self.kind,
            _ => self.kind.max(other.kind),
        };
        Self {
            forward: all(self.forward, other.forward),
            inverse: all(self.inverse, other.inverse),
            kind,
            published: self.published,
        }
    }

    /// That of two maps in a row.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self {
            forward: sum_up(self.forward, next.forward),
            inverse: sum_up(self.inverse, next.inverse),
            kind: self.kind.max(next.kind),
            published: None,
        }
    }

    /// That of the inverse map.
    #[must_use]
    pub fn turned(self) -> Self {
        let Self { forward, inverse, published, .. } = self;
        Self {
            forward: inverse,
            inverse: forward,
            published: published.map(|(a, b)| (b, a)),
            ..self
        }
    }

    /// That of a map beside an identity.
    #[must_use]
    pub fn beside_identity(self) -> Self {
        Self { forward: self.forward.max(0.0), inverse: self.inverse.max(0.0), ..self }
    }

    /// What holds on both of two parts of a region.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        Self {
            forward: self.forward.max(other.forward),
            inverse: self.inverse.max(other.inverse),
            kind: self.kind.max(other.kind),
            published: match (self.published, other.published) {
                (Some(a), Some(b)) => Some((a.0.max(b.0), a.1.max(b.1))),
                _ => None,
            },
        }
    }
}

/// One block's part in the [`Bounds`] of a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockBound {
    /// The block's path: `steps.3.0`.
    pub path: String,
    /// Its own bounds.
    pub own: Amplification,
    /// The products so far, in the order in which the blocks were visited.
    pub running: Amplification,
    /// The least and the largest entry of the box that its input lay in; none where that has no
    /// limit.
    pub input: Option<(f64, f64)>,
}

/// Upper bounds of how much a flow and its inverse can amplify a change.
///
/// ```
/// use dfdx::prelude::*;
/// use flow_core::lipschitz::{Kind, Region, Scope, Way};
/// use flow_core::prelude::*;
///
/// flow! {
///     struct Pair: Vector<2> {
///         affine_coupling(keep = first, net = mlp([8], tanh, zero_init = false));
///         affine_coupling(keep = second, net = mlp([8], tanh, zero_init = false));
///     }
/// }
///
/// let flow = Pair::<f32>::build(&Cpu::default(), 0)?;
/// let bounds = flow.bilipschitz(&Region::cube(-1e-3, 1e-3))?;
/// // A Lipschitz constant on the box, and what the inverse does to errors at its points' images.
/// assert_eq!((bounds.forward.scope, bounds.inverse.scope), (Scope::Local, Scope::Pointwise));
/// assert_eq!((bounds.forward.kind, bounds.forward.way), (Kind::Certified, Way::Whole));
/// // The inverse undoes what the flow does, so that neither can shrink everything by more.
/// assert!(bounds.least_inverse() <= bounds.inverse.value());
/// let product: f64 = bounds.blocks.iter().map(|block| block.own.forward).sum();
/// assert!(bounds.forward.log <= product + 1e-9);
/// // Couplings have a bound on boxes alone.
/// assert!(!flow.bilipschitz(&Region::everything())?.forward.exists());
/// # Ok::<(), FlowError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    /// Of the forward direction, data to latent.
    pub forward: Bound,
    /// Of the inverse direction.
    pub inverse: Bound,
    /// Block by block: from the data where the region lies there, else from the latents. Where the
    /// region was subdivided, the worst of the parts.
    pub blocks: Vec<BlockBound>,
}

impl Bounds {
    /// One constant for both directions.
    pub fn bi_lipschitz(&self) -> f64 {
        self.forward.value().max(self.inverse.value())
    }

    /// A lower bound of the forward direction's constant: the reciprocal of the inverse's upper
    /// bound, 0 where there is none (Behrmann et al. 2021, remark 3).
    ///
    /// ```
    /// use flow_core::lipschitz::Region;
    /// use flow_core::prelude::*;
    ///
    /// flow! { struct Doubled: Vector<3> { scale(2.0); } }
    ///
    /// let bounds = Doubled::<f64>::build(&Default::default(), 0)?.bilipschitz(&Region::everything())?;
    /// assert!((bounds.least_forward() - 2.0).abs() < 1e-9 && bounds.least_forward() <= 2.0);
    /// assert!((bounds.least_inverse() - 0.5).abs() < 1e-9 && bounds.least_inverse() <= 0.5);
    /// # Ok::<(), FlowError>(())
    /// ```
    pub fn least_forward(&self) -> f64 {
        (-self.inverse.log).exp().next_down().max(0.0)
    }

    /// A lower bound of the inverse direction's constant.
    pub fn least_inverse(&self) -> f64 {
        (-self.forward.log).exp().next_down().max(0.0)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |log: f64| match log {
            f64::INFINITY => "none".to_owned(),
            log if log.abs() < 14.0 => format!("{:.4}", log.exp()),
            log => format!("e^{log:.1}"),
        };
        let width = self.blocks.iter().map(|b| b.path.len()).max().unwrap_or(0).max(5);
        writeln!(
            f,
            "{:width$}  {:>10}  {:>10}  {:>12}  {:>12}  {:>21}  input",
            "block", "forward ≤", "inverse ≤", "product", "of inverses", "published"
        )?;
        for block in &self.blocks {
            let published = block.own.published.map_or(String::new(), |(forward, inverse)| {
                format!("{}, {}", number(forward), number(inverse))
            });
            let input = match block.input {
                Some((low, high)) => format!("[{low:.3}, {high:.3}]"),
                None => "everything".into(),
            };
            writeln!(
                f,
                "{:width$}  {:>10}  {:>10}  {:>12}  {:>12}  {published:>21}  {input}",
                block.path,
                number(block.own.forward),
                number(block.own.inverse),
                number(block.running.forward),
                number(block.running.inverse),
            )?;
        }
        for (which, bound) in [("forward", self.forward), ("inverse", self.inverse)] {
            let scope = match bound.scope {
                Scope::Global => "everywhere",
                Scope::Local => "between points of the region",
                Scope::Pointwise => "for small errors at the images of the region's points",
            };
            let kind = match bound.kind {
                Kind::Architectural => "architectural: for all weights",
                Kind::Certified => "certified from the weights",
            };
            if bound.exists() {
                let way = match bound.way {
                    Way::Product => "the product of the blocks",
                    Way::Whole => "all blocks together",
                };
                writeln!(f, "{which} ≤ {} {scope} ({kind}, {way})", number(bound.log))?;
            } else {
                writeln!(f, "{which}: no bound {scope}")?;
            }
        }
        Ok(())
    }
}

/// The least and the largest entry of a box, none where one has no limit.
pub(super) fn extremes(region: &[Interval]) -> Option<(f64, f64)> {
    region.iter().all(|side| side.is_bounded()).then(|| {
        let each = region.iter();
        each.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), side| {
            (low.min(side.low), high.max(side.high))
        })
    })
}

/// At least the exact result of one operation that gave `v`.
pub(crate) fn up(v: f64) -> f64 {
    v.next_up()
}

/// At least the logarithm; infinite for what is not a number.
pub(crate) fn ln_up(v: f64) -> f64 {
    if v.is_nan() {
        return f64::INFINITY;
    }
    let log = v.max(0.0).ln();
    log + 4.0 * f64::EPSILON * log.abs() + f64::MIN_POSITIVE
}

fn sum_up(a: f64, b: f64) -> f64 {
    // A constant map has the logarithm −∞, and nothing makes it larger than what has no bound.
    if a == f64::INFINITY || b == f64::INFINITY {
        return f64::INFINITY;
    }
    up(a + b)
}
