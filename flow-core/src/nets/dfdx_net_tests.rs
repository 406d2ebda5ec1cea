use dfdx::nn::tensor_collection::{ModuleVisitor, TensorOptions};
use dfdx::prelude::{BroadcastTo, BuildModule, HasErr, HasShape};
use dfdx::prelude::{Device, Dtype, LayerNorm1D, Linear, Rank1, Tanh, Tape, TryAdd, TryMul};

use super::*;
use crate::blocks::{Coupling, Split};
use crate::engine::{Role, State};
use crate::nets::testing::{evaluate, product};
use crate::nets::{Activation, FeedForward, NetOptions};
use crate::testing::{check_laws, normal, Make};
use crate::transforms::{Affine, Scale};
use crate::Shape;

type Small = (Linear<3, 5>, Tanh, Linear<5, 4>);

const LAST: LastLayer<'static> = LastLayer { start: &|_| Some(0.0) };

fn small<E: Scalar>(seed: u64) -> (DfdxNet<Small, 3, 4, E>, crate::Layout, State<E>) {
    let mut builder = Builder::new(seed);
    let net = DfdxNet::new(&mut builder, Shape::vector(3), 4, LAST).unwrap();
    let (layout, state) = builder.finish();
    (net, layout, state)
}

#[test]
fn it_is_the_perceptron_of_the_same_weights() {
    let (net, layout, state) = small::<f64>(1);
    let names: Vec<_> = layout.entries.iter().map(|e| (e.name.as_str(), e.shape.clone())).collect();
    assert_eq!(
        names,
        [
            ("net.0.weight", vec![5, 3]),
            ("net.0.bias", vec![5]),
            ("net.2.weight", vec![4, 5]),
            ("net.2.bias", vec![4]),
        ]
    );
    let mut builder = Builder::<f64>::new(2);
    let options = NetOptions::default();
    let inputs = Shape::vector(3);
    let same =
        FeedForward::mlp(&mut builder, inputs, 4, LAST, &[5], Activation::Tanh, options).unwrap();
    for rows in [1, 7] {
        let (input, cotangent) = (normal(rows * 3, 1), normal(rows * 4, 2));
        let close = |a: &[f64], b: &[f64]| {
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12), "{a:?}, not {b:?}");
        };
        close(&evaluate(&net, &state, rows, &input), &evaluate(&same, &state, rows, &input));
        let (by_input, by_weights) = product(&net, &state, rows, &input, &cotangent);
        let (want_input, want_weights) = product(&same, &state, rows, &input, &cotangent);
        close(&by_input, &want_input);
        close(&by_weights, &want_weights);
    }
}

#[test]
fn a_seed_gives_a_start() {
    let weights = |seed| small::<f32>(seed).2.values.parameters;
    assert_eq!(weights(1), weights(1));
    assert_ne!(weights(1), weights(2));
    assert!(weights(1).iter().all(|w| w.abs() <= 1.0) && weights(1).iter().any(|w| *w != 0.0));
}

#[test]
fn versions_of_the_weights_do_not_mix() {
    let (net, _, state) = small::<f64>(1);
    let input = normal(3, 1);
    let versions: Vec<State<f64>> = (1..=5)
        .map(|version| {
            let mut state = state.clone();
            state.values.parameters.iter_mut().for_each(|p| *p *= version as f64);
            state.version = version;
            state
        })
        .collect();
    let want: Vec<_> = versions.iter().map(|s| evaluate(&small(1).0, s, 1, &input)).collect();
    assert!(want.windows(2).all(|pair| pair[0] != pair[1]));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (net, versions, want, input) = (&net, &versions, &want, &input);
            scope.spawn(move || {
                for i in 0..200 {
                    let which = (i * (thread + 1) + thread) % versions.len();
                    assert_eq!(evaluate(net, &versions[which], 1, input), want[which]);
                }
            });
        }
    });
}

#[test]
fn what_does_not_fit_is_an_error() {
    let mut builder = Builder::<f32>::new(0);
    let made = DfdxNet::<Small, 3, 4, f32>::new(&mut builder, Shape::vector(3), 6, LAST);
    let error = made.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("outputs of a net is 4, expected 6"), "{error}");
}

/// `y = x·gain + offset`, where the offset is not trained and nothing uses `idle`.
#[derive(Clone)]
struct Shifted;

