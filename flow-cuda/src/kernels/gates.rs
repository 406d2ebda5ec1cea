//! What nets do beside their layers: gates of channels, and bounded factors.

use super::{apart, holds, op, GATES};
use crate::{Kernel, Op, Slot};

const CHANNEL_SUMS: Kernel = apart(GATES, "channel_sums");
const GATE_CHANNELS: Kernel = apart(GATES, "gate_channels");
const GATE_PRODUCT: Kernel = apart(GATES, "gate_product");
const SPREAD_CHANNELS: Kernel = apart(GATES, "spread_channels");
const MEAN_OF_HATS: Kernel = apart(GATES, "mean_of_hats");
const HATS_PRODUCT: Kernel = apart(GATES, "hats_product");

/// Images, channel after channel at each pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Images {
    /// How many there are.
    pub count: usize,
    /// Channels of each pixel.
    pub channels: usize,
    /// Pixels of each image.
    pub pixels: usize,
}

impl Images {
    fn check(self, values: Slot, each: Slot) -> [usize; 3] {
        let Self { count, channels, pixels } = self;
        holds("the images", values, count * channels * pixels);
        holds("the channels", each, count * channels);
        [count, channels, pixels]
    }

    /// `means[image, channel] = Σ values/pixels`.
    pub fn means(self, means: Slot, values: Slot) -> Op {
        let sizes = self.check(values, means);
        let share = 1.0 / self.pixels as f64;
        let count = self.count * self.channels;
        op(CHANNEL_SUMS, count).slots([means, values]).sizes(sizes).numbers([share])
    }

    /// Multiplies each channel by the logistic function of its number in `gates`, which becomes that
    /// gate; `kept` gets the images as they were.
    pub fn gate(self, values: Slot, gates: Slot, kept: Option<Slot>) -> Op {
        let [count, channels, pixels] = self.check(values, gates);
        if let Some(kept) = kept {
            holds("what is kept", kept, count * channels * pixels);
        }
        op(GATE_CHANNELS, count * channels)
            .slots([values, gates, kept.unwrap_or(Slot::NONE)])
            .sizes([count, channels, pixels, usize::from(kept.is_some())])
    }

    /// The product of [`gate`](Self::gate): the gradient by the images in place, and that by what the
    /// gates were made of.
    pub fn gate_product(self, gradient: Slot, gates: Slot, kept: Slot, by_gates: Slot) -> Op {
        let sizes = self.check(gradient, gates);
        self.check(kept, by_gates);
        op(GATE_PRODUCT, self.count * self.channels)
            .slots([gradient, gates, kept, by_gates])
            .sizes(sizes)
    }

    /// The product of [`means`](Self::means): adds to the gradient by the images.
    pub fn spread(self, gradient: Slot, by_means: Slot) -> Op {
        let [count, channels, pixels] = self.check(gradient, by_means);
        let len = count * channels * pixels;
        op(SPREAD_CHANNELS, len)
            .slots([gradient, by_means])
            .sizes([len, channels, channels * pixels])
            .numbers([1.0 / pixels as f64])
    }
}

/// Hats `(1 − φ²)·exp(−φ²/2)` of `φ = w·v + b`, as many for each of some features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hats {
    /// Their factors, feature after feature.
    pub w: Slot,
    /// Their shifts.
    pub b: Slot,
    /// How many each feature has.
    pub each: usize,
}

impl Hats {
    fn sizes(self, pairs: Slot) -> [usize; 3] {
        holds("the shifts of hats", self.b, self.w.len);
        [pairs.len / 2, self.w.len / self.each, self.each]
    }

    /// The first of each pair becomes the mean of its feature's hats; `kept` gets what it was.
    pub fn mean(self, pairs: Slot, kept: Option<Slot>) -> Op {
        let [count, features, hats] = self.sizes(pairs);
        if let Some(kept) = kept {
            holds("what is kept", kept, count);
        }
        op(MEAN_OF_HATS, count).slots([pairs, kept.unwrap_or(Slot::NONE), self.w, self.b]).sizes([
            count,
            features,
            hats,
            usize::from(kept.is_some()),
        ])
    }

    /// Its product, in place; `by_b` and `by_w` get the gradients by shifts and factors pair by pair.
    pub fn product(self, gradient: Slot, kept: Slot, [by_b, by_w]: [Slot; 2]) -> Op {
        let [count, features, hats] = self.sizes(gradient);
        holds("what was kept", kept, count);
        holds("the gradient by shifts", by_b, count * hats);
        holds("the gradient by factors", by_w, count * hats);
        op(HATS_PRODUCT, count)
            .slots([gradient, kept, self.w, self.b, by_b, by_w])
            .sizes([count, features, hats])
    }
}
