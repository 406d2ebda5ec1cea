//! Where batches come from.

use super::{IntoRows, Rows};
use crate::{FlowError, Noise, Result, Scalar};

/// A source of batches: [`Rows`] in memory, which are shuffled anew in each epoch, or any iterator
/// of [`IntoRows`] (`Rows`, tensors, results of them), which is one epoch.
///
/// ```
/// use flow_core::prelude::*;
/// use flow_core::train::Place;
/// let rows = Rows::<f64>::from_rows([[1.0], [2.0], [3.0]])?;
/// let (mut place, mut batch) = (Place::new(7, 2), Rows::default());
/// assert!((&rows).read(&mut place, &mut batch)?);
/// assert_eq!(batch.len(), 2);
/// # Ok::<(), FlowError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` gives no batches of `{E}`, which the flow computes with",
    label = "neither `Rows<{E}>` nor an iterator of such",
    note = "`Rows` and flow have numbers of one type: `table.to_rows::<f32>()`, `Name::<f32>::build(…)`"
)]
pub trait Batches<E: Scalar> {
    /// Writes the batch at `place` over `batch`, whose memory can be used again; `false` where the
    /// epoch has no such batch.
    ///
    /// # Errors
    /// Whatever the source runs into.
    fn read(&mut self, place: &mut Place, batch: &mut Rows<E>) -> Result<bool>;

    /// Batches of an epoch. `None` where that is not known: such a source has only one epoch.
    fn per_epoch(&self, batch_size: usize) -> Option<u64> {
        let _ = batch_size;
        None
    }

    /// Called once where a run goes on from a checkpoint: brings the source to `place`.
    ///
    /// # Errors
    /// Where the source cannot get there.
    fn catch_up(&mut self, place: &Place) -> Result<()> {
        let _ = place;
        Ok(())
    }

    /// Rows that are never trained on.
    fn held_out(&self) -> Option<&Rows<E>> {
        None
    }

    /// The same batches, validated on `held_out`.
    fn validated_by(self, held_out: Rows<E>) -> Validated<Self, E>
    where
        Self: Sized,
    {
        Validated { batches: self, held_out }
    }
}

/// Where a run stands in its data.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// Batches of this epoch that were used.
    pub batch: u64,
    /// Rows a batch.
    pub batch_size: usize,
    noise: Noise,
    order: Vec<usize>,
    ordered: Option<u64>,
}

impl Place {
    /// The beginning, with the shuffling of `seed`.
    pub fn new(seed: u64, batch_size: usize) -> Self {
        let noise = Noise::seed(seed).named("shuffle");
        Self { epoch: 0, batch: 0, batch_size, noise, order: Vec::new(), ordered: None }
    }

    /// Which of `rows` rows the batch at this place holds, in the random order of its epoch: less
    /// than a whole batch at the end, none beyond it.
    pub fn choose(&mut self, rows: usize) -> &[usize] {
        if self.ordered != Some(self.epoch) || self.order.len() != rows {
            self.order = self.noise.named(&self.epoch.to_string()).permutation(rows);
            self.ordered = Some(self.epoch);
        }
        let size = self.batch_size as u64;
        let from = self.batch.saturating_mul(size).min(rows as u64) as usize;
        let to = from.saturating_add(self.batch_size).min(rows);
        &self.order[from..to]
    }
}

impl<E: Scalar> Batches<E> for &Rows<E> {
    fn read(&mut self, place: &mut Place, batch: &mut Rows<E>) -> Result<bool> {
        batch.gather(self, place.choose(self.len()));
        Ok(!batch.is_empty())
    }

    fn per_epoch(&self, batch_size: usize) -> Option<u64> {
        Some(self.len().div_ceil(batch_size.max(1)) as u64)
    }
}

impl<E: Scalar> Batches<E> for Rows<E> {
    fn read(&mut self, place: &mut Place, batch: &mut Rows<E>) -> Result<bool> {
        (&*self).read(place, batch)
    }