#[derive(Clone)]
struct BuiltShifted<E: Dtype, D: Device<E>> {
    gain: Tensor<Rank1<2>, E, D>,
    offset: Tensor<Rank1<2>, E, D>,
    idle: Tensor<Rank1<3>, E, D>,
}

impl<E: Dtype, D: Device<E>> BuildOnDevice<D, E> for Shifted {
    type Built = BuiltShifted<E, D>;
    fn try_build_on_device(device: &D) -> Result<Self::Built, D::Err> {
        Self::Built::try_build(device)
    }
}

impl<E: Dtype, D: Device<E>> TensorCollection<E, D> for BuiltShifted<E, D> {
    type To<E2: Dtype, D2: Device<E2>> = BuiltShifted<E2, D2>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(
        visitor: &mut V,
    ) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        visitor.visit_fields(
            (
                Self::tensor("gain", |s| &s.gain, |s| &mut s.gain, TensorOptions::reset_to_ones()),
                Self::tensor(
                    "offset",
                    |s| &s.offset,
                    |s| &mut s.offset,
                    TensorOptions::detached(|t| t.try_fill_with_ones()),
                ),
                Self::tensor("idle", |s| &s.idle, |s| &mut s.idle, TensorOptions::reset_to_zeros()),
            ),
            |(gain, offset, idle)| BuiltShifted { gain, offset, idle },
        )
    }
}

impl<E: Dtype, D: Device<E>, T: Tape<E, D>> Module<Tensor<(usize, Const<2>), E, D, T>>
    for BuiltShifted<E, D>
{
    type Output = Tensor<(usize, Const<2>), E, D, T>;
    type Error = <D as HasErr>::Err;

    fn try_forward(
        &self,
        x: Tensor<(usize, Const<2>), E, D, T>,
    ) -> Result<Self::Output, Self::Error> {
        let shape = *x.shape();
        let gain = self.gain.retaped::<T>().try_broadcast_like(&shape)?;
        let offset = self.offset.retaped::<T>().try_broadcast_like(&shape)?;
        x.try_mul(gain)?.try_add(offset)
    }
}

#[test]
fn untrained_tensors_are_buffers_and_unused_ones_have_no_gradient() {
    let mut builder = Builder::<f64>::new(0);
    let net = DfdxNet::<Shifted, 2, 2, f64>::new(&mut builder, Shape::vector(2), 2, LAST).unwrap();
    let (layout, mut state) = builder.finish();
    assert!(matches!(layout.find("net.offset").unwrap().role, Role::Buffer(_)));
    assert_eq!(layout.find("net.idle").unwrap().role, Role::Parameter);
    state.values.buffers.copy_from_slice(&[10.0, 20.0]);
    assert_eq!(evaluate(&net, &state, 1, &[3.0, 4.0]), [13.0, 24.0]);
    let (by_input, by_weights) = product(&net, &state, 1, &[3.0, 4.0], &[1.0, 2.0]);
    assert_eq!(by_input, [1.0, 2.0]);
    assert_eq!(by_weights, [3.0, 8.0, 0.0, 0.0, 0.0]);
}

struct InACoupling;

impl Make<4, 2> for InACoupling {
    type Block = Generic<f64>;
    fn make(b: &mut Builder<f64>) -> Result<Self::Block> {
        generic(b)
    }
}

type Conditional = (Linear<4, 6>, LayerNorm1D<6>, Tanh, Linear<6, 4>);
type Generic<E> = Coupling<DfdxNet<Conditional, 4, 4, E>, Affine>;

/// Code generic over the scalar, such as `flow!` writes, needs no bound but that.
fn generic<E: Scalar>(b: &mut Builder<E>) -> Result<Generic<E>> {
    fn is_block<E: Scalar, B: crate::Block<E>>(block: B) -> B {
        block
    }
    let affine = Affine::new(Scale::Tanh { limit: 2.0 });
    let net = |b: &mut Builder<E>, i, o, last: LastLayer<'_>| DfdxNet::new(b, i, o, last);
    Coupling::new(b, Shape::vector(4), 2, Split::Even, affine, net).map(is_block)
}

#[test]
fn a_coupling_with_a_module_of_dfdx_obeys_the_laws() {
    check_laws::<InACoupling, 4, 2>();
}
