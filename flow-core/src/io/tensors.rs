//! Tensors of a safetensors file as numbers.

use std::fs;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::engine::{BufferKind, Entry, Role};
use crate::{Architecture, Backend, Flow, FlowError, Result, Scalar};

/// The bytes of a file.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| FlowError::file(path, format_args!("cannot be read: {error}")))
}

/// The tensors in the bytes of a file.
pub(super) fn parse<'b>(path: &Path, bytes: &'b [u8]) -> Result<SafeTensors<'b>> {
    SafeTensors::deserialize(bytes).map_err(|error| {
        let reason = format!(
            "is not a whole safetensors file: {error}\nhelp: it may be cut off, or of another format"
        );
        FlowError::file(path, reason)
    })
}

/// A tensor's numbers: exact, but for integers beyond 2⁵³.
pub(super) fn numbers(view: &TensorView<'_>) -> Result<Vec<f64>, String> {
    macro_rules! read {
        ($type:ty) => {
            words(view).map(|word| <$type>::from_le_bytes(word) as f64).collect()
        };
    }
    let half =
        |widen: fn(u16) -> f64| words(view).map(|word| widen(u16::from_le_bytes(word))).collect();
    Ok(match view.dtype() {
        Dtype::F64 => read!(f64),
        Dtype::F32 => read!(f32),
        Dtype::F16 => half(half_to_f64),
        Dtype::BF16 => half(|bits| f32::from_bits(u32::from(bits) << 16).into()),
        Dtype::I64 => read!(i64),
        Dtype::I32 => read!(i32),
        Dtype::I16 => read!(i16),
        Dtype::I8 => read!(i8),
        Dtype::U64 => read!(u64),
        Dtype::U32 => read!(u32),
        Dtype::U16 => read!(u16),
        Dtype::U8 | Dtype::BOOL => read!(u8),
        other => return Err(format!("is of type {other}, which cannot be read as numbers")),
    })
}

/// A tensor's data, `N` bytes at a time.
fn words<'v, const N: usize>(view: &TensorView<'v>) -> impl Iterator<Item = [u8; N]> + use<'v, N> {
    view.data().chunks_exact(N).map(|bytes| {
        let mut word = [0; N];
        word.copy_from_slice(bytes);
        word
    })
}

/// An IEEE 754 half.
fn half_to_f64(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    }
}

/// Numbers in the flow's own type, or why they cannot stand in `entry`.
pub(super) fn narrowed<E: Scalar>(entry: &Entry, values: &[f64]) -> Result<Vec<E>, String> {
    let integers = entry.role == Role::Buffer(BufferKind::Integer);
    let narrow = |&value: &f64| {
        let near = E::of(value);
        if integers && (value.fract() != 0.0 || near.as_f64() != value) {
            return Err(format!("holds {value}, expected integers"));
        }
        if value.is_finite() && !near.is_finite() {
            return Err(format!("holds {value:e}, beyond the range of {}", E::NAME));
        }
        Ok(near)
    };
    values.iter().map(narrow).collect()
}

impl<A: Architecture<E>, E: Scalar, B: Backend> Flow<A, E, B> {
    /// Replaces the numbers of some entries: all, or none where the blocks refuse them.
    pub(super) fn replace(&mut self, loaded: Vec<(Entry, Vec<E>)>) -> Result<()> {
        self.change(|values| {
            for (entry, numbers) in loaded {
                let all = match entry.role {
                    Role::Parameter => &mut values.parameters,
                    Role::Buffer(_) => &mut values.buffers,
                };
                all[entry.range].copy_from_slice(&numbers);
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_number_is_read() {
        let of = |dtype, data: &[u8], count| {
            numbers(&TensorView::new(dtype, vec![count], data).unwrap()).unwrap()
        };
        assert_eq!(of(Dtype::F64, &(-0.1f64).to_le_bytes(), 1), [-0.1]);
        assert_eq!(of(Dtype::F32, &0.1f32.to_le_bytes(), 1), [f64::from(0.1f32)]);
        assert_eq!(of(Dtype::I64, &(-3i64).to_le_bytes(), 1), [-3.0]);
        assert_eq!(of(Dtype::U8, &[0, 255], 2), [0.0, 255.0]);
        assert_eq!(of(Dtype::BOOL, &[0, 1], 2), [0.0, 1.0]);
        let halves = [0x3c00u16, 0xc000, 0x3555, 0x0001, 0x7bff, 0x0400, 0x8000, 0x7c00, 0xfc00];
        let bytes: Vec<u8> = halves.iter().flat_map(|h| h.to_le_bytes()).collect();
        let want = [
            1.0,
            -2.0,
            0.333_251_953_125,
            2f64.powi(-24),
            65504.0,
            2f64.powi(-14),
            -0.0,
            1.0 / 0.0,
        ];
        let got = of(Dtype::F16, &bytes, 9);
        assert_eq!(got[..8], want);
        assert_eq!(got[8], f64::NEG_INFINITY);
        assert!(got[6].is_sign_negative());
        assert!(of(Dtype::F16, &0x7e01u16.to_le_bytes(), 1)[0].is_nan());
        assert_eq!(of(Dtype::BF16, &0xc049u16.to_le_bytes(), 1), [-3.140625]);
        let odd = TensorView::new(Dtype::F8_E4M3, vec![1], &[7]).unwrap();
        assert!(numbers(&odd).is_err());
    }
}
