//! Levels of a number of bits.

use crate::{FlowError, Result, Rows, Scalar};

/// How many bits the levels of data have: 1 to 16, so that the levels are the integers from 0 to
/// `2^bits − 1`.
///
/// Levels are held as [`Rows`] of whole numbers, so that they are split, shuffled and given contexts
/// like all data; what takes them checks that they are levels. The [module](crate::data) has the
/// formulas.
///
/// ```
/// use flow_core::data::Bits;
/// use flow_core::prelude::*;
/// let levels = Rows::<f32>::from_rows([[0.0, 130.0], [255.0, 8.0]])?;
/// let eight = Bits::new(8)?;
/// let x = eight.dequantize(&levels, &Noise::seed(0))?;
/// assert!(x.values().iter().all(|x| (0.0..1.0).contains(x)));
/// assert_eq!(eight.quantize(x), levels);
///
/// let five = Bits::new(5)?;
/// assert_eq!(eight.reduce(levels, five)?.values(), [0.0, 16.0, 31.0, 1.0]);
/// # Ok::<(), FlowError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bits(u32);

impl Bits {
    /// Levels of `bits` bits.
    ///
    /// # Errors
    /// Fewer than 1 or more than 16 bits.
    pub fn new(bits: u32) -> Result<Self> {
        match bits {
            1..=16 => Ok(Self(bits)),
            _ => Err(FlowError::option("the number of bits", bits, "1 to 16")),
        }
    }

    /// The number of bits.
    pub fn count(self) -> u32 {
        self.0
    }

    /// How many levels there are: `2^bits`.
    pub fn levels(self) -> u32 {
        1 << self.0
    }

    /// Levels of fewer bits: `⌊k / 2^(bits − fewer)⌋`, as 8 bits are made 5 by Kingma and Dhariwal
    /// (2018, "Glow", section 6).
    ///
    /// # Errors
    /// Numbers that are not levels of these bits, or more bits than these.
    pub fn reduce<E: Scalar>(self, mut levels: Rows<E>, fewer: Self) -> Result<Rows<E>> {
        if fewer > self {
            let expected = format!("at most {}", self.0);
            return Err(FlowError::option("the number of bits to keep", fewer.0, expected));
        }
        self.check(levels.values(), levels.width())?;
        let step = E::of(f64::from(1u32 << (self.0 - fewer.0)));
        levels.values_mut().iter_mut().for_each(|level| *level = (*level / step).floor());
        Ok(levels)
    }

    /// The levels of numbers in [0, 1), such as samples: `⌊2^bits·x⌋`. Numbers beyond get the
    /// lowest or the highest.
    pub fn quantize<E: Scalar>(self, mut x: Rows<E>) -> Rows<E> {
        let (count, highest) = (E::of(self.levels().into()), E::of((self.levels() - 1).into()));
        for x in x.values_mut() {
            *x = (*x * count).floor().max(E::zero()).min(highest);
        }
        x
    }

    /// Bits per dimension of a log-probability, in nats, of a row of `dimensions` scaled numbers:
    /// `−log_prob / (d ln 2) + bits`.
    ///
    /// ```
    /// use flow_core::data::Bits;
    /// // A density that is even on the unit cube needs every bit.
    /// assert_eq!(Bits::new(8)?.per_dimension(0.0, 3072), 8.0);
    /// # Ok::<(), flow_core::FlowError>(())
    /// ```
    pub fn per_dimension(self, log_prob: f64, dimensions: usize) -> f64 {
        f64::from(self.0) - log_prob / (dimensions as f64 * std::f64::consts::LN_2)
    }

    /// An error for the first number that is not a level.
    pub(super) fn check<E: Scalar>(self, numbers: &[E], width: usize) -> Result<()> {
        let highest = E::of((self.levels() - 1).into());
        let level = |v: &E| *v >= E::zero() && *v <= highest && v.floor() == *v;
        match numbers.iter().position(|v| !level(v)) {
            None => Ok(()),
            Some(at) => Err(FlowError::option(
                format_args!("entry {} of row {} of the levels", at % width, at / width),
                numbers[at].as_f64(),
                format_args!(
                    "a whole number from 0 to {}\nhelp: bits.quantize(rows) makes levels of \
                     numbers in [0, 1)",
                    self.levels() - 1
                ),
            )),
        }
    }

