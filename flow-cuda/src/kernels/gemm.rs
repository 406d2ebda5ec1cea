//! A recorded product as BLAS does one, for cards that have cuBLAS.

use super::product::{Function, ADDS, PRODUCTS};
use super::{apart, PRODUCT};
use crate::{Kernel, Launch, Op};

/// The function and what else stands beside a product, in place.
const FINISH: Kernel = apart(PRODUCT, "finish_product");

/// Multiplications from which on a product is cuBLAS's: below, the tiles here do the rest of the work
/// in the same kernel, and a launch takes as long as a product.
const LEAST: i64 = 1 << 24;

/// Sides from which on.
const SIDE: i32 = 32;

/// `C = A·B` or `C += A·B` for matrices in columns, as BLAS has them: a row-major product with its
/// factors, sides and transposes turned around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Gemm {
    /// Rows of C, columns of C and the inner side.
    pub(crate) sides: [i32; 3],
    /// Whether A and B are read as transposes.
    pub(crate) turned: [bool; 2],
    /// From column to column of A and B as they lie in memory.
    pub(crate) leading: [i32; 2],
    /// Whether it is added to C.
    pub(crate) adds: bool,
    /// A, B and C among the operands of the op.
    pub(crate) at: [usize; 3],
}

impl Gemm {
    /// A product that is large enough, with the kernel for what stands beside it, which takes the
    /// same operands.
    pub(crate) fn of(op: &Op) -> Option<(Self, Option<(Kernel, Launch)>)> {
        if !PRODUCTS.contains(&op.kernel.name) || op.launch.grid[2] > 1 {
            return None;
        }
        let &[m, n, k, left_row, left_column, right_row, right_column, function, flags, _] =
            &op.sizes[..]
        else {
            return None;
        };
        let sides = [n, m, k];
        let large = sides.iter().all(|&side| side >= SIDE)
            && sides.iter().map(|&side| i64::from(side)).product::<i64>() >= LEAST;
        if !large {
            return None;
        }
        // What lies in rows is the transpose of what lies in columns.
        let read = |row: i32, column: i32| match (row, column) {
            (row, 1) => Some((false, row)),
            (1, column) => Some((true, column)),
            _ => None,
        };
        let (a_turned, a) = read(right_row, right_column)?;
        let (b_turned, b) = read(left_row, left_column)?;
        let adds = flags & ADDS != 0;
        let gemm =
            Self { sides, turned: [a_turned, b_turned], leading: [a, b], adds, at: [1, 0, 2] };
        let plain = function == 0 && flags & !ADDS == 0;
        if adds && !plain {
            return None;
        }
        let finish = (FINISH, Launch::of(m as usize * n as usize));
        Some((gemm, (!plain).then_some(finish)))
    }
}

/// What stands beside a product where cuBLASLt does that in the same kernel: a bias for each column of the
/// row-major product, which is a row of BLAS's, and nothing else or a rectifier. It has no function that
/// writes its slopes, and its GELU is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fused {
    /// The bias.
    Bias,
    /// The bias, then the larger of that and zero.
    BiasRelu,
}

impl Fused {
    /// The bias among the operands of an op.
    pub(crate) const BIAS: usize = 3;

    /// What stands beside a product that [`Gemm::of`] takes.
    pub(crate) fn of(op: &Op) -> Option<Self> {
        let &[.., function, flags, _] = &op.sizes[..] else { return None };
        // A bias by column, no slopes, no factor, nothing that it is added to.
        if flags != 1 {
            return None;
        }
        match function {
            _ if function == Function::Identity as i32 => Some(Self::Bias),
            _ if function == Function::Relu as i32 => Some(Self::BiasRelu),
            _ => None,
        }
    }
}

#[cfg(all(test, feature = "emulation"))]
mod tests {
    use super::*;
    use crate::kernels::product::{add_into, product, Epilogue, Function, Matrix};
    use crate::{Area, Device, Emulated, Recording, Slot};

    /// What BLAS says that it does.
    fn multiply(gemm: &Gemm, a: &[f32], b: &[f32], c: &mut [f32]) {
        let [rows, columns, inner] = gemm.sides.map(|side| side as usize);
        let [lda, ldb] = gemm.leading.map(|leading| leading as usize);
        let a = |i: usize, l: usize| a[if gemm.turned[0] { i * lda + l } else { l * lda + i }];
        let b = |l: usize, j: usize| b[if gemm.turned[1] { l * ldb + j } else { j * ldb + l }];
        for j in 0..columns {
            for i in 0..rows {
                let sum: f32 = (0..inner).map(|l| a(i, l) * b(l, j)).sum();
                let before = if gemm.adds { c[j * rows + i] } else { 0.0 };
                c[j * rows + i] = before + sum;
            }
        }
    }

