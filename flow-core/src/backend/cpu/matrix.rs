//! Matrix products on plain slices.
//!
//! The one file that calls the `gemm` crate, whose interface is raw pointers.
#![allow(unsafe_code)]

use std::ops::Range;

use gemm::Parallelism;

use crate::Scalar;

/// A matrix in a slice, by its strides.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, E> {
    data: &'a [E],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, E> Matrix<'a, E> {
    /// A row-major matrix that fills its slice.
    ///
    /// # Panics
    /// Where `data` does not hold `rows · columns` numbers.
    pub(crate) fn new(data: &'a [E], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "a {rows} × {columns} matrix");
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The transpose, without moving a number.
    pub(crate) fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Those rows and columns of it, without moving a number.
    ///
    /// # Panics
    /// Where it has fewer.
    pub(crate) fn part(self, rows: Range<usize>, columns: Range<usize>) -> Self {
        let inside = rows.end <= self.rows && columns.end <= self.columns;
        assert!(inside, "{rows:?} × {columns:?} of a {} × {} matrix", self.rows, self.columns);
        let start = rows.start * self.row_stride + columns.start * self.column_stride;
        Self {
            // An empty part may start where the slice ends.
            data: self.data.get(start..).unwrap_or_default(),
            rows: rows.len(),
            columns: columns.len(),
            ..self
        }
    }
}

/// Whether a product replaces what stands in its destination or is added to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    Replace,
    Add,
}

/// `out = a · b` or `out += a · b`, with `out` row-major, on the calling thread.
///
/// # Panics
/// Where the sizes do not fit.
pub(crate) fn multiply<E: Scalar>(out: &mut [E], into: Into, a: Matrix<'_, E>, b: Matrix<'_, E>) {
    assert_eq!(out.len(), a.rows * b.columns, "size of a product");
    multiply_part(out, b.columns, into, a, b);
}

/// As [`multiply`], where the rows of the product stand `stride` numbers apart in `out`, and what lies
/// between them stays.
///
/// # Panics
/// Where the sizes do not fit.
pub(crate) fn multiply_part<E: Scalar>(
    out: &mut [E],
    stride: usize,
    into: Into,
    a: Matrix<'_, E>,
    b: Matrix<'_, E>,
) {
    assert_eq!(a.columns, b.rows, "inner sizes of a product");
    if a.rows == 0 || b.columns == 0 {
        return;
    }
    let fits = b.columns <= stride && (a.rows - 1) * stride + b.columns <= out.len();
    assert!(fits, "a {} × {} product in {} numbers", a.rows, b.columns, out.len());
    if a.columns == 0 {
        if into == Into::Replace {
            out.chunks_mut(stride).take(a.rows).for_each(|row| row[..b.columns].fill(E::zero()));
        }
        return;
    }
    // SAFETY: `Matrix::new` checked that `rows · columns` numbers lie in each slice with row-major
    // strides, `t` only swaps them, and `part` moves the start to that of a rectangle inside, so
    // every `i · row_stride + j · column_stride` with i < rows and j < columns is in bounds; the
    // assertions above give all three operands the sizes passed here, none of them empty, and
    // `(a.rows − 1) · stride + b.columns` numbers of `out` exist, the last of the product. `out` is
    // borrowed mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            stride as isize,
            into == Into::Add,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            E::one(),
            E::one(),
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_three_loops() {
        for (m, n, k) in [(1, 1, 1), (3, 5, 2), (17, 4, 9), (2, 3, 0)] {
            let number = |i: usize| ((i * 37 + 11) % 23) as f64 - 11.0;
            let a: Vec<f64> = (0..m * k).map(number).collect();
            let b: Vec<f64> = (0..k * n).map(|i| number(i + 5)).collect();
            let mut want = vec![1.0; m * n];
            for i in 0..m {
                for j in 0..n {
                    want[i * n + j] += (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum::<f64>();
                }
            }
            let transposed: Vec<f64> =
                (0..n * k).map(|i| b[(i % k.max(1)) * n + i / k.max(1)]).collect();
            let (a, b) = (Matrix::new(&a, m, k), Matrix::new(&b, k, n));
            let mut got = vec![1.0; m * n];
            multiply(&mut got, Into::Add, a, b);
            assert_eq!(got, want);
            multiply(&mut got, Into::Replace, a, Matrix::new(&transposed, n, k).t());
            got.iter_mut().for_each(|v| *v += 1.0);
            assert_eq!(got, want);
        }
    }

    #[test]
    fn a_part_is_the_rectangle_it_names() {
        let numbers: Vec<f64> = (0..20).map(f64::from).collect();
        let whole = Matrix::new(&numbers, 4, 5);
        let unit = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        let (two, three) = (Matrix::new(&[1.0, 0.0, 0.0, 1.0], 2, 2), Matrix::new(&unit, 3, 3));
        let mut got = [0.0; 6];
        multiply(&mut got, Into::Replace, two, whole.part(1..3, 2..5));
        assert_eq!(got, [7.0, 8.0, 9.0, 12.0, 13.0, 14.0]);
        multiply(&mut got, Into::Replace, whole.part(1..3, 2..5).t(), two);
        assert_eq!(got, [7.0, 12.0, 8.0, 13.0, 9.0, 14.0]);
        multiply(&mut got, Into::Replace, whole.t().part(3..5, 1..4), three);
        assert_eq!(got, [8.0, 13.0, 18.0, 9.0, 14.0, 19.0]);
        multiply(&mut got, Into::Add, whole.part(4..4, 0..3).t(), whole.part(4..4, 3..5));
        assert_eq!(got, [8.0, 13.0, 18.0, 9.0, 14.0, 19.0], "an empty sum");
        multiply(&mut [], Into::Replace, whole.part(4..4, 5..5), whole.part(0..0, 0..3));
    }

    #[test]
    fn what_lies_beside_a_product_stays() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 0.0, 2.0]);
        let (a, b) = (Matrix::new(&a, 3, 2), Matrix::new(&b, 2, 2));
        let mut got = [9.0; 11];
        multiply_part(&mut got, 4, Into::Replace, a, b);
        assert_eq!(got, [1.0, 4.0, 9.0, 9.0, 3.0, 8.0, 9.0, 9.0, 5.0, 12.0, 9.0]);
        multiply_part(&mut got, 4, Into::Add, a, b);
        assert_eq!(got, [2.0, 8.0, 9.0, 9.0, 6.0, 16.0, 9.0, 9.0, 10.0, 24.0, 9.0]);
        let none = Matrix::new(&[], 3, 0);
        multiply_part(&mut got, 4, Into::Replace, none, Matrix::new(&[], 0, 2));
        assert_eq!(got, [0.0, 0.0, 9.0, 9.0, 0.0, 0.0, 9.0, 9.0, 0.0, 0.0, 9.0]);
    }

    #[test]
    #[should_panic(expected = "a 2 × 2 product in 5 numbers")]
    fn no_product_reaches_outside() {
        let unit = [1.0, 0.0, 0.0, 1.0];
        let unit = Matrix::new(&unit, 2, 2);
        multiply_part(&mut [0.0; 5], 4, Into::Replace, unit, unit);
    }

    #[test]
    #[should_panic(expected = "of a 4 × 5 matrix")]
    fn no_part_reaches_outside() {
        let numbers = [0.0; 20];
        let _ = Matrix::new(&numbers, 4, 5).part(2..5, 0..1);
    }
}
