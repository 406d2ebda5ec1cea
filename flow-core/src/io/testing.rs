//! A folder and small flows to write to it.

use std::path::PathBuf;

use crate::base::Normal;
use crate::{
    Architecture, Block, Buffer, BufferKind, Builder, Facts, Item, LogDet, Parameter, Pass, Result,
    Scalar, Shape, Start, Unconditional, Values, Vector,
};

/// An empty folder of that name.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("flow-core-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// `y = x·exp(log_scale)` after a permutation, once a flag is set.
pub(crate) struct Tiny<const D: usize> {
    log_scale: Parameter,
    permutation: Buffer,
    offset: Buffer,
    initialized: Buffer,
}

const fn item(input: usize) -> Item {
    let facts = Facts { log_det: LogDet::Constant, forward: 1.5, ..Facts::ISOMETRY };
    let shape = Shape::vector(input);
    Item { path: "0", text: "tiny", count: 1, input: shape, output: shape, facts }
}

impl<E: Scalar, const D: usize> Architecture<E> for Tiny<D> {
    type Event = Vector<D>;
    type Latent = Vector<D>;
    type Context = Unconditional;
    type Base = Normal;
    type Double = Self;
    const NAME: &'static str = "Tiny";
    const ITEMS: &'static [Item] = &[item(D)];

    fn new(b: &mut Builder<E>) -> Result<Self> {
        b.block("0", |b| {
            let order = (0..D).rev().map(|i| E::of(i as f64));
            Ok(Self {
                log_scale: b.parameter("log_scale", &[D], Start::Normal),
                permutation: b.buffer("permutation", &[D], BufferKind::Integer, order),
                offset: b.buffer("offset", &[1, D], BufferKind::Float, [E::of(0.1); D]),
                initialized: b.buffer("initialized", &[1], BufferKind::Integer, [E::zero()]),
            })
        })
    }
}

impl<E: Scalar, const D: usize> Block<E> for Tiny<D> {
    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], l: &mut [E]) -> Result<()> {
        let scale = pass.parameter(&self.log_scale);
        for (row, l) in x.chunks_exact_mut(D).zip(l) {
            row.iter_mut().zip(scale).for_each(|(v, &s)| *v *= s.exp());
            *l += scale.iter().copied().sum::<E>();
        }
        Ok(())
    }

    fn inverse(&self, _: &mut Pass<'_, E>, _: &mut [E], _: &mut [E]) -> Result<()> {
        Ok(())
    }

    fn forward_vjp(&self, _: &mut Pass<'_, E>, _: &mut [E], _: &[E]) -> Result<()> {
        Ok(())
    }

    fn inverse_vjp(&self, _: &mut Pass<'_, E>, _: &mut [E], _: &[E]) -> Result<()> {
        Ok(())
    }

    fn facts(&self) -> Facts {
        item(D).facts
    }

    /// Refuses what is no permutation, as a file may hold.
    fn prepare(&self, values: &Values<E>, _: &mut [E]) -> Result<()> {
        let reason = "the permutation names an entry twice".to_string();
        let mut order: Vec<_> = values.buffer(&self.permutation).to_vec();
        order.sort_by(|a, b| a.as_f64().total_cmp(&b.as_f64()));
        let _ = (values.buffer(&self.offset), values.buffer(&self.initialized));
        match order.windows(2).all(|pair| pair[0] < pair[1]) {
            true => Ok(()),
            false => Err(crate::FlowError::Block { block: "tiny", path: "0".into(), reason }),
        }
    }
}
