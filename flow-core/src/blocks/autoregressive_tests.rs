use std::cell::Cell;
use std::marker::PhantomData;

use super::*;
use crate::blocks::Inverted;
use crate::engine::{Gradients, Workspace};
use crate::nets::{Activation, NetOptions};
use crate::testing::{check_laws, Make};
use crate::transforms::{Affine, Scale, Spline};
use crate::{LogDet, Memory, Noise};

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

/// The sequential direction as it should not be done: the whole net for each feature, at whose end
/// one more feature is right.
fn slow<E: Scalar, T: Transform>(
    block: &MaskedAutoregressive<T>,
    pass: &mut Pass<'_, E>,
    z: &[E],
    log_det: &mut [E],
) -> Vec<E> {
    let (rows, features) = (pass.rows(), block.features);
    let mut x = vec![E::zero(); z.len()];
    for _ in 0..features {
        let mut at = block.net.start(pass, &x);
        block.net.bands().for_each(|degrees| block.net.open(pass, &mut at, degrees));
        log_det.fill(E::zero());
        for feature in 0..features {
            let (value, parameters) = block.net.feature(&mut at, feature);
            let column = z[feature..].iter().step_by(features);
            value.iter_mut().zip(column).for_each(|(v, &z)| *v = z);
            block.transform.inverse(value, parameters, log_det);
        }
        transpose(block.net.features(&at), rows, &mut x);
        at.give(pass);
    }
    x
}

fn sequence_is_slow_loop<E: Scalar, T: Transform + Copy>(transform: T, tolerance: f64) {
    for (features, context, hidden) in
        [(1, 0, &[4][..]), (2, 3, &[5]), (6, 0, &[4, 9]), (9, 2, &[300, 260])]
    {
        let mut b = Builder::<E>::new(4);
        let block = block(&mut b, features, context, hidden, transform).unwrap();
        let (_, mut state) = b.finish();
        let noise = Noise::seed(2);
        for (i, p) in state.values.parameters.iter_mut().enumerate() {
            *p += E::of(0.1 * noise.normal(i as u64));
        }
        let State { values, derived, .. } = &mut state;
        block.prepare(values, derived).unwrap();
        for rows in [1, 7] {
            let (mut z, mut given) =
                (vec![E::zero(); rows * features], vec![E::zero(); rows * context]);
            noise.named("z").fill_normal(0, &mut z);
            noise.named("context").fill_normal(0, &mut given);
            let (mut workspace, mut none) = (Workspace::default(), Gradients::default());
            let mut pass = Pass::new(rows, &state, &given, &mut workspace, &mut none);
            let (mut want_log, mut got_log) = (vec![E::zero(); rows], vec![E::zero(); rows]);
            let want = slow(&block, &mut pass, &z, &mut want_log);
            block.inverse(&mut pass, &mut z, &mut got_log).unwrap();
            for (got, want) in z.iter().zip(&want).chain(got_log.iter().zip(&want_log)) {
                let (got, want) = (got.as_f64(), want.as_f64());
                let error = (got - want).abs() / want.abs().max(1.0);
                assert!(error < tolerance, "{features}, {hidden:?}: {got}, not {want}");
            }
        }
    }
}

#[test]
fn the_sequence_is_the_whole_net_for_each_feature() {
    sequence_is_slow_loop::<f64, _>(Affine::new(Scale::Exp), 1e-12);
    sequence_is_slow_loop::<f32, _>(Affine::new(Scale::Exp), 2e-5);
    sequence_is_slow_loop::<f64, _>(Spline::new(5, 2.0), 1e-12);
    sequence_is_slow_loop::<f32, _>(Spline::new(5, 2.0), 2e-5);
}

#[test]
fn a_context_for_others_and_batches_of_nothing_do_no_harm() {
    let mut b = Builder::<f64>::new(4);
    let block = block(&mut b, 3, 0, &[4], Affine::new(Scale::Exp)).unwrap();
    let (_, mut state) = b.finish();
    let State { values, derived, .. } = &mut state;
    block.prepare(values, derived).unwrap();
    for rows in [0, 2] {
        let given = vec![f64::NAN; rows * 5];
        let mut workspace = Workspace::default();
        let mut gradients = Gradients::zeros(&state, rows * 5);
        let mut pass =
            Pass::new(rows, &state, &given, &mut workspace, &mut gradients).keeping(Memory::Stored);
        let (mut x, mut log_det) = (vec![0.5; rows * 3], vec![0.0; rows]);
        block.forward(&mut pass, &mut x, &mut log_det).unwrap();
        block.inverse(&mut pass, &mut x, &mut log_det).unwrap();
        assert_eq!(x, vec![0.5; rows * 3]);
        block.inverse_vjp(&mut pass, &mut x, &log_det).unwrap();
        block.forward_vjp(&mut pass, &mut x, &log_det).unwrap();
        assert!(gradients.context.iter().all(|&v| v == 0.0));
    }
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
