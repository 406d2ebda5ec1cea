//! Blocks and nets of one's own in a flow: one on plain buffers, one of dfdx operations, and a dfdx
//! module as a conditioner.
//!
//! ```sh
//! cargo run --release --example own_block
//! ```

use dfdx::prelude::*;
use flow_core::blocks::{OnTape, TensorBlock};
use flow_core::prelude::*;
use flow_core::{Block, Builder, Component, Facts, Parameter, Pass, Site, Start};
use flow_examples::Result;

flow! {
    pub struct Mine: Vector<2> {
        use Turn(0.3);
        use Stretch;
        affine_coupling(scale = tanh(2.0), net = use Net);
        affine_coupling(scale = tanh(2.0), net = use Net);
        use Turn(-0.3);
    }
}

/// One passing feature in; scale and shift of the other out.
type Net = (Linear<1, 32>, Tanh, Linear<32, 2>);

/// A rotation of the plane by a trained angle, on plain buffers: rows of two numbers, in place.
pub struct Turn {
    angle: Parameter,
}

impl Turn {
    fn turn<E: Scalar>(angle: E, rows: &mut [E]) {
        let (sine, cosine) = angle.sin_cos();
        for row in rows.chunks_exact_mut(2) {
            let (a, b) = (row[0], row[1]);
            row[0] = cosine * a - sine * b;
            row[1] = sine * a + cosine * b;
        }
    }

    /// `∂L/∂angle` from the gradient by the output `y`, since `∂y/∂angle` is `y` turned by 90°.
    fn by_angle<E: Scalar>(gradient: &[E], output: &[E]) -> E {
        let rows = gradient.chunks_exact(2).zip(output.chunks_exact(2));
        rows.map(|(g, y)| g[1] * y[0] - g[0] * y[1]).sum()
    }
}

impl<E: Scalar> Block<E> for Turn {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], _: &mut [E]) -> flow_core::Result<()> {
        Self::turn(pass.parameter(&self.angle)[0], x);
        if pass.saving() {
            let output = pass.take_copy(x);
            pass.save(output);
        }
        Ok(())
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], _: &mut [E]) -> flow_core::Result<()> {
        Self::turn(-pass.parameter(&self.angle)[0], z);
        if pass.saving() {
            let output = pass.take_copy(z);
            pass.save(output);
        }
        Ok(())
    }

    fn forward_vjp(
        &self,
        pass: &mut Pass<'_, E>,
        gradient: &mut [E],
        _: &[E],
    ) -> flow_core::Result<()> {
        let output = pass.restore();
        pass.gradient(&self.angle)[0] += Self::by_angle(gradient, &output);
        pass.give(output);
        Self::turn(-pass.parameter(&self.angle)[0], gradient);
        Ok(())
    }

    fn inverse_vjp(
        &self,
        pass: &mut Pass<'_, E>,
        gradient: &mut [E],
        _: &[E],
    ) -> flow_core::Result<()> {
        let output = pass.restore();
        pass.gradient(&self.angle)[0] -= Self::by_angle(gradient, &output);
        pass.give(output);
        Self::turn(pass.parameter(&self.angle)[0], gradient);
        Ok(())
    }
}

impl<E: Scalar> Component<E> for Turn {
    type Block = Self;
    type Arguments = (f64,);
    const FACTS: Facts = Facts::ISOMETRY;
    const INPUT: Option<flow_core::Shape> = Some(flow_core::Shape::vector(2));

    fn component(builder: &mut Builder<E>, _: Site, (angle,): (f64,)) -> flow_core::Result<Self> {
        Ok(Self { angle: builder.parameter("angle", &[1], Start::Constant(angle)) })
    }
}

/// `z = x·exp(s)`, one trained `s` for each feature, with dfdx's operations: no gradients by hand.
pub struct Stretch;

type Rows<E, T> = Tensor<(usize, Const<2>), E, <E as Scalar>::Device, T>;
type Numbers<E, T> = Tensor<(usize,), E, <E as Scalar>::Device, T>;

impl<E: Scalar> TensorBlock<E> for Stretch {
    type Event = Vector<2>;
    type Tensors = Tensor<Rank1<2>, E, E::Device>;

    fn tensors(&self, device: &E::Device) -> std::result::Result<Self::Tensors, CpuError> {
        device.try_zeros()
    }

    fn forward<T: Tape<E, E::Device>>(
        &self,
        s: &Self::Tensors,
        x: Rows<E, T>,
    ) -> flow_core::Result<(Rows<E, T>, Numbers<E, T>)> {
        let shape = *x.shape();
        let s = s.retaped::<T>().try_broadcast_like(&shape)?;
        let log_det = s.with_empty_tape().try_sum()?;
        Ok((x.try_mul(s.try_exp()?)?, log_det))
    }

    fn inverse<T: Tape<E, E::Device>>(
        &self,
        s: &Self::Tensors,
        z: Rows<E, T>,
    ) -> flow_core::Result<(Rows<E, T>, Numbers<E, T>)> {
        let shape = *z.shape();
        let s = s.retaped::<T>().try_negate()?.try_broadcast_like(&shape)?;
        let log_det = s.with_empty_tape().try_sum()?;
        Ok((z.try_mul(s.try_exp()?)?, log_det))
    }
}

impl<E: Scalar> Component<E> for Stretch {
    type Block = OnTape<Self, E>;
    type Arguments = ();
    const FACTS: Facts = Facts { analytic_inverse: true, ..Facts::UNKNOWN };

    fn component(builder: &mut Builder<E>, site: Site, _: ()) -> flow_core::Result<Self::Block> {
        OnTape::new(builder, site, Stretch)
    }
}

fn main() -> Result {
    let noise = Noise::seed(1);
    let rows = (0..20_000u64).map(|i| {
        let (a, b) = noise.normal_pair(i);
        [(a + 0.5 * b * b) as f32, (2.0 * b) as f32]
    });
    let (train, held_out) = flow_core::Rows::from_rows(rows)?.split(0.2, &mut Noise::seed(2))?;

    let mut flow = Mine::<f32>::build(&Cpu::default(), 0)?;
    println!("{}\n", flow.summary());
    Trainer::new(flow_core::train::Adam::new(3e-3)).steps(1_500).fit(&mut flow, &train)?;
    let found = evaluate(&flow, &held_out)?;
    let entropy = 2.0 * 0.5 * (std::f64::consts::TAU * std::f64::consts::E).ln() + 2f64.ln();
    println!(
        "held-out log-likelihood {:.3} ± {:.3} nats; the data's own is {:.3}",
        found.mean, found.standard_error, -entropy
    );
    Ok(())
}
