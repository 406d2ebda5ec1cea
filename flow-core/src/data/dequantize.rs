//! Levels spread evenly over their cells.

use super::Bits;
use crate::train::{Batches, Place};
use crate::{Noise, Result, Rows, Scalar};

impl Bits {
    /// Uniform dequantisation: each level `k` becomes `(k + u) / 2^bits` with `u` even on [0, 1).
    /// The same noise gives the same numbers, as an evaluation wants it; contexts stay.
    ///
    /// # Errors
    /// Numbers that are not levels of these bits.
    pub fn dequantize<E: Scalar>(self, levels: &Rows<E>, noise: &Noise) -> Result<Rows<E>> {
        let mut rows = levels.clone();
        self.spread(&mut rows, noise)?;
        Ok(rows)
    }

    /// Batches of levels, dequantised with fresh noise in each step. The noise is a function of
    /// the stream, the epoch and the batch, so that a run that is resumed goes on as it would have.
    ///
    /// Held-out levels ([`Batches::validated_by`]) get noise that stays.
    ///
    /// # Errors
    /// Held-out numbers that are not levels of these bits. Those of batches are an error of the
    /// training.
    pub fn dequantized<B, E>(self, levels: B, noise: &Noise) -> Result<Dequantized<B, E>>
    where
        B: Batches<E>,
        E: Scalar,
    {
        let held_out = match levels.held_out() {
            Some(rows) => Some(self.dequantize(rows, &noise.named("held out"))?),
            None => None,
        };
        Ok(Dequantized { levels, bits: self, noise: noise.named("batches"), held_out })
    }

    fn spread<E: Scalar>(self, rows: &mut Rows<E>, noise: &Noise) -> Result<()> {
        self.check(rows.values(), rows.width())?;
        // 32 bits of noise are many more than a number of 24 has to spare.
        const WORD: f64 = 1.0 / (1u64 << 32) as f64;
        for (block, levels) in rows.values_mut().chunks_mut(4).enumerate() {
            for (level, word) in levels.iter_mut().zip(noise.words(block as u64)) {
                *level = self.place(*level, (f64::from(word) + 0.5) * WORD);
            }
        }
        Ok(())
    }
}

/// Batches of levels as numbers in [0, 1): made by [`Bits::dequantized`].
#[derive(Clone, Debug)]
pub struct Dequantized<B, E> {
    levels: B,
    bits: Bits,
    noise: Noise,
    held_out: Option<Rows<E>>,
}

impl<B: Batches<E>, E: Scalar> Batches<E> for Dequantized<B, E> {
    fn read(&mut self, place: &mut Place, batch: &mut Rows<E>) -> Result<bool> {
        let noise = self.noise.at(place.epoch).at(place.batch);
        let more = self.levels.read(place, batch)?;
        if more {
            self.bits.spread(batch, &noise)?;
        }
        Ok(more)
    }

    fn per_epoch(&self, batch_size: usize) -> Option<u64> {
        self.levels.per_epoch(batch_size)
    }

    fn catch_up(&mut self, place: &Place) -> Result<()> {
        self.levels.catch_up(place)
    }

    fn held_out(&self) -> Option<&Rows<E>> {
        self.held_out.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(rows: usize) -> Rows<f64> {
        let numbers = (0..rows * 3).map(|i| (i % 32) as f64).collect();
        Rows::new(numbers, 3).unwrap().given((0..rows).map(|i| i as f64).collect(), 1).unwrap()
    }

    #[test]
    fn noise_is_even_and_a_function_of_its_stream() {
        let (bits, levels) = (Bits::new(5).unwrap(), levels(20_000));
        let x = bits.dequantize(&levels, &Noise::seed(1)).unwrap();
        assert_eq!(x, bits.dequantize(&levels, &Noise::seed(1)).unwrap());
        assert_ne!(x, bits.dequantize(&levels, &Noise::seed(2)).unwrap());
        assert_eq!(x.context_values(), levels.context_values());
        assert_eq!(bits.quantize(x.clone()), levels);
        let noise = x.values().iter().zip(levels.values()).map(|(x, k)| 32.0 * x - k);
        let mut noise: Vec<f64> = noise.collect();
        // Neighbours, which may come from one block of the generator, are as independent as any.
        let pairs = noise.len() - 1;
        let together: f64 = noise.windows(2).map(|w| (w[0] - 0.5) * (w[1] - 0.5)).sum();
        assert!((together / pairs as f64).abs() < 4.0 / 12.0 / (pairs as f64).sqrt());
        noise.sort_by(f64::total_cmp);
        let count = noise.len() as f64;
        let off = noise.iter().enumerate().map(|(i, u)| (u - (i as f64 + 0.5) / count).abs());
        // Kolmogorov's distance stays below 1.95/√n in 999 of 1000 cases.
        let most = off.fold(0.0, f64::max);
        assert!(most < 1.95 / count.sqrt(), "noise is off by {most}");
    }

    #[test]
    fn every_step_has_noise_of_its_own_that_a_resumed_run_finds_again() {
        let (bits, levels) = (Bits::new(5).unwrap(), levels(8));
        let mut batches = bits.dequantized(&levels, &Noise::seed(1)).unwrap();
        assert_eq!(batches.per_epoch(3), Some(3));
        let mut read = |epoch, batch| {
            let mut place = Place::new(7, 8);
            (place.epoch, place.batch, place.batch_size) = (epoch, batch, 4);
            let (mut plain, mut spread) = (Rows::default(), Rows::default());
            assert!((&levels).read(&mut place.clone(), &mut plain).unwrap());
            assert!(batches.read(&mut place, &mut spread).unwrap());
            assert_eq!(bits.quantize(spread.clone()), plain);
            let noise = spread.values().iter().zip(plain.values());
            noise.map(|(x, k)| 32.0 * x - k).collect::<Vec<_>>()
        };
        let steps = [read(0, 0), read(0, 1), read(1, 0), read(1, 1)];
        for (i, a) in steps.iter().enumerate() {
            assert!(steps[..i].iter().all(|b| a != b), "step {i} repeats noise");
        }
        assert_eq!(read(1, 0), steps[2]);
        let mut end = Place::new(7, 8);
        end.batch = 1;
        assert!(!batches.read(&mut end, &mut Rows::default()).unwrap());
    }

    #[test]
    fn held_out_levels_are_dequantised_once() {
        let (bits, rows) = (Bits::new(5).unwrap(), levels(4));
        let batches = levels(8).validated_by(rows.clone());
        let batches = bits.dequantized(batches, &Noise::seed(1)).unwrap();
        let held_out = batches.held_out().unwrap();
        assert_ne!(held_out, &rows);
        assert_eq!(bits.quantize(held_out.clone()), rows);
        let bad = levels(8).validated_by(Rows::new(vec![0.5], 1).unwrap());
        assert!(bits.dequantized(bad, &Noise::seed(1)).is_err());
        let mut bad = bits.dequantized(Rows::new(vec![32.0], 1).unwrap(), &Noise::seed(1)).unwrap();
        assert!(bad.read(&mut Place::new(0, 1), &mut Rows::<f64>::default()).is_err());
    }
}