    /// `(k + u) / 2^bits`, rounded into the cell of `k`.
    pub(super) fn place<E: Scalar>(self, level: E, u: f64) -> E {
        let scale = 1.0 / f64::from(self.levels());
        let x = E::of((level.as_f64() + u) * scale);
        // Exact, as all ends of cells are.
        let end = E::of((level.as_f64() + 1.0) * scale);
        match x < end {
            true => x,
            false => end * (E::one() - E::epsilon() / E::of(2.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_stays_in_its_cell_whatever_the_rounding() {
        let smallest = 0.5 / (1u64 << 32) as f64;
        for bits in 1..=16 {
            let bits = Bits::new(bits).unwrap();
            for k in [0, 1, bits.levels() / 2, bits.levels() - 1] {
                for u in [0.0, smallest, 0.5, 1.0 - smallest, 1.0 - f64::EPSILON / 2.0] {
                    let x = bits.place(k as f32, u);
                    assert!((0.0..1.0).contains(&x), "{bits:?}, level {k}, noise {u}: {x}");
                    assert_eq!((x * bits.levels() as f32).floor(), k as f32);
                    let x = bits.place(f64::from(k), u);
                    assert_eq!((x * f64::from(bits.levels())).floor(), f64::from(k));
                }
            }
        }
        // The last number below 1/2 has half the distance of those above.
        assert_eq!(Bits(1).place(0f32, 1.0), 0.5f32.next_down());
        assert_eq!(Bits(2).place(2f32, 1.0), 0.75f32.next_down());
    }

    #[test]
    fn five_bits_are_the_highest_of_eight() {
        let (eight, five) = (Bits::new(8).unwrap(), Bits::new(5).unwrap());
        let all = Rows::new((0..256).map(f64::from).collect(), 16).unwrap();
        let reduced = eight.reduce(all.clone(), five).unwrap();
        let want: Vec<f64> = (0..256u32).map(|k| f64::from(k >> 3)).collect();
        assert_eq!(reduced.values(), want);
        assert_eq!(eight.reduce(all.clone(), eight).unwrap(), all);
        let error = five.reduce(reduced, eight).unwrap_err().to_string();
        assert_eq!(error, "the number of bits to keep is 8, expected at most 5");
    }

    #[test]
    fn what_is_no_level_is_named() {
        for bad in [0.5, -1.0, 32.0, 31.000_1] {
            let rows = Rows::new(vec![0.0, 31.0, 2.0, bad], 2).unwrap();
            let error = Bits(5).reduce(rows, Bits(3)).unwrap_err().to_string();
            let want = format!(
                "entry 1 of row 1 of the levels is {bad}, expected a whole number from 0 to 31"
            );
            assert!(error.starts_with(&want), "{error}");
        }
        for bits in [0, 17] {
            let error = Bits::new(bits).unwrap_err().to_string();
            assert_eq!(error, format!("the number of bits is {bits}, expected 1 to 16"));
        }
    }

    #[test]
    fn numbers_beyond_get_the_last_level() {
        let x = Rows::new(vec![-0.1, 0.0, 0.2499, 0.25, 0.999, 1.0, 7.0], 1).unwrap();
        assert_eq!(Bits(2).quantize(x).values(), [0.0, 0.0, 0.0, 1.0, 3.0, 3.0, 3.0]);
    }

    #[test]
    fn bits_per_dimension_are_those_of_a_known_mass() {
        // Two numbers of 3 bits, all mass spread over half the levels: 2 bits each.
        let log_prob = 2.0 * 2f64.ln();
        assert!((Bits(3).per_dimension(log_prob, 2) - 2.0).abs() < 1e-15);
        assert_eq!(Bits(3).per_dimension(f64::NEG_INFINITY, 2), f64::INFINITY);
    }
}
