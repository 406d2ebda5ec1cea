//! Randomness that can be split, saved and drawn in any order.

use crate::Scalar;

/// A stream of random numbers: a key and a counter under Philox4x32-10 (Salmon et al. 2011,
/// "Parallel random numbers: as easy as 1, 2, 3").
///
/// Number `i` of a stream is a function of the key and `i` alone, so rows can be filled by any
/// number of threads with the same result, and a stream is saved as three integers.
///
/// ```
/// use flow_core::Noise;
/// let mut noise = Noise::seed(7);
/// let (a, b) = (noise.split(), noise.split());
/// assert_ne!(a.uniform(0), b.uniform(0));
/// assert_eq!(Noise::seed(7).split().uniform(3), a.uniform(3));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Noise {
    key: u64,
    position: u64,
}

impl Noise {
    /// The stream of a seed.
    pub fn seed(seed: u64) -> Self {
        Self { key: mix(seed, 0x5eed), position: 0 }
    }

    /// A stream of its own; this one moves on, so the next split is another.
    pub fn split(&mut self) -> Self {
        self.position += 1;
        Self { key: mix(self.key, self.position), position: 0 }
    }

    /// The stream of a name under this one, whatever was drawn or split before.
    pub fn named(&self, name: &str) -> Self {
        let key = name.bytes().fold(mix(self.key, 0x6e61), |key, byte| mix(key, byte.into()));
        Self { key, position: 0 }
    }

    /// The stream of an index under this one, whatever was drawn or split before.
    pub fn at(&self, index: u64) -> Self {
        Self { key: mix(mix(self.key, 0x6174), index), position: 0 }
    }

    /// What tells it from other streams, for a device that draws from it.
    #[cfg(feature = "cuda")]
    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    /// Four independent words: block `index` of the stream.
    pub fn words(&self, index: u64) -> [u32; 4] {
        philox([index as u32, (index >> 32) as u32, 0, 0], self.key)
    }

    /// Number `index` of the stream, uniform on (0, 1): never 0 or 1.
    pub fn uniform(&self, index: u64) -> f64 {
        to_unit(self.words(index))
    }

    /// Number `index` of the stream, standard normal (Box-Muller: two a block).
    pub fn normal(&self, index: u64) -> f64 {
        let (cosine, sine) = self.normal_pair(index / 2);
        if index.is_multiple_of(2) {
            cosine
        } else {
            sine
        }
    }

    /// Two independent standard normals: numbers `2·block` and `2·block + 1`.
    pub fn normal_pair(&self, block: u64) -> (f64, f64) {
        let [a, b, c, d] = self.words(block);
        let radius = (-2.0 * to_unit([a, b, 0, 0]).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * to_unit([c, d, 0, 0])).sin_cos();
        (radius * cosine, radius * sine)
    }

    /// An integer below `bound` (which must not be 0), number `index` of the stream.
    pub fn below(&self, index: u64, bound: u64) -> u64 {
        let [a, b, _, _] = self.words(index);
        let word = (u64::from(a) << 32) | u64::from(b);
        ((u128::from(word) * u128::from(bound)) >> 64) as u64
    }

    /// A random order of `0..count` (Fisher-Yates).
    pub fn permutation(&self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for i in (1..count).rev() {
            order.swap(i, self.below(i as u64, i as u64 + 1) as usize);
        }
        order
    }

    /// Fills `out` with standard normals, the first being number `start` of the stream.
    pub fn fill_normal<E: Scalar>(&self, start: u64, out: &mut [E]) {
        let (odd, pairs) = out.split_at_mut((start % 2).min(out.len() as u64) as usize);
        odd.iter_mut().for_each(|value| *value = E::of(self.normal(start)));
        for (pair, block) in pairs.chunks_mut(2).zip(start.div_ceil(2)..) {
            let (cosine, sine) = self.normal_pair(block);
            let both = pair.iter_mut().zip([cosine, sine]);
            both.for_each(|(value, number)| *value = E::of(number));
        }
    }
}

fn to_unit(words: [u32; 4]) -> f64 {
    let bits = (u64::from(words[0]) << 32 | u64::from(words[1])) >> 11;
    (bits as f64 + 0.5) * (1.0 / (1u64 << 53) as f64)
}

fn mix(key: u64, value: u64) -> u64 {
    let [a, b, _, _] = philox([value as u32, (value >> 32) as u32, 1, 0], key);
    (u64::from(a) << 32) | u64::from(b)
}

fn philox(mut counter: [u32; 4], key: u64) -> [u32; 4] {
    let mut key = [key as u32, (key >> 32) as u32];
    for _ in 0..10 {
        let first = u64::from(counter[0]) * 0xD251_1F53;
        let second = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (second >> 32) as u32 ^ counter[1] ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ counter[3] ^ key[1],
            first as u32,
        ];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_words() {
        // Known answers of Random123's kat_vectors for philox4x32-10.
        assert_eq!(philox([0; 4], 0), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], u64::MAX),
            [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]
        );
    }

    #[test]
    fn normals_have_unit_variance() {
        let noise = Noise::seed(1);
        let n = 100_000;
        let (sum, squares) =
            (0..n).map(|i| noise.normal(i)).fold((0.0, 0.0), |(s, q), v| (s + v, q + v * v));
        assert!((sum / n as f64).abs() < 4.0 / (n as f64).sqrt());
        assert!((squares / n as f64 - 1.0).abs() < 4.0 * (2.0 / n as f64).sqrt());
    }

    #[test]
    fn normals_are_the_same_one_by_one() {
        let noise = Noise::seed(2);
        for (start, len) in [(0, 7), (1, 6), (3, 1), (4, 1), (5, 0), (1 << 40, 3)] {
            let mut filled = vec![0.0; len];
            noise.fill_normal(start, &mut filled);
            let each: Vec<f64> = (start..).take(len).map(|i| noise.normal(i)).collect();
            assert_eq!(filled, each, "{len} from {start}");
        }
    }

    #[test]
    fn a_permutation_holds_every_index_once() {
        let mut order = Noise::seed(3).permutation(101);
        assert_ne!(order, (0..101).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..101).collect::<Vec<_>>());
    }
}
