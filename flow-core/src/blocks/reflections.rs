//! Products of reflections, with their gradients.

use super::features::add_scaled;
use crate::backend::cpu::matrix::{multiply, Into, Matrix};
use crate::engine::{Builder, Derived, Parameter, Start, State, Values};
use crate::lipschitz::Probe;
use crate::sums::dot;
use crate::{FlowError, Result, Scalar};

/// `Q = H₁…Hₖ` with `Hᵢ = I − 2vᵢvᵢᵀ/‖vᵢ‖²` for the vectors of one parameter, `[k, d]`. A vector at
/// zero counts as the identity.
#[derive(Clone, Debug)]
pub(super) struct Reflections {
    features: usize,
    vectors: Parameter,
    /// `Q`, `[d, d]`.
    pub(super) product: Derived,
}

impl Reflections {
    /// `count` reflections of `features` numbers, standard normal at the start.
    pub(super) fn new<E: Scalar>(
        builder: &mut Builder<E>,
        name: &str,
        features: usize,
        count: usize,
    ) -> Result<Self> {
        if count == 0 {
            return Err(FlowError::option("the number of reflections", count, "at least 1"));
        }
        Ok(Self {
            features,
            vectors: builder.parameter(name, &[count, features], Start::Normal),
            product: builder.derived(features * features),
        })
    }

    /// Computes the product.
    pub(super) fn prepare<E: Scalar>(&self, values: &Values<E>, derived: &mut [E]) {
        multiply_all(values.parameter(&self.vectors), self.features, self.product.of_mut(derived));
    }

    /// The product in f64, whatever the weights are in, and at least the Frobenius norm of its
    /// rounding. One of k reflections errs by a small multiple of `d·ε` in each row, a unit vector, and
    /// the errors add up (Higham 2002, "Accuracy and stability of numerical algorithms", lemma 19.3).
    pub(super) fn exact<E: Scalar>(&self, probe: &Probe<'_, E>) -> (Vec<f64>, f64) {
        let d = self.features;
        let vectors: Vec<f64> = probe.parameter(&self.vectors).iter().map(|v| v.as_f64()).collect();
        let mut product = vec![0.0; d * d];
        multiply_all(&vectors, d, &mut product);
        let (count, d) = ((vectors.len() / d) as f64, d as f64);
        (product, 8.0 * count * (d + 4.0) * d.sqrt() * f64::EPSILON)
    }

    /// Carries the gradient `G` by `Q` on to the vectors.
    ///
    /// That by `Hᵢ` is `Kᵢ = (H₁…Hᵢ₋₁)ᵀ G (Hᵢ₊₁…Hₖ)ᵀ`. So `K₁ = G Qᵀ H₁` and `Kᵢ₊₁ = Hᵢ Kᵢ Hᵢ₊₁`: no
    /// intermediate product is needed. With `u = v/‖v‖` the gradient by `u` is `−2(K + Kᵀ)u`, and
    /// `v` sees its part across `u`, over `‖v‖`.
    pub(super) fn finish<E: Scalar>(&self, state: &State<E>, by_product: &[E], gradient: &mut [E]) {
        let d = self.features;
        let by_product = Matrix::new(by_product, d, d);
        let product = Matrix::new(self.product.of(&state.derived), d, d);
        let mut k = vec![E::zero(); d * d];
        multiply(&mut k, Into::Replace, by_product, product.t());

        let vectors = state.values.parameter(&self.vectors).chunks_exact(d);
        let gradients = self.vectors.of_mut(gradient).chunks_exact_mut(d);
        let [mut u, mut left, mut both] = [(); 3].map(|()| vec![E::zero(); d]);
        for (v, gradient) in vectors.zip(gradients) {
            let Some(length) = length(v) else { continue };
            u.iter_mut().zip(v).for_each(|(u, &v)| *u = v / length);
            left.fill(E::zero());
            for ((row, &u_i), both) in k.chunks_exact_mut(d).zip(&u).zip(&mut both) {
                reflect(row, &u, E::one());
                add_scaled(&mut left, row, u_i);
                *both = dot(row, &u);
            }
            for (row, &u_i) in k.chunks_exact_mut(d).zip(&u) {
                add_scaled(row, &left, E::of(-2.0) * u_i);
            }
            add_scaled(&mut both, &left, E::one());
            let along = dot(&both, &u);
            add_scaled(&mut both, &u, -along);
            add_scaled(gradient, &both, E::of(-2.0) / length);
        }
    }
}

/// The product of reflections at those vectors, in their order.
fn multiply_all<E: Scalar>(vectors: &[E], d: usize, q: &mut [E]) {
    q.fill(E::zero());
    q.iter_mut().step_by(d + 1).for_each(|entry| *entry = E::one());
    for v in vectors.chunks_exact(d) {
        let Some(length) = length(v) else { continue };
        for row in q.chunks_exact_mut(d) {
            reflect(row, v, length);
        }
    }
}

/// The length of a reflection's vector, or none where it has no direction.
fn length<E: Scalar>(v: &[E]) -> Option<E> {
    // So written that NaN is not zero: it has to spread.
    if v.iter().all(|v| v.abs() < E::min_positive_value()) {
        return None;
    }
    // Relative to the largest entry, so that no square over- or underflows.
    let largest = v.iter().fold(E::zero(), |most, v| most.max(v.abs()));
    let squares = v.iter().map(|&v| (v / largest) * (v / largest)).sum::<E>();
    Some(largest * squares.sqrt())
}

/// `row ← row·H`, with the reflection at `v` of that length.
fn reflect<E: Scalar>(row: &mut [E], v: &[E], length: E) {
    let along = E::of(2.0) * (dot(row, v) / length);
    let inverse = length.recip();
    for (entry, &v) in row.iter_mut().zip(v) {
        *entry -= along * (v * inverse);
    }
}

#[cfg(feature = "cuda")]
#[path = "reflections_lowering.rs"]
mod lowering;
