//! Products with one row, whose features stand side by side: nothing is shared between rows, so the
//! time is that of reading the weights once.

use pulp::{Arch, Simd, WithSimd};

use crate::element::multiply_add;
use crate::{Element, Weight, LANES};

/// `out = W·input + bias`.
pub(crate) fn product<E: Element>(
    out: &mut [E],
    weight: Weight<'_, E>,
    input: &[E],
    bias: Option<&[E]>,
) {
    struct Product<'a, E>(&'a mut [E], Weight<'a, E>, &'a [E], Option<&'a [E]>);
    impl<E: Element> WithSimd for Product<'_, E> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            let Self(out, weight, input, bias) = self;
            for (o, out) in out.iter_mut().enumerate() {
                let row = &weight.data[o * weight.inputs..][..weight.inputs];
                *out = bias.map_or(E::default(), |bias| bias[o]) + dot::<S, E>(row, input);
            }
        }
    }
    Arch::new().dispatch(Product(out, weight, input, bias));
}

/// `input = Wᵀ·out`.
pub(crate) fn product_transposed<E: Element>(input: &mut [E], weight: Weight<'_, E>, out: &[E]) {
    input.fill(E::default());
    for (row, &factor) in weight.data.chunks_exact(weight.inputs.max(1)).zip(out) {
        add_scaled(input, row, factor);
    }
}

/// Adds an output times all inputs to each row of `sums`.
pub(crate) fn add_outer<E: Element>(sums: &mut [E], outputs: &[E], inputs: &[E]) {
    for (row, &factor) in sums.chunks_exact_mut(inputs.len().max(1)).zip(outputs) {
        add_scaled(row, inputs, factor);
    }
}

/// `into += factor·from`.
fn add_scaled<E: Element>(into: &mut [E], from: &[E], factor: E) {
    struct Scaled<'a, E>(&'a mut [E], &'a [E], E);
    impl<E: Element> WithSimd for Scaled<'_, E> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            let Self(into, from, factor) = self;
            for (into, &v) in into.iter_mut().zip(from) {
                *into = multiply_add::<S, E>(factor, v, *into);
            }
        }
    }
    Arch::new().dispatch(Scaled(into, from, factor));
}

#[inline(always)]
fn dot<S: Simd, E: Element>(a: &[E], b: &[E]) -> E {
    let mut sums = [E::default(); LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum = multiply_add::<S, E>(a, b, *sum);
        }
    }
    let mut total = E::default();
    for (&a, &b) in a_rest.iter().zip(b_rest) {
        total = multiply_add::<S, E>(a, b, total);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            sums[i] = sums[i] + sums[i + width];
        }
        width /= 2;
    }
    total + sums[0]
}
