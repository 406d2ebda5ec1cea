//! Nets and blocks that a user writes with dfdx, named by `use` in a flow.

use dfdx::prelude::*;
use flow_core::blocks::{OnTape, TensorBlock};
use flow_core::{flow, Builder, Component, FlowError, NormalizingFlow, Scalar, Site};

type Conditioner = (Linear<2, 8>, Tanh, Linear<8, 4>);

/// `z = x·exp(s)` with one `s` for each feature.
struct Stretch;

type Rows<E, T> = Tensor<(usize, Const<4>), E, <E as Scalar>::Device, T>;
type Numbers<E, T> = Tensor<(usize,), E, <E as Scalar>::Device, T>;

impl<E: Scalar> TensorBlock<E> for Stretch {
    type Event = flow_core::Vector<4>;
    type Tensors = Tensor<Rank1<4>, E, E::Device>;

    fn tensors(&self, device: &E::Device) -> Result<Self::Tensors, CpuError> {
        device.try_ones()
    }

    fn forward<T: Tape<E, E::Device>>(
        &self,
        s: &Self::Tensors,
        x: Rows<E, T>,
    ) -> Result<(Rows<E, T>, Numbers<E, T>), FlowError> {
        let shape = *x.shape();
        let s = s.retaped::<T>().try_broadcast_like(&shape)?;
        let log_det = s.with_empty_tape().try_sum()?;
        Ok((x.try_mul(s.try_exp()?)?, log_det))
    }

    fn inverse<T: Tape<E, E::Device>>(
        &self,
        s: &Self::Tensors,
        z: Rows<E, T>,
    ) -> Result<(Rows<E, T>, Numbers<E, T>), FlowError> {
        let shape = *z.shape();
        let s = s.retaped::<T>().try_negate()?.try_broadcast_like(&shape)?;
        let log_det = s.with_empty_tape().try_sum()?;
        Ok((z.try_mul(s.try_exp()?)?, log_det))
    }
}

impl<E: Scalar> Component<E> for Stretch {
    type Block = OnTape<Self, E>;
    type Arguments = ();

    fn component(builder: &mut Builder<E>, site: Site, _: ()) -> Result<Self::Block, FlowError> {
        OnTape::new(builder, site, Stretch)
    }
}

flow! {
    /// A flow of modules.
    pub struct Modules: Vector<4> {
        repeat 2 {
            affine_coupling(keep = first, scale = tanh(2.0), net = use Conditioner);
            affine_coupling(keep = second, scale = tanh(2.0), net = use Conditioner);
        }
        'stretch: use Stretch;
    }
}

fn trains<E: Scalar>(close: E)
where
    Cpu: Device<E>,
{
    let device = Cpu::default();
    let flow = Modules::<E>::build(&device, 3).unwrap();
    let names: Vec<_> = flow.parameters().map(|p| p.name.to_string()).collect();
    assert!(names.contains(&"0.1.0.net.2.weight".to_string()), "{names:?}");
    assert!(names.contains(&"stretch.weight".to_string()), "{names:?}");

    let numbers = (0..12).map(|i| E::of(0.3 * f64::from(i) - 1.5)).collect();
    let x: Tensor<(usize, Const<4>), E, Cpu> = device.tensor_from_vec(numbers, (3, Const));
    let (z, _) = flow.forward(x.clone()).unwrap();
    let (back, _) = flow.inverse(z).unwrap();
    for (a, b) in x.as_vec().into_iter().zip(back.as_vec()) {
        assert!((a - b).abs() < close);
    }
    let loss = flow.log_prob(x.leaky_trace()).unwrap().mean().negate();
    let mut gradients = loss.backward();
    for (name, by) in flow.gradients(&mut gradients).unwrap() {
        assert!(by.iter().all(|g| g.is_finite()) && by.iter().any(|g| !g.is_zero()), "{name}");
    }
}

#[test]
fn a_flow_of_modules_trains_in_both_precisions() {
    trains::<f32>(1e-5);
    trains::<f64>(1e-13);
}
