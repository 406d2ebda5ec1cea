//! Bounds of many blocks at once.

use super::aligned::Aligned;
use super::{Amplification, Cell, Interval, MeanValue};

/// Up to so many numbers a row the Jacobian of the whole flow is followed, which takes products of
/// square matrices of that size for each block.
pub(super) const MOST_NUMBERS: usize = 64;

/// The Jacobian of a flow on a box, block after block.
///
/// A block that gives no [`MeanValue`] ends a segment, and the next begins behind it. What is known
/// of the whole is the product over the segments, each by its own Jacobian or by its blocks'
/// bounds, whichever is less.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    segment: Option<Aligned>,
    /// The product of the bounds of the segment's blocks.
    apart: Amplification,
    /// Of what lies before the segment.
    before: Amplification,
    /// The first number that the blocks see now: those before it are latents already.
    start: usize,
    /// Whether it goes from the latents to the data.
    backwards: bool,
}

impl Whole {
    /// On a box of data, or of latents where it goes `backwards`.
    pub(super) fn new(sides: &[Interval], backwards: bool) -> Self {
        let segment = open(sides);
        let (apart, before) = (Amplification::ISOMETRY, Amplification::ISOMETRY);
        Self { segment, apart, before, start: 0, backwards }
    }

    /// The box on which a block is asked for its mean value.
    pub(super) fn cell(&self, sides: &[Interval]) -> Option<Cell> {
        let segment = self.segment.as_ref()?;
        Some(Cell::new(segment.centre()[self.start..].to_vec(), sides.to_vec()))
    }

    /// Goes through a block with bounds `own` that left the box `sides`, which shrinks to what the
    /// whole shows.
    pub(super) fn pass(
        &mut self,
        found: Option<&MeanValue>,
        own: Amplification,
        sides: &mut [Interval],
    ) {
        let own = if self.start > 0 { own.beside_identity() } else { own };
        let segment = self.segment.take();
        let next = segment.as_ref().zip(found).and_then(|(at, map)| at.then(map, self.start));
        if let Some(next) = next {
            for (side, held) in sides.iter_mut().zip(&next.hull()[self.start..]) {
                *side = side.meet(*held).unwrap_or(*side);
            }
            self.segment = Some(next);
            self.apart = self.apart.then(own);
            return;
        }
        self.before = self.before.then(self.best(segment.as_ref())).then(own);
        self.apart = Amplification::ISOMETRY;
        self.segment = if self.start == 0 { open(sides) } else { None };
    }

    /// The numbers that the blocks see take another order.
    pub(super) fn reorder(&mut self, order: &[usize]) {
        if let Some(segment) = &mut self.segment {
            segment.reorder(order, self.start);
        }
    }

    /// The first `count` of the numbers that the blocks see are latents from now on, or the last
    /// `-count` latents are seen again.
    pub(super) fn move_start(&mut self, count: isize) {
        self.start = self.start.saturating_add_signed(count);
    }

    /// Of a segment's blocks.
    fn best(&self, segment: Option<&Aligned>) -> Amplification {
        let Some((there, back)) = segment.map(Aligned::norms) else { return self.apart };
        let found = Amplification::certified(there, back);
        self.apart.or(if self.backwards { found.turned() } else { found })
    }

    /// What is known of all blocks together.
    pub(super) fn all(&self) -> Amplification {
        self.before.then(self.best(self.segment.as_ref()))
    }
}

fn open(sides: &[Interval]) -> Option<Aligned> {
    if sides.len() > MOST_NUMBERS {
        return None;
    }
    Aligned::new(sides.to_vec())
}
