//! Orders of features in buffers of floating point numbers, where files keep them.

use crate::{FlowError, Result, Scalar};

/// Writes the inverse of a permutation.
///
/// # Errors
/// Where `permutation` does not hold each of `0..d` once, as a damaged file may.
pub(super) fn invert<E: Scalar>(
    block: &'static str,
    path: &str,
    permutation: &[E],
    inverse: &mut [E],
) -> Result<()> {
    let free = -E::one();
    inverse.fill(free);
    for (i, &p) in permutation.iter().enumerate() {
        let to = index(p);
        match inverse.get_mut(to) {
            Some(slot) if *slot == free && E::of(to as f64) == p => *slot = E::of(i as f64),
            _ => {
                let reason = format!(
                    "entry {i} of its permutation is {}, expected each of 0 to {} once\nhelp: \
                     the file of weights is damaged or belongs to another flow",
                    p.as_f64(),
                    permutation.len() - 1
                );
                return Err(FlowError::Block { block, path: path.into(), reason });
            }
        }
    }
    Ok(())
}

/// `yᵢ = x₍pᵢ₎`, with a copy of `x` in `scratch`.
pub(super) fn gather<E: Scalar>(x: &mut [E], permutation: &[E], scratch: &mut [E]) {
    scratch.copy_from_slice(x);
    for (x, &p) in x.iter_mut().zip(permutation) {
        *x = scratch[index(p)];
    }
}

/// An index that a buffer holds as a number.
pub(super) fn index<E: Scalar>(number: E) -> usize {
    number.as_f64() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_undoes_it() {
        let permutation = [2.0_f32, 0.0, 1.0];
        let mut inverse = [0.0; 3];
        invert("permute", "0", &permutation, &mut inverse).unwrap();
        let (mut x, mut scratch) = ([5.0_f32, 6.0, 7.0], [0.0; 3]);
        gather(&mut x, &permutation, &mut scratch);
        assert_eq!(x, [7.0, 5.0, 6.0]);
        gather(&mut x, &inverse, &mut scratch);
        assert_eq!(x, [5.0, 6.0, 7.0]);
    }

    #[test]
    fn what_is_no_permutation_is_refused() {
        for bad in [[0.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [0.5, 1.0], [f64::NAN, 1.0]] {
            let text = invert("permute", "3", &bad, &mut [0.0; 2]).unwrap_err().to_string();
            assert!(text.starts_with("permute at 3: entry"), "{text}");
            assert!(text.contains("expected each of 0 to 1 once"), "{text}");
        }
    }
}
