//! Rows of data with their contexts.

use dfdx::prelude::{Const, Cpu, HasShape, Shape, Tensor};
use dfdx::tensor_ops::ReshapeTo;

use crate::engine::{check, split, tensor};
use crate::{Event, FlowError, Noise, Result, Scalar};

/// Rows of finite numbers, each with its context where there is one: a data set in memory, or one
/// batch of a stream.
///
/// ```
/// use flow_core::prelude::*;
/// let data = Rows::from_rows([[0.5, 1.0], [2.0, -1.0], [0.0, 3.0]])?;
/// let data = data.given(vec![1.0, 2.0, 3.0], 1)?;
/// assert_eq!((data.len(), data.width(), data.context_width()), (3, 2, 1));
/// let (train, held_out) = data.split(0.34, &mut Noise::seed(0))?;
/// assert_eq!((train.len(), held_out.len()), (2, 1));
/// # Ok::<(), FlowError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows<E> {
    x: Vec<E>,
    width: usize,
    context: Vec<E>,
    context_width: usize,
}

impl<E: Scalar> Rows<E> {
    /// Rows of `width` numbers each; an image's are its channels, rows and columns.
    ///
    /// # Errors
    /// No rows, a last row that is cut off, or the first row with NaN or an infinity.
    pub fn new(x: Vec<E>, width: usize) -> Result<Self> {
        whole("data", &x, width)?;
        Ok(Self { x, width, context: Vec::new(), context_width: 0 })
    }

    /// Rows that are slices, arrays or vectors of one length.
    ///
    /// # Errors
    /// As [`new`](Self::new), and where a row has another length than the first.
    pub fn from_rows(rows: impl IntoIterator<Item = impl AsRef<[E]>>) -> Result<Self> {
        let mut x = Vec::new();
        let mut width = None;
        for (i, row) in rows.into_iter().enumerate() {
            let row = row.as_ref();
            let expected = *width.get_or_insert(row.len());
            if row.len() != expected {
                let what = format!("row {i} of the data");
                return Err(FlowError::Length { what, found: row.len(), expected });
            }
            x.extend_from_slice(row);
        }
        Self::new(x, width.unwrap_or(1))
    }

