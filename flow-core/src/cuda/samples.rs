//! Samples of a flow on a device.

use dfdx::prelude::{Const, Cpu, Dim, Tensor};
use flow_cuda::kernels::noise::stream as noise_stream;
use flow_cuda::Device;

use super::flow::OnDevice;
use super::plans::{Drawn, Recorded, PASS};
use super::tape::{Batch, Row};
use crate::engine::{ordered, read, tensor, Direction};
use crate::room::room_for_samples;
use crate::{Architecture, Event, Invertible, Noise, Result, Unconditional, Vector};

impl<A: Architecture<f32>, D: Device> OnDevice<A, D> {
    /// `rows` samples: those that the flow gives on the CPU with the same noise, but for rounding.
    ///
    /// # Errors
    /// Where `rows` is 0, or more than fit in memory or kernels can count, or as
    /// [`inverse`](Self::inverse).
    pub fn sample(&self, rows: usize, noise: &mut Noise) -> Result<Batch<A::Event, usize>>
    where
        A: Architecture<f32, Context = Unconditional> + Invertible,
    {
        let (x, _) = self.draw(rows, &[], noise)?;
        tensor(x, A::Event::batch(rows))
    }

    /// `rows` samples and their log-probabilities.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub fn sample_with_log_prob(
        &self,
        rows: usize,
        noise: &mut Noise,
    ) -> Result<(Batch<A::Event, usize>, Row<usize>)>
    where
        A: Architecture<f32, Context = Unconditional> + Invertible,
    {
        let (x, log_prob) = self.draw(rows, &[], noise)?;
        Ok((tensor(x, A::Event::batch(rows))?, tensor(log_prob, (rows,))?))
    }

    /// A sample of a conditional flow for each row of `context`, of shape `(rows, C)`, and their
    /// log-probabilities: what [`View::sample_with_log_prob`](crate::NormalizingFlow::sample_with_log_prob)
    /// gives on the CPU with the same noise, but for rounding.
    ///
    /// ```
    /// use dfdx::prelude::*;
    /// use flow_core::cuda::Device;
    /// use flow_core::prelude::*;
    ///
    /// flow! {
    ///     struct Posterior: Vector<2> given Vector<3> {
    ///         affine_coupling(net = mlp([8], relu));
    ///         affine_coupling(net = mlp([8], relu));
    ///     }
    /// }
    ///
    /// /// 1,000 samples under one observation, which stands in each of 1,000 rows.
    /// fn draw(gpu: impl Device + 'static) -> Result<(), FlowError> {
    ///     let cpu = dfdx::prelude::Cpu::default();
    ///     let on_gpu = Posterior::<f32>::build(&cpu, 0)?.on(gpu)?;
    ///     let observed = cpu.tensor([0.5, -1.0, 2.0]);
    ///     let context = observed.broadcast_like(&(1_000, Const::<3>));
    ///     let (theta, log_prob) = on_gpu.sample_given(context, &mut Noise::seed(1))?;
    ///     assert_eq!(theta.shape(), &(1_000, Const::<2>));
    ///     assert_eq!(log_prob.shape(), &(1_000,));
    ///     Ok(())
    /// }
    /// # #[cfg(feature = "cuda-emulation")]
    /// # if let Ok(gpu) = flow_core::cuda::Emulated::new() {
    /// #     draw(gpu)?;
    /// # }
    /// # Ok::<(), FlowError>(())
    /// ```
    ///
    /// # Errors
    /// A context without rows, or with a number that is not finite, and as
    /// [`inverse_given`](Self::inverse_given).
    pub fn sample_given<const C: usize, M: Dim>(
        &self,
        context: Tensor<(M, Const<C>), f32, Cpu>,
        noise: &mut Noise,
    ) -> Result<(Batch<A::Event, usize>, Row<usize>)>
    where
        A: Architecture<f32, Context = Vector<C>> + Invertible,
    {
        let (context, _) = ordered(context)?;
        let context = read(context, "context", C)?;
        let rows = context.len() / C;
        let (x, log_prob) = self.draw(rows, &context, noise)?;
        Ok((tensor(x, A::Event::batch(rows))?, tensor(log_prob, (rows,))?))
    }

    /// Samples of the base brought through the inverse, with their log-probabilities.
    fn draw(
        &self,
        rows: usize,
        context: &[f32],
        noise: &mut Noise,
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        room_for_samples::<f32>(rows, A::Event::SHAPE.size())?;
        let noise = noise.split();
        self.with(Direction::Inverse, rows, (false, true), |store, key| {
            let Recorded { output, places, drawn, .. } = *store.recorded(key)?;
            let mut log_prob = vec![0.0; rows];
            if let Some(Drawn { stream, .. }) = drawn {
                store.write(key, stream, &noise_stream(noise.key(), 0))?;
                store.write(key, places.context.slot, context)?;
            } else {
                let z = self.machine.sample_base(rows, &noise, 1.0, Some(&mut log_prob));
                store.start(key, &z, context)?;
            }
            store.run(key, &[PASS])?;
            if let Some(Drawn { log_prob: slot, .. }) = drawn {
                log_prob = store.read(key, slot)?;
            }
            let log_det = store.read(key, places.log_det)?;
            log_prob.iter_mut().zip(log_det).for_each(|(p, l)| *p -= l);
            Ok((store.read(key, output)?, log_prob))
        })
    }
}
