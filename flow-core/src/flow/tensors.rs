//! A flow's weights as dfdx's tensors.

use std::sync::PoisonError;

use dfdx::nn::tensor_collection::{ModuleVisitor, TensorCollection};
use dfdx::prelude::{Cpu, Device, Dtype, Tensor};

use super::Flow;
use crate::engine::{adds_to, answer, options, AddGradient, AfterStep, Flat, Mirror, Present};
use crate::{Architecture, Backend, Result, Scalar};

impl<A: Architecture<E>, E: Scalar, B: Backend> Flow<A, E, B> {
    /// Brings the mirror up to date, for whatever reads it without asking first.
    pub(crate) fn show(&mut self) {
        self.mirror.show(&self.machine.state().values);
    }

    pub(super) fn renew_mirror(&mut self) {
        let mut trainable: Vec<std::ops::Range<usize>> = Vec::new();
        let entries = self.machine.layout().parameters().zip(&self.frozen);
        for (entry, _) in entries.filter(|(entry, &frozen)| !frozen && !entry.range.is_empty()) {
            match trainable.last_mut() {
                Some(last) if last.end == entry.range.start => last.end = entry.range.end,
                _ => trainable.push(entry.range.clone()),
            }
        }
        self.mirror = Mirror::new(&self.machine.state().values, trainable);
    }

    /// The trainable parts of the flat parameter vector, in order.
    pub(crate) fn trainable(&self) -> &[std::ops::Range<usize>] {
        &self.mirror.trainable
    }

    /// A function that adds a gradient by all parameters to dfdx's.
    pub(crate) fn adds_to_weights(&self) -> AddGradient<E> {
        let (trainable, add) = (self.mirror.trainable.clone(), adds_to(&self.mirror.tensor));
        std::sync::Arc::new(move |gradients, all| {
            let parts = trainable.iter().flat_map(|range| &all[range.clone()]).copied();
            match trainable.is_empty() {
                true => Ok(()),
                false => add(gradients, &parts.collect::<Vec<E>>()),
            }
        })
    }
}

/// dfdx's optimisers see one tensor, the mirror of all trainable weights; what visits every tensor
/// sees a second one, with frozen weights and buffers. They are brought up to date when they are
/// reached for, and read back right after. (Rust cannot deduce `Cpu: Device<E>` from
/// `E: Scalar`, hence one for each.)
macro_rules! tensor_collection {
    ($E:ty) => {
        impl<A: Architecture<$E>> TensorCollection<$E, Cpu> for Flow<A, $E, Cpu> {
            type To<E2: Dtype, D2: Device<E2>> = ();

            fn iter_tensors<V: ModuleVisitor<Self, $E, Cpu>>(
                visitor: &mut V,
            ) -> Result<Option<()>, V::Err> {
                visitor.visit_fields(
                    (
                        Self::tensor(
                            "weights",
                            |flow| &flow.mirror.tensor,
                            Self::shown,
                            options(true),
                        ),
                        Self::tensor(
                            "kept",
                            |flow| &flow.mirror.kept,
                            |flow| &mut flow.mirror.kept,
                            options(false),
                        ),
                        Self::module("", |flow| &flow.after_step, Self::read_back),
                    ),
                    |_| (),
                )
            }
        }
    };
}

tensor_collection!(f32);
tensor_collection!(f64);

impl<A: Architecture<E>, E: Scalar> Flow<A, E, Cpu> {
    fn shown(&mut self) -> &mut Tensor<Flat, E, Cpu> {
        self.show();
        &mut self.mirror.tensor
    }

    fn read_back(&mut self) -> &mut AfterStep {
        answer(|| Present {
            watch: self.machine.watch().clone(),
            last_error: self.last_error.clone(),
        });
        let mirror = &self.mirror;
        let kept = match mirror.read_kept(&self.machine.state().values) {
            Some(values) => self.machine.change(|all| {
                *all = values;
                Ok(())
            }),
            None => Ok(()),
        };
        if let Err(error) = kept.and_then(|()| self.machine.step(|all| mirror.read(all))) {
            *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
        // The step may have brought weights back into their domain.
        self.show();
        &mut self.after_step
    }
}