    /// The rows of a batch, which are its first dimension.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_tensor<S: Shape, T>(x: Tensor<S, E, Cpu, T>) -> Result<Self> {
        let (x, _) = split(x);
        let dimensions = x.shape().concrete();
        let width = dimensions.into_iter().skip(1).product();
        let mut numbers = vec![E::zero(); x.shape().num_elements()];
        x.try_contiguous()?.copy_into(&mut numbers);
        Self::new(numbers, width)
    }

    /// The same rows, each given `width` numbers of `context`: one context row for each row, or one
    /// for all.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`FlowError::ContextRows`].
    pub fn given(mut self, context: Vec<E>, width: usize) -> Result<Self> {
        whole("context", &context, width)?;
        self.context = match context.len() / width {
            count if count == self.len() => context,
            1 => context.repeat(self.len()),
            context_rows => {
                return Err(FlowError::ContextRows { rows: self.len(), context_rows });
            }
        };
        self.context_width = width;
        Ok(self)
    }

    /// The same rows, each given a row of `context`, or all of them its only one.
    ///
    /// ```
    /// use flow_core::prelude::*;
    /// let parameters = Rows::from_rows([[0.5, 1.0], [2.0, -1.0]])?;
    /// let observations = Rows::from_rows([[3.0], [4.0]])?;
    /// let data = parameters.given_rows(&observations)?;
    /// assert_eq!((data.context_width(), data.context_values()), (1, &[3.0, 4.0][..]));
    /// # Ok::<(), FlowError>(())
    /// ```
    ///
    /// # Errors
    /// As [`given`](Self::given). A context of the context is not looked at.
    pub fn given_rows(self, context: &Self) -> Result<Self> {
        self.given(context.x.clone(), context.width)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.x.len() / self.width.max(1)
    }

    /// Whether there are none: only before a first batch was read into it.
    pub fn is_empty(&self) -> bool {
        self.x.is_empty()
    }

    /// Numbers a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Numbers a context row, 0 where there is no context.
    pub fn context_width(&self) -> usize {
        self.context_width
    }

    /// All rows, one after the other.
    pub fn values(&self) -> &[E] {
        &self.x
    }

    /// The context of all rows, one after the other.
    pub fn context_values(&self) -> &[E] {
        &self.context
    }

    /// The rows as a tensor, of shape `(usize, Const<D>)` for `Vector<D>`.
    ///
    /// # Errors
    /// Where a row is of another size than the event.
    pub fn x<V: Event>(&self) -> Result<Tensor<V::Batch<usize>, E, Cpu>> {
        let expected = V::SHAPE.size();
        if self.width != expected {
            return Err(FlowError::Length { what: "a row".into(), found: self.width, expected });
        }
        tensor(self.x.clone(), V::batch(self.len()))
    }

    /// The context of the rows as a tensor.
    ///
    /// # Errors
    /// Where a context row has not `C` numbers.
    pub fn context<const C: usize>(&self) -> Result<Tensor<(usize, Const<C>), E, Cpu>> {
        if self.context_width != C {
            let what = "a context row".into();
            return Err(FlowError::Length { what, found: self.context_width, expected: C });
        }
        let shape = (self.len(), Const);
        tensor(self.context.clone(), shape)
    }

    /// Two parts at random, each in the order of the whole: the second holds the `fraction` of the
    /// rows that is to be held out, and at least one.
    ///
    /// # Errors
    /// A fraction that is not between 0 and 1, or fewer than two rows.
    pub fn split(self, fraction: f64, noise: &mut Noise) -> Result<(Self, Self)> {
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(FlowError::option("the held-out fraction", fraction, "between 0 and 1"));
        }
        let rows = self.len();
        if rows < 2 {
            return Err(FlowError::option("the number of rows to split", rows, "at least 2"));
        }
        let count = ((rows as f64 * fraction).round() as usize).clamp(1, rows - 1);
        let mut order = noise.split().permutation(rows);
        let (held_out, kept) = order.split_at_mut(count);
        held_out.sort_unstable();
        kept.sort_unstable();
        let mut parts = (Self::default(), Self::default());
        parts.0.gather(&self, kept);
        parts.1.gather(&self, held_out);
        Ok(parts)
    }

    /// Becomes the rows of `from` at these places.
    pub(super) fn gather(&mut self, from: &Self, places: &[usize]) {
        (self.width, self.context_width) = (from.width, from.context_width);
        self.x.clear();
        self.context.clear();
        for &i in places {
            self.x.extend_from_slice(&from.x[i * from.width..(i + 1) * from.width]);
            let width = from.context_width;
            self.context.extend_from_slice(&from.context[i * width..(i + 1) * width]);
        }
    }

    /// All rows, to change; they must stay finite.
    pub(crate) fn values_mut(&mut self) -> &mut [E] {
        &mut self.x
    }

    /// Becomes the rows `from..to` of another, less where that ends before.
    pub(crate) fn slice(&mut self, of: &Self, from: usize, to: usize) {
        let to = to.min(of.len());
        (self.width, self.context_width) = (of.width, of.context_width);
        self.x.clear();
        self.x.extend_from_slice(&of.x[from * of.width..to * of.width]);
        self.context.clear();
        let width = of.context_width;
        self.context.extend_from_slice(&of.context[from * width..to * width]);
    }
}

/// What a stream may yield: [`Rows`], a tensor, or a result of either.
pub trait IntoRows<E: Scalar> {
    /// The rows.
    ///
    /// # Errors
    /// Those of [`Rows::new`], or the one that is in its place.
    fn into_rows(self) -> Result<Rows<E>>;
}

impl<E: Scalar> IntoRows<E> for Rows<E> {
    fn into_rows(self) -> Result<Rows<E>> {
        Ok(self)
    }
}

impl<E: Scalar, S: Shape> IntoRows<E> for Tensor<S, E, Cpu> {
    fn into_rows(self) -> Result<Rows<E>> {
        Rows::from_tensor(self)
    }
}

impl<E: Scalar, R: IntoRows<E>> IntoRows<E> for Result<R> {
    fn into_rows(self) -> Result<Rows<E>> {
        self?.into_rows()
    }
}