    fn per_epoch(&self, batch_size: usize) -> Option<u64> {
        (&self).per_epoch(batch_size)
    }
}

#[diagnostic::do_not_recommend]
impl<E: Scalar, I> Batches<E> for I
where
    I: Iterator,
    I::Item: IntoRows<E>,
{
    fn read(&mut self, _: &mut Place, batch: &mut Rows<E>) -> Result<bool> {
        let Some(next) = self.next() else {
            return Ok(false);
        };
        *batch = next.into_rows()?;
        Ok(true)
    }

    fn catch_up(&mut self, place: &Place) -> Result<()> {
        for read in 0..place.batch {
            if self.next().is_none() {
                return Err(FlowError::option(
                    "the number of batches in the stream",
                    read,
                    format!("at least the {} that the interrupted run had read", place.batch),
                ));
            }
        }
        Ok(())
    }
}

/// Batches with held-out rows: made by [`Batches::validated_by`].
#[derive(Clone, Debug)]
pub struct Validated<B, E> {
    batches: B,
    held_out: Rows<E>,
}

impl<E: Scalar, B: Batches<E>> Batches<E> for Validated<B, E> {
    fn read(&mut self, place: &mut Place, batch: &mut Rows<E>) -> Result<bool> {
        self.batches.read(place, batch)
    }

    fn per_epoch(&self, batch_size: usize) -> Option<u64> {
        self.batches.per_epoch(batch_size)
    }

    fn catch_up(&mut self, place: &Place) -> Result<()> {
        self.batches.catch_up(place)
    }

    fn held_out(&self) -> Option<&Rows<E>> {
        Some(&self.held_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(rows: &Rows<f64>, place: &mut Place) -> Vec<Vec<f64>> {
        let mut batch = Rows::default();
        let mut read = Vec::new();
        place.batch = 0;
        while { rows }.read(place, &mut batch).unwrap() {
            assert_eq!(batch.context_values(), batch.values());
            read.push(batch.values().to_vec());
            place.batch += 1;
        }
        read
    }

    #[test]
    fn an_epoch_holds_every_row_once_in_an_order_of_its_own() {
        for size in [1, 3, 10, 11, 64] {
            let x: Vec<f64> = (0..10).map(f64::from).collect();
            let rows = Rows::new(x.clone(), 1).unwrap().given(x.clone(), 1).unwrap();
            let mut place = Place::new(4, size);
            let first = epoch(&rows, &mut place);
            assert_eq!(Some(first.len() as u64), rows.per_epoch(size));
            assert_eq!(first[0].len(), size.min(10));
            place.epoch = 1;
            let second = epoch(&rows, &mut place);
            assert_ne!(first, second);
            let mut sorted = first.concat();
            sorted.sort_by(f64::total_cmp);
            assert_eq!(sorted, x);
            place.epoch = 0;
            assert_eq!(epoch(&rows, &mut place), first);
        }
    }

    #[test]
    fn streams_take_rows_results_and_tensors_and_say_where_they_end() {
        use dfdx::prelude::{Cpu, TensorFrom};
        let mut place = Place::new(0, 1);
        let mut batch = Rows::<f32>::default();
        let row = Rows::<f32>::new(vec![1.0, 2.0], 2).unwrap();
        assert!([row.clone()].into_iter().read(&mut place, &mut batch).unwrap());
        let tensor = Cpu::default().tensor([[3.0_f32, 4.0]]);
        assert!([tensor].into_iter().read(&mut place, &mut batch).unwrap());
        assert_eq!(batch.values(), [3.0, 4.0]);
        let bad = Rows::<f32>::new(vec![f32::NAN], 1);
        assert!([bad].into_iter().read(&mut place, &mut batch).is_err());
        place.batch = 2;
        let error = [row].into_iter().catch_up(&place).unwrap_err().to_string();
        assert!(error.contains("stream is 1, expected at least the 2"), "{error}");
    }
}
