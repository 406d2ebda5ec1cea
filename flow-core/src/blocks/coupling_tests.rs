use std::cell::Cell;
use std::marker::PhantomData;

use super::*;
use crate::nets::{Activation, FeedForward, NetOptions};
use crate::testing::{check_laws, Make};
use crate::transforms::{Additive, Affine, Scale, Spline};

// The block under test is carried by a type, and each type is compiled anew: what varies within one
// stands here, where the thread that builds the flow finds it.
thread_local! {
    static SPLIT: Cell<Split> = const { Cell::new(Split::First) };
    static SCALE: Cell<Scale> = const { Cell::new(Scale::Exp) };
}

/// A transform that a type can carry.
trait Kind: Transform + Sized {
    fn make() -> Self;
}

impl Kind for Additive {
    fn make() -> Self {
        Self::new()
    }
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
    type Block = Coupling<FeedForward, T>;
    fn make(b: &mut Builder<f64>) -> Result<Self::Block> {
        Coupling::new(b, Shape::vector(D), C, SPLIT.get(), T::make(), |b, i, o, last| {
            FeedForward::mlp(b, i, o, last, &[5, 3], Activation::Tanh, NetOptions::default())
        })
    }
}

fn laws<T: Kind>() {
    for split in [Split::First, Split::Second, Split::Even, Split::Odd] {
        SPLIT.set(split);
        check_laws::<Of<T>, 2, 0>();
        check_laws::<Of<T>, 3, 0>();
        check_laws::<Of<T>, 5, 0>();
        check_laws::<Of<T>, 2, 2>();
        check_laws::<Of<T>, 3, 2>();
        check_laws::<Of<T>, 5, 2>();
    }
}

#[test]
fn additive_couplings_obey_the_laws() {
    laws::<Additive>();
}

#[test]
fn affine_couplings_obey_the_laws() {
    for scale in
        [Scale::Exp, Scale::Tanh { limit: 1.5 }, Scale::Sigmoid { low: 0.4, high: 1.2, shift: 2.0 }]
    {
        SCALE.set(scale);
        laws::<Affine>();
    }
}

#[test]
fn spline_couplings_obey_the_laws() {
    laws::<Spline>();
}

#[test]
fn one_feature_alone_is_transformed_by_constants_or_the_context() {
    SPLIT.set(Split::First);
    check_laws::<Of<Additive>, 1, 0>();
    check_laws::<Of<Additive>, 1, 2>();
}

fn coupling<T: Transform>(
    transform: T,
    lipschitz: Option<f64>,
) -> Result<Coupling<FeedForward, T>> {
    let mut builder = Builder::<f64>::new(1);
    Coupling::new(&mut builder, Shape::vector(3), 0, Split::Even, transform, |b, i, o, last| {
        let options = NetOptions { lipschitz, ..NetOptions::default() };
        FeedForward::mlp(b, i, o, last, &[4], Activation::Relu, options)
    })
}

fn facts<T: Transform>(transform: T, lipschitz: Option<f64>) -> Facts {
    let coupling = coupling(transform, lipschitz).unwrap();
    <Coupling<FeedForward, T> as Block<f64>>::facts(&coupling)
}

#[test]
fn facts_are_those_of_the_theory() {
    let additive = facts(Additive::new(), None);
    assert!(additive.bi_lipschitz && additive.analytic_inverse && additive.memory_saving);
    assert_eq!((additive.log_det, additive.forward), (LogDet::Zero, f64::INFINITY));
    let limited = facts(Additive::new(), Some(0.75));
    let bound = (0.75 + 4.5625_f64.sqrt()) / 2.0;
    assert_eq!((limited.forward, limited.inverse), (bound, bound));
    for facts in [facts(Affine::new(Scale::Exp), None), facts(Spline::new(8, 3.0), None)] {
        assert!(!facts.bi_lipschitz && facts.analytic_inverse && facts.memory_saving);
        assert_eq!((facts.log_det, facts.inverse), (LogDet::Varying, f64::INFINITY));
    }
}

#[test]
fn a_bad_option_of_the_transform_is_an_error() {
    assert!(coupling(Spline::new(0, 3.0), None).is_err());
}

#[test]
fn names_and_starts_are_those_of_the_language() {
    let mut b = Builder::<f64>::new(1);
    let spline = Spline::new(8, 3.0);
    b.block("0", |b| {
        Coupling::new(b, Shape::vector(5), 2, Split::First, spline, |b, i, o, last| {
            FeedForward::mlp(b, i, o, last, &[16], Activation::Relu, NetOptions::default())
        })
    })
    .unwrap();
    let (layout, state) = b.finish();
    let names: Vec<_> = layout.entries.iter().map(|e| (e.name.as_str(), e.shape.clone())).collect();
    assert_eq!(
        names,
        [
            ("0.net.0.weight", vec![16, 4]),
            ("0.net.0.bias", vec![16]),
            ("0.net.1.weight", vec![69, 16]),
            ("0.net.1.bias", vec![69]),
        ]
    );
    let last = &state.values.parameters[layout.entries[3].range.clone()];
    assert_eq!(
        (last[15], last[16], last[22], last[23]),
        (0.0, spline.start(16), spline.start(16), 0.0)
    );
    assert!(state.values.parameters[layout.entries[2].range.clone()].iter().all(|&v| v == 0.0));
    let first = &state.values.parameters[layout.entries[0].range.clone()];
    assert!(first.iter().all(|v| v.abs() <= 0.5) && first.iter().any(|v| v.abs() > 0.4));
}