fn whole<E: Scalar>(what: &str, numbers: &[E], width: usize) -> Result<()> {
    if width == 0 {
        return Err(FlowError::option(format!("the width of the {what}"), 0, "at least 1"));
    }
    check(numbers, what, width)?;
    if !numbers.len().is_multiple_of(width) {
        let what = format!("the last row of the {what}");
        return Err(FlowError::Length { what, found: numbers.len() % width, expected: width });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dfdx::prelude::{PermuteTo, TensorFrom};

    #[test]
    fn bad_rows_are_named() {
        let bad = Rows::new(vec![1.0, 2.0, 3.0, f64::NAN], 2);
        let error = bad.unwrap_err().to_string();
        assert!(error.starts_with("row 1 of the data holds NaN in entry 1"), "{error}");
        let empty = Rows::<f32>::new(vec![], 2).unwrap_err();
        assert_eq!(empty, FlowError::EmptyBatch { what: "data".into() });
        let cut = Rows::new(vec![1.0_f32; 5], 2).unwrap_err();
        assert_eq!(
            cut,
            FlowError::Length { what: "the last row of the data".into(), found: 1, expected: 2 }
        );
        let ragged = Rows::from_rows([vec![1.0, 2.0], vec![1.0]]).unwrap_err();
        let what = "row 1 of the data".to_string();
        assert_eq!(ragged, FlowError::Length { what, found: 1, expected: 2 });
        assert!(Rows::new(vec![1.0_f32], 0).is_err());
        assert!(Rows::<f32>::from_rows([[0.0; 0]]).is_err());
    }

    #[test]
    fn contexts_are_one_for_all_or_one_for_each() {
        let rows = || Rows::new(vec![1.0, 2.0, 3.0], 1).unwrap();
        let one = rows().given(vec![7.0, 8.0], 2).unwrap();
        assert_eq!(one.context_values(), [7.0, 8.0, 7.0, 8.0, 7.0, 8.0]);
        let each = rows().given(vec![7.0, 8.0, 9.0], 1).unwrap();
        assert_eq!(each.context_values(), [7.0, 8.0, 9.0]);
        let two = rows().given(vec![7.0, 8.0], 1).unwrap_err();
        assert_eq!(two, FlowError::ContextRows { rows: 3, context_rows: 2 });
        let error = rows().given(vec![0.0, f64::INFINITY, 0.0], 1).unwrap_err().to_string();
        assert!(error.starts_with("row 1 of the context holds inf"), "{error}");
    }

    #[test]
    fn tensors_are_read_row_by_row_whatever_their_strides() {
        let cpu = Cpu::default();
        let x = cpu.tensor([[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        let rows = Rows::from_tensor(x.permute::<dfdx::prelude::Rank2<3, 2>, _>()).unwrap();
        assert_eq!((rows.len(), rows.width()), (3, 2));
        assert_eq!(rows.values(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(rows.x::<crate::Vector<2>>().unwrap().as_vec(), rows.values());
        assert!(rows.x::<crate::Vector<3>>().is_err());
        assert!(rows.context::<1>().is_err());
    }

    #[test]
    fn a_split_loses_no_row_and_keeps_contexts_with_their_rows() {
        let x: Vec<f64> = (0..101).map(f64::from).collect();
        let context = x.iter().map(|v| 2.0 * v).collect();
        let rows = Rows::new(x.clone(), 1).unwrap().given(context, 1).unwrap();
        let (train, held_out) = rows.clone().split(0.2, &mut Noise::seed(1)).unwrap();
        assert_eq!(held_out.len(), 20);
        assert_ne!(held_out.values(), &x[..20]);
        let mut all = [train.values(), held_out.values()].concat();
        all.sort_by(f64::total_cmp);
        assert_eq!(all, x);
        for part in [&train, &held_out] {
            assert!(part.values().iter().zip(part.context_values()).all(|(x, c)| 2.0 * x == *c));
        }
        assert_eq!(rows.clone().split(1e-9, &mut Noise::seed(1)).unwrap().1.len(), 1);
        assert!(rows.split(1.0, &mut Noise::seed(1)).is_err());
        assert!(Rows::new(vec![1.0], 1).unwrap().split(0.5, &mut Noise::seed(1)).is_err());
    }
}
