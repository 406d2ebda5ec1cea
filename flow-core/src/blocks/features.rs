//! Loops over batches of vectors, feature by feature.

use crate::Scalar;

/// Adds the same number to every row's.
pub(super) fn add_to_all<E: Scalar>(numbers: &mut [E], by: E) {
    numbers.iter_mut().for_each(|number| *number += by);
}

/// Adds `values · factor` entry by entry.
pub(super) fn add_scaled<E: Scalar>(into: &mut [E], values: &[E], factor: E) {
    for (into, &value) in into.iter_mut().zip(values) {
        *into += factor * value;
    }
}

/// Adds `factor` times each feature's sum over all vectors.
pub(super) fn add_sums<E: Scalar>(into: &mut [E], vectors: &[E], factor: E) {
    for vector in vectors.chunks_exact(into.len()) {
        add_scaled(into, vector, factor);
    }
}

/// Adds `factor` times each feature's sum of products over all vectors.
pub(super) fn add_products<E: Scalar>(into: &mut [E], a: &[E], b: &[E], factor: E) {
    let features = into.len();
    for (a, b) in a.chunks_exact(features).zip(b.chunks_exact(features)) {
        for ((into, &a), &b) in into.iter_mut().zip(a).zip(b) {
            *into += factor * a * b;
        }
    }
}

/// Changes each entry by its feature's number.
pub(super) fn change<E: Scalar>(vectors: &mut [E], by: &[E], change: impl Fn(E, E) -> E) {
    for vector in vectors.chunks_exact_mut(by.len()) {
        for (entry, &by) in vector.iter_mut().zip(by) {
            *entry = change(*entry, by);
        }
    }
}
