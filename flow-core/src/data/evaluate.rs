//! Bits per dimension of rows.

use dfdx::prelude::{Cpu, HasShape, Tensor};
use dfdx::tensor_ops::ReshapeTo;

use super::Bits;
use crate::train::{evaluate, Evaluation, Running};
use crate::{Architecture, Flow, FlowError, Noise, Result, Rows, Scalar};

/// Rows of a batch, so that images with the nets of two flows do not take much memory.
const BATCH: usize = 256;

/// How many bits a level takes under a model, on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BitsPerDimension {
    /// The mean over rows and dimensions; ∞ where a row lies outside the support.
    pub mean: f64,
    /// The standard error of the mean, over rows; NaN for a single row.
    pub standard_error: f64,
    /// How many rows that are.
    pub rows: usize,
}

impl Bits {
    /// Bits per dimension of levels under a flow of the scaled data, by uniform dequantisation
    /// with this noise: an upper bound of the discrete model's, on average.
    ///
    /// # Errors
    /// Those of [`evaluate`](crate::evaluate), or numbers that are not levels of these bits.
    pub fn evaluate<A: Architecture<E>, E: Scalar>(
        self,
        flow: &Flow<A, E, Cpu>,
        levels: &Rows<E>,
        noise: &Noise,
    ) -> Result<BitsPerDimension> {
        let found = evaluate(flow, &self.dequantize(levels, noise)?)?;
        Ok(self.converted(found, levels.width()))
    }

    /// Bits per dimension by any log-probability in nats of the scaled data, or lower bound of it,
    /// one number a row: such as that of [`bound`](Self::bound). It is asked for batches of 256
    /// rows of levels.
    ///
    /// # Errors
    /// Those of `log_prob`, and another number of numbers than rows.
    pub fn evaluate_with<E: Scalar>(
        self,
        levels: &Rows<E>,
        mut log_prob: impl FnMut(&Rows<E>) -> Result<Tensor<(usize,), E, Cpu>>,
    ) -> Result<BitsPerDimension> {
        self.check(levels.values(), levels.width())?;
        let (mut running, mut batch, mut numbers) = (Running::default(), Rows::default(), vec![]);
        for from in (0..levels.len()).step_by(BATCH) {
            batch.slice(levels, from, from + BATCH);
            let found = log_prob(&batch)?;
            let (found_rows, expected) = (found.shape().0, batch.len());
            if found_rows != expected {
                let what = "the list of log-probabilities".into();
                return Err(FlowError::Length { what, found: found_rows, expected });
            }
            numbers.resize(expected, E::zero());
            found.try_contiguous()?.copy_into(&mut numbers);
            numbers.iter().for_each(|value| running.add(value.as_f64()));
        }
        Ok(self.converted(running.finish(), levels.width()))
    }

    fn converted(self, nats: Evaluation, dimensions: usize) -> BitsPerDimension {
        let Evaluation { mean, standard_error, rows } = nats;
        BitsPerDimension {
            mean: self.per_dimension(mean, dimensions),
            standard_error: standard_error / (dimensions as f64 * std::f64::consts::LN_2),
            rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use dfdx::prelude::{BroadcastTo, TensorFrom};

    use super::*;

    #[test]
    fn one_number_for_all_rows_is_a_list_of_it() {
        let (cpu, bits) = (Cpu::default(), Bits::new(1).unwrap());
        let levels = Rows::new((0..300).map(|i| f64::from(i % 2)).collect(), 1).unwrap();
        let one =
            |rows: usize| cpu.tensor(-1.0).broadcast_like::<_, dfdx::prelude::Axis<0>>(&(rows,));
        let found = bits.evaluate_with(&levels, |batch| Ok(one(batch.len()))).unwrap();
        let listed = |batch: &Rows<f64>| Ok(cpu.tensor((vec![-1.0; batch.len()], (batch.len(),))));
        let want = bits.evaluate_with(&levels, listed).unwrap();
        assert_eq!((found.mean, found.rows), (want.mean, 300));
    }
}
