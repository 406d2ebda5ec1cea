use dfdx::prelude::{BroadcastTo, Const, HasShape, Rank1, Rank3, SampleTensor, SumTo};
use dfdx::prelude::{TryAdd, TryDiv, TryMul, TrySub, WithEmptyTape, ZerosTensor};
use rand::distributions::Uniform;

use super::*;
use crate::engine::{Gradients, Workspace};
use crate::testing::{check_laws, Make};
use crate::{Component, Image, Shape, Vector};

/// `z = asinh(x·exp(s) + t)`, feature by feature.
struct Bend;

type Rows<E, T> = Tensor<(usize, Const<3>), E, <E as Scalar>::Device, T>;
type PerFeature<E> = Tensor<Rank1<3>, E, <E as Scalar>::Device>;

impl<E: Scalar> TensorBlock<E> for Bend {
    type Event = Vector<3>;
    type Tensors = (PerFeature<E>, PerFeature<E>);

    fn tensors(&self, device: &E::Device) -> Result<Self::Tensors, CpuError> {
        Ok((device.try_zeros()?, device.try_sample(Uniform::new(-E::one(), E::one()))?))
    }

    fn forward<T: Tape<E, E::Device>>(
        &self,
        (s, t): &Self::Tensors,
        x: Rows<E, T>,
    ) -> Result<(Rows<E, T>, Numbers<E, T>)> {
        let shape = *x.shape();
        let s = s.retaped::<T>().try_broadcast_like(&shape)?;
        let t = t.retaped::<T>().try_broadcast_like(&shape)?;
        let u = x.try_mul(s.with_empty_tape().try_exp()?)?.try_add(t)?;
        let square = u.with_empty_tape().try_square()?.try_add(E::one())?;
        let slope = square.with_empty_tape().try_ln()?.try_mul(E::of(-0.5))?;
        let log_det = s.try_add(slope)?.try_sum()?;
        Ok((u.try_add(square.try_sqrt()?)?.try_ln()?, log_det))
    }

    fn inverse<T: Tape<E, E::Device>>(
        &self,
        (s, t): &Self::Tensors,
        z: Rows<E, T>,
    ) -> Result<(Rows<E, T>, Numbers<E, T>)> {
        let shape = *z.shape();
        let s = s.retaped::<T>().try_broadcast_like(&shape)?;
        let t = t.retaped::<T>().try_broadcast_like(&shape)?;
        let up = z.with_empty_tape().try_exp()?;
        let down = z.try_negate()?.try_exp()?;
        let slope =
            up.with_empty_tape().try_add(down.with_empty_tape())?.try_div(E::of(2.0))?.try_ln()?;
        let log_det = slope.try_sub(s.with_empty_tape())?.try_sum()?;
        let u = up.try_sub(down)?.try_div(E::of(2.0))?;
        Ok((u.try_sub(t)?.try_div(s.try_exp()?)?, log_det))
    }
}

impl<E: Scalar> Component<E> for Bend {
    type Block = OnTape<Self, E>;
    type Arguments = ();

    fn component(builder: &mut Builder<E>, site: Site, _: ()) -> Result<Self::Block> {
        OnTape::new(builder, site, Bend)
    }
}

fn site(shape: Shape) -> Site {
    Site { input: shape, output: shape, context: 0 }
}

impl Make<3, 0> for Bend {
    type Block = OnTape<Bend, f64>;
    fn make(b: &mut Builder<f64>) -> Result<Self::Block> {
        Bend::component(b, site(Shape::vector(3)), ())
    }
}

#[test]
fn a_block_of_dfdx_operations_obeys_the_laws() {
    check_laws::<Bend, 3, 0>();
}

#[test]
fn its_tensors_are_named_and_seeded() {
    let start = |seed| {
        let mut b = Builder::<f32>::new(seed);
        b.block("bend", |b| Bend::component(b, site(Shape::vector(3)), ())).unwrap();
        let (layout, state) = b.finish();
        let names: Vec<_> = layout.entries.into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["bend.0", "bend.1"]);
        state.values.parameters
    };
    assert_eq!(start(1), start(1));
    assert_ne!(start(1), start(2));
    assert_eq!(start(1)[..3], [0.0; 3]);
}

#[test]
fn another_shape_is_an_error() {
    let made = Bend::component(&mut Builder::<f32>::new(0), site(Shape::vector(4)), ());
    let error = made.err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(error, "Bend takes Vector<3>, but stands where the flow has Vector<4>");
}

/// `z = x + offset` on an image.
struct Offset;

type Pictures<E, T> = Tensor<(usize, Const<2>, Const<2>, Const<3>), E, <E as Scalar>::Device, T>;

impl<E: Scalar> TensorBlock<E> for Offset {
    type Event = Image<2, 2, 3>;
    type Tensors = Tensor<Rank3<2, 2, 3>, E, E::Device>;

    fn tensors(&self, device: &E::Device) -> Result<Self::Tensors, CpuError> {
        device.try_zeros()
    }

    fn forward<T: Tape<E, E::Device>>(
        &self,
        offset: &Self::Tensors,
        x: Pictures<E, T>,
    ) -> Result<(Pictures<E, T>, Numbers<E, T>)> {
        let shape = *x.shape();
        let zero: Numbers<E, dfdx::tensor::NoneTape> = x.device().try_zeros_like(&(shape.0,))?;
        let z = x.try_add(offset.retaped::<T>().try_broadcast_like(&shape)?)?;
        Ok((z, zero.retaped::<T>()))
    }

    fn inverse<T: Tape<E, E::Device>>(
        &self,
        offset: &Self::Tensors,
        z: Pictures<E, T>,
    ) -> Result<(Pictures<E, T>, Numbers<E, T>)> {
        let shape = *z.shape();
        let zero: Numbers<E, dfdx::tensor::NoneTape> = z.device().try_zeros_like(&(shape.0,))?;
        let x = z.try_sub(offset.retaped::<T>().try_broadcast_like(&shape)?)?;
        Ok((x, zero.retaped::<T>()))
    }
}

#[test]
fn images_arrive_with_their_channels_first() {
    let mut b = Builder::<f64>::new(0);
    let block = OnTape::new(&mut b, site(Shape::image(2, 2, 3)), Offset).unwrap();
    let (_, mut state) = b.finish();
    (0..12).for_each(|i| state.values.parameters[i] = i as f64);
    let (mut workspace, mut gradients) = (Workspace::default(), Gradients::zeros(&state, 0));
    let mut pass =
        Pass::new(1, &state, &[], &mut workspace, &mut gradients).keeping(crate::Memory::Stored);
    let (mut x, mut log_det) = (vec![0.0; 12], [0.0]);
    block.forward(&mut pass, &mut x, &mut log_det).unwrap();
    // Pixel by pixel, both channels: channel 1 starts at 6.
    assert_eq!(x, [0.0, 6.0, 1.0, 7.0, 2.0, 8.0, 3.0, 9.0, 4.0, 10.0, 5.0, 11.0]);
    let cotangent = x.clone();
    block.forward_vjp(&mut pass, &mut x, &[1.0]).unwrap();
    assert_eq!(x, cotangent);
    assert_eq!(*gradients.whole().0, (0..12).map(f64::from).collect::<Vec<_>>());
}
