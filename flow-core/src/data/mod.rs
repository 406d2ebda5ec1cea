//! What stands between data and a flow, and is no bijection: integer levels as real numbers, and
//! more or fewer dimensions.
//!
//! # Levels
//! An image of 8 bits holds integers, but a flow models a density. A density fitted to integers
//! can grow without limit at them, so each level `k` is spread over an interval: with `u` in
//! [0, 1), [`Bits`] makes of it `x = (k + u) / 2^bits` in [0, 1).
//!
//! - *Uniform* dequantisation draws `u` evenly ([`Bits::dequantize`], and
//!   [`Bits::dequantized`] anew for each step of a training). By Jensen's inequality
//!   the mean of `ln p(x)` is then a lower bound of what the discrete model gives the levels
//!   (Theis, van den Oord and Bethge 2016, "A note on the evaluation of generative models",
//!   section 3.1):
//!
//!   `E ln p(x) ≤ ln ∫ p((k + u) / 2^bits) du = ln P(k) + d·bits·ln 2`,
//!
//!   where `P(k)` is the mass of `p` in the cell of `k`, and `d` counts the numbers of a row.
//! - *Variational* dequantisation (Ho, Chen, Srinivas, Duan and Abbeel 2019, "Flow++", section 3.1)
//!   draws `u` from a flow that sees the levels, which tightens the bound ([`Bits::bound`]):
//!
//!   `E [ln p((k + u) / 2^bits) − ln q(u | k)] ≤ ln P(k) + d·bits·ln 2`.
//!
//! Both sides are counted in nats of the scaled data. Bits per dimension, as published for images
//! (Dinh, Sohl-Dickstein and Bengio 2017, "Density estimation using Real NVP", section 4), are
//! `−ln P(k) / (d ln 2)` of the levels themselves, so
//!
//! `bits per dimension = −(log-probability of scaled data) / (d ln 2) + bits`,
//!
//! which [`Bits::per_dimension`] computes for a number, [`Bits::evaluate`] and
//! [`Bits::evaluate_with`] for rows of levels with a standard error.
//!
//! ```
//! use flow_core::data::Bits;
//! use flow_core::prelude::*;
//!
//! flow! {
//!     struct Pair: Vector<2> {
//!         standardize;
//!         linear(lu);
//!     }
//! }
//!
//! let levels = Rows::<f32>::from_rows((0..64u8).map(|i| [i.into(), (255 - i).into()]))?;
//! let bits = Bits::new(8)?;
//! let noise = Noise::seed(1);
//!
//! let mut flow = Pair::<f32>::build(&Default::default(), 0)?;
//! flow.initialize(bits.dequantize(&levels, &noise)?.x::<Vector<2>>()?)?;
//! Trainer::default().steps(5).silent().fit(&mut flow, bits.dequantized(&levels, &noise)?)?;
//! let found = bits.evaluate(&flow, &levels, &noise)?;
//! println!("{:.3} ± {:.3} bits/dim", found.mean, found.standard_error);
//! # Ok::<(), FlowError>(())
//! ```
//!
//! # Dimensions
//! [`pad`], [`pad_noise`] and [`slice`](slice()) add features to vectors, or channels to images, or
//! leave some out, with gradients.

mod bits;
mod bound;
mod dequantize;
mod dimensions;
mod evaluate;

pub use bits::Bits;
pub use dequantize::Dequantized;
pub use dimensions::{pad, pad_noise, slice, Features};
pub use evaluate::BitsPerDimension;
