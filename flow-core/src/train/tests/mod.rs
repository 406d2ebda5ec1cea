//! Runs of a small flow.

use std::ops::ControlFlow;
use std::path::PathBuf;

use dfdx::prelude::{Cpu, MeanTo, Trace};

use super::*;
use crate::testing::Given;
use crate::{
    Architecture, Block, Buffer, BufferKind, Builder, Flow, FlowError, Item, Noise, Parameter,
    Pass, Result, Scalar, Start, Values, Vector, View,
};

mod failing;
mod learning;
mod resuming;

/// `y = x·exp(log_scale) + shift + weight·context`, with `log_scale` at most 2.
struct Affine {
    log_scale: Parameter,
    shift: Parameter,
    weight: Parameter,
    mark: Buffer,
}

const D: usize = 2;

impl Affine {
    fn new<E: Scalar>(b: &mut Builder<E>, context: usize) -> Self {
        Self {
            log_scale: b.parameter("log_scale", &[D], Start::Constant(0.0)),
            shift: b.parameter("shift", &[D], Start::Uniform(0.1)),
            weight: b.parameter("weight", &[D, context], Start::Constant(0.0)),
            mark: b.buffer("mark", &[1], BufferKind::Float, [E::zero()]),
        }
    }
}

impl<E: Scalar> Block<E> for Affine {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        let (scale, shift) = (pass.parameter(&self.log_scale), pass.parameter(&self.shift));
        let (weight, context) = (pass.parameter(&self.weight), pass.context());
        let input = pass.take_copy(x);
        pass.save_or_give(input);
        let c = weight.len() / D;
        for (row, (x, log_det)) in x.chunks_exact_mut(D).zip(log_det).enumerate() {
            for j in 0..D {
                x[j] = x[j] * scale[j].exp() + shift[j];
                for k in 0..c {
                    x[j] += weight[j * c + k] * context[row * c + k];
                }
                *log_det += scale[j];
            }
        }
        Ok(())
    }

    fn inverse(&self, _: &mut Pass<'_, E>, _: &mut [E], _: &mut [E]) -> Result<()> {
        Ok(())
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, g: &mut [E], by_log_det: &[E]) -> Result<()> {
        let x = pass.restore();
        let (scale, context) = (pass.parameter(&self.log_scale), pass.context());
        let c = self.weight.len() / D;
        for (row, g) in g.chunks_exact_mut(D).enumerate() {
            for j in 0..D {
                let by_scale = g[j] * x[row * D + j] * scale[j].exp() + by_log_det[row];
                let by = pass.gradient(&self.log_scale);
                by[j] += by_scale;
                let by = pass.gradient(&self.shift);
                by[j] += g[j];
                for k in 0..c {
                    let by = pass.gradient(&self.weight);
                    by[j * c + k] += g[j] * context[row * c + k];
                }
                g[j] *= scale[j].exp();
            }
        }
        pass.give(x);
        Ok(())
    }

    fn inverse_vjp(&self, _: &mut Pass<'_, E>, _: &mut [E], _: &[E]) -> Result<()> {
        Ok(())
    }

    fn project(&self, values: &mut Values<E>) {
        for value in values.parameter_mut(&self.log_scale) {
            *value = value.min(E::of(2.0));
        }
        let _ = values.buffer(&self.mark);
    }
}

struct Tiny<const C: usize>(Affine, Affine);

impl<E: Scalar, const C: usize> Block<E> for Tiny<C> {
    const COMPOSITE: bool = true;

    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        pass.forward(&self.0, x, log_det)?;
        pass.forward(&self.1, x, log_det)
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        pass.inverse(&self.1, z, log_det)?;
        pass.inverse(&self.0, z, log_det)
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, g: &mut [E], by_log_det: &[E]) -> Result<()> {
        pass.forward_vjp(&self.1, g, by_log_det)?;
        pass.forward_vjp(&self.0, g, by_log_det)
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, g: &mut [E], by_log_det: &[E]) -> Result<()> {
        pass.inverse_vjp(&self.0, g, by_log_det)?;
        pass.inverse_vjp(&self.1, g, by_log_det)
    }

    fn project(&self, values: &mut Values<E>) {
        Block::<E>::project(&self.0, values);
        Block::<E>::project(&self.1, values);
    }
}

impl<E: Scalar, const C: usize> Architecture<E> for Tiny<C>
where
    (): Given<C>,
{
    type Event = Vector<D>;
    type Latent = Vector<D>;
    type Context = <() as Given<C>>::Context;
    type Base = crate::base::Normal;
    type Double = Self;
    const NAME: &'static str = "Tiny";
    const ITEMS: &'static [Item] = &[];

    fn new(b: &mut Builder<E>) -> Result<Self> {
        let first = b.block("0", |b| Ok(Affine::new(b, C)))?;
        Ok(Self(first, b.block("1", |b| Ok(Affine::new(b, C)))?))
    }
}

type Plain = Flow<Tiny<0>, f64, Cpu>;

fn plain() -> Plain {
    Flow::build(&Cpu::default(), 1).unwrap()
}

/// Rows around (3, −1) with standard deviations 2 and 0.5.
fn data(rows: u64, seed: u64) -> Rows<f64> {
    let noise = Noise::seed(seed);
    let row = |i| [3.0 + 2.0 * noise.normal(2 * i), -1.0 + 0.5 * noise.normal(2 * i + 1)];
    Rows::from_rows((0..rows).map(row)).unwrap()
}

fn weights<A: Architecture<E>, E: Scalar>(flow: &Flow<A, E, Cpu>) -> Vec<E> {
    flow.machine().state().values.parameters.clone()
}

fn file(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("flow-{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn timeless(mut history: History) -> History {
    history.records.iter_mut().for_each(|record| record.seconds = 0.0);
    history
}

fn optimizers() -> Vec<Optimizer> {
    vec![
        Adam { weight_decay: 0.01, ..Adam::new(0.05) }.into(),
        AdamW::new(0.05).into(),
        Adamax::new(0.05).into(),
        Sgd::new(0.01).into(),
        Sgd { momentum: 0.9, nesterov: true, ..Sgd::new(0.005) }.into(),
    ]
}

/// A trainer in which everything that has a state takes part.
fn full(optimizer: Optimizer) -> Trainer {
    Trainer::new(optimizer)
        .schedule(Schedule::Exponential { factor: 0.7, every: 5 })
        .warm_up(3)
        .clip(Clip::Norm(0.9))
        .average(0.8)
        .patience(50)
        .validate_every(4)
        .on_divergence(OnDivergence::RollBack { factor: 0.5, most: 3 })
        .batch_size(16)
        .epochs(3)
        .seed(5)
        .silent()
}

fn data32() -> Result<Rows<f32>> {
    Rows::new(vec![1.0; 6], 2)
}

fn trainer_error<A: Architecture<E>, E: Scalar>(
    flow: &mut Flow<A, E, Cpu>,
    rows: &Rows<E>,
) -> FlowError {
    Trainer::default().silent().fit(flow, rows).unwrap_err()
}
