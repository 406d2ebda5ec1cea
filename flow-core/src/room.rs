//! Sizes that a caller asks for.

use crate::{FlowError, Result};

/// How many numbers `count` of `width` each are, where they can be counted and the allocator gives
/// room for that many of `E` at once.
///
/// That is not yet memory: a system that promises more than it has, as Linux may, gives addresses
/// alone, and is short of memory when the numbers are written. What this finds are sizes that no
/// machine of this kind, or one with so little memory, could ever hold.
///
/// # Errors
/// [`FlowError::Option`] where there is no such number, or the allocator refuses.
pub(crate) fn room<E>(option: &str, count: usize, width: usize) -> Result<usize> {
    let numbers = count.checked_mul(width);
    let fits = |&numbers: &usize| Vec::<E>::new().try_reserve_exact(numbers).is_ok();
    numbers.filter(fits).ok_or_else(|| {
        FlowError::option(
            option,
            count,
            format_args!("so few that {width} numbers of each fit in memory"),
        )
    })
}

/// As [`room`], for `rows` samples of `width` numbers each.
///
/// # Errors
/// As [`room`], and where `rows` is 0.
pub(crate) fn room_for_samples<E>(rows: usize, width: usize) -> Result<usize> {
    if rows == 0 {
        return Err(FlowError::EmptyBatch { what: "sample".into() });
    }
    room::<E>("the number of samples", rows, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_counted_or_held_is_an_error() {
        assert_eq!(room::<f64>("rows", 3, 2), Ok(6));
        assert_eq!(room::<f64>("rows", usize::MAX, 0), Ok(0));
        for (count, width) in [(usize::MAX, 2), (1 << 60, 1), (1 << 61, 8)] {
            let error = room::<f64>("rows", count, width).unwrap_err().to_string();
            assert!(error.starts_with(&format!("rows is {count}, expected so few")), "{error}");
        }
    }
}