    fn numbers(len: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + 13) % 251) as f32 / 251.0 - 0.5).collect()
    }

    #[test]
    fn products_of_blas_are_those_of_the_tiles() {
        let Ok(device) = Emulated::new() else { return };
        let (m, n, k) = (300, 260, 216);
        for (turned, adds) in [(1, true), (2, false)] {
            let mut recording = Recording::new();
            let [x, y, bias, factor, out, slopes] =
                [m * k, k * n, n, m * n, m * n, m * n].map(|len| recording.frame(len));
            let left = match turned & 1 {
                0 => Matrix::new(x, m, k),
                _ => Matrix::new(x, k, m).t(),
            };
            let right = match turned & 2 {
                0 => Matrix::new(y, k, n),
                _ => Matrix::new(y, n, k).t(),
            };
            let op = if adds {
                add_into(out, left, right)
            } else {
                let function = Some(Function::Swish);
                let (bias, factor, slopes) = (Some(bias), Some(factor), Some(slopes));
                let beside = Epilogue { bias, function, slopes, factor, ..Epilogue::default() };
                product(out, left, right, beside)
            };
            let plan = recording.finish(vec![vec![op.clone()]]);
            let mut frame = device.memory(plan.frame_len()).unwrap();
            for slot in [x, y, bias, factor, out] {
                device.write(&mut frame, slot.offset, &numbers(slot.len)).unwrap();
            }
            let get = |frame: &_, slot: Slot| {
                let mut found = vec![0.0; slot.len];
                device.read(frame, slot.offset, &mut found).unwrap();
                found
            };
            let run = |frame: &_, op: &Op| {
                let mut memory = |area| (area == Area::Frame).then_some(frame);
                device.run(std::slice::from_ref(op), &mut memory, &Vec::new()).unwrap();
            };
            let (gemm, finish) = Gemm::of(&op).expect("a large product");
            let mut c = get(&frame, out);
            multiply(&gemm, &get(&frame, op.slots[1]), &get(&frame, op.slots[0]), &mut c);
            run(&frame, &op);
            let want = [get(&frame, out), get(&frame, slopes)];
            device.write(&mut frame, out.offset, &c).unwrap();
            device.write(&mut frame, slopes.offset, &vec![1e30; slopes.len]).unwrap();
            assert_eq!(finish.is_some(), !adds);
            if let Some((kernel, launch)) = finish {
                run(&frame, &Op { kernel, launch, ..op.clone() });
                assert_close(&get(&frame, slopes), &want[1]);
            }
            assert_close(&get(&frame, out), &want[0]);
        }
    }

    #[test]
    fn what_cublaslt_does_beside_a_product_is_what_the_tiles_do() {
        let Ok(device) = Emulated::new() else { return };
        let (m, n, k) = (290, 260, 230);
        for (function, fused) in [
            (None, Some(Fused::Bias)),
            (Some(Function::Relu), Some(Fused::BiasRelu)),
            (Some(Function::Swish), None),
            (Some(Function::Gelu), None),
        ] {
            let mut recording = Recording::new();
            let [x, y, bias, out, slopes] =
                [m * k, k * n, n.max(m), m * n, m * n].map(|len| recording.frame(len));
            let (left, right) = (Matrix::new(x, m, k), Matrix::new(y, n, k).t());
            let beside = Epilogue { bias: Some(bias), function, ..Epilogue::default() };
            let op = product(out, left, right, beside);
            assert_eq!(Fused::of(&op), fused);
            let none = Epilogue { function, ..Epilogue::default() };
            let by_row = Epilogue { bias_by_row: Some(bias), ..none };
            for other in [
                none,
                by_row,
                Epilogue { slopes: Some(slopes), ..beside },
                Epilogue { factor: Some(slopes), ..beside },
            ] {
                assert_eq!(Fused::of(&product(out, left, right, other)), None);
            }
            assert_eq!(Fused::of(&add_into(out, left, right)), None);
            let Some(fused) = fused else { continue };

            let plan = recording.finish(vec![vec![op.clone()]]);
            let mut frame = device.memory(plan.frame_len()).unwrap();
            for slot in [x, y, bias] {
                device.write(&mut frame, slot.offset, &numbers(slot.len)).unwrap();
            }
            let ops = std::slice::from_ref(&op);
            device
                .run(ops, &mut |area| (area == Area::Frame).then_some(&frame), &Vec::new())
                .unwrap();
            let get = |slot: Slot| {
                let mut found = vec![0.0; slot.len];
                device.read(&frame, slot.offset, &mut found).unwrap();
                found
            };
            let (gemm, _) = Gemm::of(&op).expect("a large product");
            let mut c = vec![0.0; m * n];
            multiply(&gemm, &get(op.slots[1]), &get(op.slots[0]), &mut c);
            // As cuBLASLt has it: the bias by row of a matrix in columns.
            let bias = get(op.slots[Fused::BIAS]);
            for (at, v) in c.iter_mut().enumerate() {
                *v += bias[at % gemm.sides[0] as usize];
                if fused == Fused::BiasRelu {
                    *v = v.max(0.0);
                }
            }
            assert_close(&c, &get(out));
        }
    }

    fn assert_close(found: &[f32], want: &[f32]) {
        let off = found.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-4, "off by {off}");
    }

    #[test]
    fn small_products_and_parts_of_sums_stay_with_the_tiles() {
        let mut recording = Recording::new();
        let [x, out] = [1 << 20, 1 << 20].map(|len| recording.frame(len));
        let square = |side| Matrix::new(x, side, side);
        let op = |side| product(out, square(side), square(side), Epilogue::default());
        assert!(Gemm::of(&op(128)).is_none());
        assert!(Gemm::of(&op(256)).is_some());
        let mut split = op(256);
        split.launch.grid[2] = 2;
        assert!(Gemm::of(&split).is_none());
    }
}
