//! Repeatable numbers, and weights made of them.

use flow_core::{Architecture, Flow, Noise, Scalar};

/// Normal numbers that are always the same under a name.
pub fn normal<E: Scalar>(name: &str, len: usize) -> Vec<E> {
    drawn(&Noise::seed(5).named(name), len)
}

/// The first normal numbers of a stream.
pub fn drawn<E: Scalar>(noise: &Noise, len: usize) -> Vec<E> {
    let mut numbers = vec![E::zero(); len];
    noise.fill_normal(0, &mut numbers);
    numbers
}

/// Shifts every parameter by normal numbers of size `by`, away from its start, where nothing is
/// random about a last layer of zeros.
///
/// # Panics
/// Where a flow does not take numbers under its own names.
pub fn shift<A: Architecture<E>, E: Scalar>(flow: &mut Flow<A, E>, by: f64) {
    let all: Vec<_> = flow.parameters().map(|p| (p.name.to_owned(), p.values.to_vec())).collect();
    for (name, mut values) in all {
        let shifts: Vec<E> = normal(&name, values.len());
        values.iter_mut().zip(shifts).for_each(|(v, shift)| *v += E::of(by) * shift);
        flow.set(&name, &values).expect("a name of this flow");
    }
}

/// The numbers of all parameters, one after the other.
pub fn all<A: Architecture<E>, E: Scalar>(flow: &Flow<A, E>) -> Vec<E> {
    flow.parameters().flat_map(|p| p.values.to_vec()).collect()
}
