//! Matrix products on plain slices.
//!
//! The one file that calls the `gemm` crate, whose interface is raw pointers.
#![allow(unsafe_code)]

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
    assert_eq!(a.columns, b.rows, "inner sizes of a product");
    assert_eq!(out.len(), a.rows * b.columns, "size of a product");
    if out.is_empty() {
        return;
    }
    if a.columns == 0 {
        if into == Into::Replace {
            out.fill(E::zero());
        }
        return;
    }
    // SAFETY: `Matrix::new` checked that `rows · columns` numbers lie in each slice with row-major
    // strides, and `t` only swaps them, so every `i · row_stride + j · column_stride` with i < rows
    // and j < columns is in bounds; the assertions above give all three operands the sizes passed
    // here. `out` is borrowed mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            b.columns as isize,
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
}
