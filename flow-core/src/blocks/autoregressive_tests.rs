use std::cell::Cell;
use std::marker::PhantomData;

use super::*;
use crate::blocks::Inverted;
use crate::nets::{Activation, NetOptions};
use crate::testing::{check_laws, Make};
use crate::transforms::{Affine, Scale, Spline};
use crate::LogDet;

#[path = "autoregressive_oracle.rs"]
mod oracle;

// As in the tests of couplings: what varies within one type of block stands here.
thread_local! {
    static SCALE: Cell<Scale> = const { Cell::new(Scale::Exp) };
    static HIDDEN: Cell<&'static [usize]> = const { Cell::new(&[]) };
}

/// A transform that a type can carry.
trait Kind: Transform + Sized {
    fn make() -> Self;
}

impl Kind for Affine {
    fn make() -> Self {
        Self::new(SCALE.get())
    }
}

impl Kind for Spline {
    fn make() -> Self {
        Self::new(4, 3.0)
    }
}

struct Of<T>(PhantomData<T>);

impl<T: Kind, const D: usize, const C: usize> Make<D, C> for Of<T> {
    type Block = MaskedAutoregressive<T>;
    fn make(b: &mut Builder<f64>) -> Result<Self::Block> {
        block(b, D, C, HIDDEN.get(), T::make())
    }
}

struct InverseOf<T>(PhantomData<T>);

impl<T: Kind, const D: usize, const C: usize> Make<D, C> for InverseOf<T> {
    type Block = Inverted<MaskedAutoregressive<T>>;
    fn make(b: &mut Builder<f64>) -> Result<Self::Block> {
        block(b, D, C, HIDDEN.get(), T::make()).map(Inverted::new)
    }
}

fn block<E: Scalar, T: Transform>(
    b: &mut Builder<E>,
    features: usize,
    context: usize,
    hidden: &[usize],
    transform: T,
) -> Result<MaskedAutoregressive<T>> {
    let shape = Shape::vector(features);
    MaskedAutoregressive::new(b, shape, context, transform, |b, shape, context, each, last| {
        let features = shape.features();
        Made::new(b, features, context, each, last, hidden, Activation::Tanh, NetOptions::default())
    })
}

fn laws<T: Kind>() {
    for hidden in [&[6][..], &[3, 9]] {
        HIDDEN.set(hidden);
        check_laws::<Of<T>, 1, 0>();
        check_laws::<Of<T>, 2, 0>();
        check_laws::<Of<T>, 5, 0>();
        check_laws::<Of<T>, 1, 2>();
        check_laws::<Of<T>, 2, 2>();
        check_laws::<Of<T>, 5, 2>();
    }
    check_laws::<InverseOf<T>, 1, 0>();
    check_laws::<InverseOf<T>, 5, 2>();
}

#[test]
fn affine_blocks_obey_the_laws() {
    for scale in
        [Scale::Exp, Scale::Tanh { limit: 1.5 }, Scale::Sigmoid { low: 0.4, high: 1.2, shift: 2.0 }]
    {
        SCALE.set(scale);
        laws::<Affine>();
    }
}

#[test]
fn spline_blocks_obey_the_laws() {
    laws::<Spline>();
}

#[test]
fn facts_are_those_of_the_theory() {
    let made = block(&mut Builder::<f64>::new(1), 3, 0, &[4], Affine::new(Scale::Exp)).unwrap();
    let facts = Block::<f64>::facts(&made);
    assert!(facts.analytic_inverse && facts.memory_saving && !facts.bi_lipschitz);
    assert_eq!((facts.log_det, facts.forward), (LogDet::Varying, f64::INFINITY));
}

#[test]
fn what_cannot_be_made_is_an_error() {
    let made = |shape, transform| {
        let mut b = Builder::<f64>::new(1);
        MaskedAutoregressive::new(&mut b, shape, 0, transform, |b, shape, context, each, last| {
            Made::new(
                b,
                shape.features(),
                context,
                each,
                last,
                &[4],
                Activation::Relu,
                NetOptions::default(),
            )
        })
        .map(|_| ())
    };
    let error = made(Shape::image(2, 3, 3), Spline::new(4, 3.0)).unwrap_err().to_string();
    assert!(error.contains("Image<2, 3, 3>"), "{error}");
    assert!(made(Shape::vector(0), Spline::new(4, 3.0)).is_err());
    assert!(made(Shape::vector(3), Spline::new(4, -1.0)).is_err());
}
