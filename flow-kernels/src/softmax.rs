//! Shares of many short lists at once.

use pulp::{Arch, Simd, WithSimd};

use crate::bend::softplus_of;
use crate::map::exp_of;
use crate::{Element, LANES};

/// Turns the first `count` lists of `len` numbers in every chunk of `chunk` into `e^v / Σ e^v`, relative
/// to the largest of each list so that nothing overflows, and what stands after them in a chunk into
/// `ln(1 + e^v)`: what a spline makes of its parameters (Durkan et al. 2019, "Neural Spline Flows").
/// Exponentials are within a unit in the last place, `ln(1 + e^v)` within four, and the sum of a list adds
/// its roundings.
///
/// ```
/// let mut values = [0.0, 0.0, 0.0_f64];
/// flow_kernels::softmax_and_softplus(&mut values, 3, 1, 2);
/// assert_eq!(values, [0.5, 0.5, 2f64.ln()]);
/// ```
///
/// # Panics
/// Where the lists do not fit a chunk, or `values` is not whole chunks.
pub fn softmax_and_softplus<E: Element>(values: &mut [E], chunk: usize, count: usize, len: usize) {
    assert!(len * count <= chunk, "{count} lists of {len} numbers in {chunk}");
    assert!(chunk > 0 && values.len().is_multiple_of(chunk), "chunks of {chunk} numbers");
    E::softmax(values, chunk, count, len);
}

#[inline(always)]
pub(crate) fn run<E: Element>(values: &mut [E], chunk: usize, count: usize, len: usize) {
    Arch::new().dispatch(Softmax { values, chunk, count, len });
}

struct Softmax<'a, E> {
    values: &'a mut [E],
    chunk: usize,
    count: usize,
    len: usize,
}

/// Numbers whose exponentials are taken together.
const SIDE_BY_SIDE: usize = 16 * LANES;

impl<E: Element> WithSimd for Softmax<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { values, chunk, count, len } = self;
        let used = len * count;
        let rest = chunk - used;
        let mut powers = [E::default(); SIDE_BY_SIDE];
        let mut after = [E::default(); SIDE_BY_SIDE];
        if used == 0 || chunk > SIDE_BY_SIDE {
            for chunk in values.chunks_exact_mut(chunk) {
                let (lists, rest) = chunk.split_at_mut(used);
                lists.chunks_exact_mut(len.max(1)).for_each(|list| one::<S, E>(list));
                rest.iter_mut().for_each(|v| *v = softplus_of::<S, E>(*v));
            }
            return;
        }
        let together = SIDE_BY_SIDE / chunk;
        for chunks in values.chunks_mut(together * chunk) {
            for (chunk, powers) in chunks.chunks_exact(chunk).zip(powers.chunks_exact_mut(used)) {
                for (list, powers) in chunk.chunks_exact(len).zip(powers.chunks_exact_mut(len)) {
                    let most = largest(list);
                    powers.iter_mut().zip(list).for_each(|(p, &v)| *p = v - most);
                }
            }
            for (chunk, after) in
                chunks.chunks_exact(chunk).zip(after.chunks_exact_mut(rest.max(1)))
            {
                after[..rest].copy_from_slice(&chunk[used..]);
            }
            let (lines, _) = powers.as_chunks_mut::<LANES>();
            lines.iter_mut().for_each(|line| line.iter_mut().for_each(|v| *v = exp_of::<S, E>(*v)));
            let (lines, _) = after.as_chunks_mut::<LANES>();
            let filled = (chunks.len() / chunk * rest).div_ceil(LANES);
            for line in &mut lines[..filled] {
                line.iter_mut().for_each(|v| *v = softplus_of::<S, E>(*v));
            }
            for (chunk, after) in
                chunks.chunks_exact_mut(chunk).zip(after.chunks_exact(rest.max(1)))
            {
                chunk[used..].copy_from_slice(&after[..rest]);
            }
            for (chunk, powers) in chunks.chunks_exact_mut(chunk).zip(powers.chunks_exact(used)) {
                for (list, powers) in chunk.chunks_exact_mut(len).zip(powers.chunks_exact(len)) {
                    let share = E::ONE / sum(powers);
                    list.iter_mut().zip(powers).for_each(|(v, &p)| *v = p * share);
                }
            }
        }
    }
}

/// A list that is longer than what is taken together.
#[inline(always)]
fn one<S: Simd, E: Element>(list: &mut [E]) {
    let most = largest(list);
    list.iter_mut().for_each(|v| *v = exp_of::<S, E>(*v - most));
    let share = E::ONE / sum(list);
    list.iter_mut().for_each(|v| *v = *v * share);
}

/// NaN is never larger than another number, and still makes every share NaN by the sum.
#[inline(always)]
fn largest<E: Element>(list: &[E]) -> E {
    reduce(
        list,
        list[0],
        #[inline(always)]
        |a, b| if b > a { b } else { a },
    )
}

#[inline(always)]
fn sum<E: Element>(list: &[E]) -> E {
    reduce(
        list,
        E::default(),
        #[inline(always)]
        |a, b| a + b,
    )
}

/// One after the other, but the usual eight in pairs, which do not wait for one another.
#[inline(always)]
fn reduce<E: Element>(list: &[E], start: E, join: impl Fn(E, E) -> E) -> E {
    match *list {
        [a, b, c, d, e, f, g, h] => {
            join(join(join(a, e), join(c, g)), join(join(b, f), join(d, h)))
        }
        _ => list.iter().fold(start, |all, &v| join(all, v)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_slopes_are_those_of_the_library() {
        for (chunk, count, len) in
            [(23, 2, 8), (1, 1, 1), (5, 1, 4), (7, 3, 2), (700, 2, 300), (9, 0, 4)]
        {
            let from: Vec<f64> =
                (0..11 * chunk).map(|i| ((i * 37 + 11) % 23) as f64 * 0.7 - 8.0).collect();
            let mut values = from.clone();
            softmax_and_softplus(&mut values, chunk, count, len);
            for (got, from) in values.chunks_exact(chunk).zip(from.chunks_exact(chunk)) {
                for k in 0..count {
                    let list = &from[k * len..(k + 1) * len];
                    let whole: f64 = list.iter().map(|v| v.exp()).sum();
                    for (got, v) in got[k * len..].iter().zip(list) {
                        let want = v.exp() / whole;
                        assert!((got - want).abs() <= 1e-15 * (1.0 + len as f64) * want);
                    }
                }
                for (got, v) in got[count * len..].iter().zip(&from[count * len..]) {
                    let want = v.exp().ln_1p();
                    assert!((got - want).abs() <= 2e-15 * want, "{v}: {got}, not {want}");
                }
            }
        }
    }

    #[test]
    fn large_numbers_do_not_overflow_and_nan_shows() {
        let mut values = [1e30_f32, 1e30, -1e30, 5.0];
        softmax_and_softplus(&mut values, 4, 1, 3);
        assert_eq!(values[..3], [0.5, 0.5, 0.0]);
        let want = 5f64.exp().ln_1p();
        assert!((f64::from(values[3]) - want).abs() < 1e-6 * want);
        for place in 0..3 {
            let mut values = [1.0_f32, 2.0, 3.0];
            values[place] = f32::NAN;
            softmax_and_softplus(&mut values, 3, 1, 3);
            assert!(values.iter().all(|v| v.is_nan()), "{values:?}");
        }
    }
}
