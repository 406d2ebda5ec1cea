//! Transposes.

use crate::Element;

/// Sides of the squares that are turned in one go.
const SIDE: usize = 8;

/// Writes the transpose of `rows` rows of `columns` numbers. Rows start so many numbers apart in `to`
/// and in `from`: `to[j · strides[0] + i] = from[i · strides[1] + j]`. What lies between them stays.
///
/// ```
/// let mut turned = [0.0; 4];
/// flow_kernels::transpose(&mut turned, &[1.0, 2.0, 9.0, 3.0, 4.0, 9.0], [2, 3], [2, 2]);
/// assert_eq!(turned, [1.0, 3.0, 2.0, 4.0]);
/// ```
///
/// # Panics
/// Where rows would overlap, or a side is too short.
pub fn transpose<E: Element>(to: &mut [E], from: &[E], strides: [usize; 2], sizes: [usize; 2]) {
    let [rows, columns] = sizes;
    if rows == 0 || columns == 0 {
        return;
    }
    let fits = |side: &[E], stride: usize, rows: usize, columns: usize| {
        columns <= stride && (rows - 1) * stride + columns <= side.len()
    };
    assert!(fits(from, strides[1], rows, columns), "{rows} rows of {columns} numbers to read");
    assert!(fits(to, strides[0], columns, rows), "{columns} rows of {rows} numbers to write");
    E::transpose(to, from, strides, sizes);
}

/// Squares by `turn`; the last ones reach back over what is done where the sides are not whole ones.
#[inline(always)]
pub(crate) fn run<E: Element>(
    to: &mut [E],
    from: &[E],
    [there, stride]: [usize; 2],
    [rows, columns]: [usize; 2],
    turn: impl Fn([[E; SIDE]; SIDE]) -> [[E; SIDE]; SIDE],
) {
    if rows < SIDE || columns < SIDE {
        for i in 0..rows {
            for j in 0..columns {
                to[j * there + i] = from[i * stride + j];
            }
        }
        return;
    }
    for i in (0..rows).step_by(SIDE).map(|i| i.min(rows - SIDE)) {
        for j in (0..columns).step_by(SIDE).map(|j| j.min(columns - SIDE)) {
            let mut square = [[E::default(); SIDE]; SIDE];
            for (k, line) in square.iter_mut().enumerate() {
                *line = *from[(i + k) * stride + j..].first_chunk().expect("a line");
            }
            for (k, line) in turn(square).into_iter().enumerate() {
                *to[(j + k) * there + i..].first_chunk_mut().expect("a line") = line;
            }
        }
    }
}

/// A square, number by number.
#[inline(always)]
pub(crate) fn turn<E: Element>(square: [[E; SIDE]; SIDE]) -> [[E; SIDE]; SIDE] {
    std::array::from_fn(|j| std::array::from_fn(|i| square[i][j]))
}

/// In single precision, a square in eight registers where there is AVX.
#[cfg(target_arch = "x86_64")]
pub(crate) fn run_singles(to: &mut [f32], from: &[f32], strides: [usize; 2], sizes: [usize; 2]) {
    let Some(simd) = pulp::x86::V3::try_new() else { return run(to, from, strides, sizes, turn) };
    simd.vectorize(
        #[inline(always)]
        || {
            run(
                to,
                from,
                strides,
                sizes,
                #[inline(always)]
                |square| turn_singles(simd, square),
            )
        },
    );
}

/// As [`turn`]: pairs of rows change places, then fours, then halves. Written out, since nothing but
/// plain loops and calls is compiled for AVX here.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn turn_singles(simd: pulp::x86::V3, square: [[f32; SIDE]; SIDE]) -> [[f32; SIDE]; SIDE] {
    let avx = simd.avx;
    macro_rules! both {
        ($low:ident, $high:ident, $a:expr, $b:expr) => {
            (avx.$low($a, $b), avx.$high($a, $b))
        };
    }
    macro_rules! halves {
        ($a:expr, $b:expr) => {
            (
                pulp::cast(avx._mm256_permute2f128_ps::<0x20>($a, $b)),
                pulp::cast(avx._mm256_permute2f128_ps::<0x31>($a, $b)),
            )
        };
    }
    macro_rules! fours {
        ($a:expr, $b:expr) => {
            (avx._mm256_shuffle_ps::<0x44>($a, $b), avx._mm256_shuffle_ps::<0xee>($a, $b))
        };
    }
    let [a, b, c, d, e, f, g, h] = square;
    let (a, b) = both!(_mm256_unpacklo_ps, _mm256_unpackhi_ps, pulp::cast(a), pulp::cast(b));
    let (c, d) = both!(_mm256_unpacklo_ps, _mm256_unpackhi_ps, pulp::cast(c), pulp::cast(d));
    let (e, f) = both!(_mm256_unpacklo_ps, _mm256_unpackhi_ps, pulp::cast(e), pulp::cast(f));
    let (g, h) = both!(_mm256_unpacklo_ps, _mm256_unpackhi_ps, pulp::cast(g), pulp::cast(h));
    let ((a, c), (b, d)) = (fours!(a, c), fours!(b, d));
    let ((e, g), (f, h)) = (fours!(e, g), fours!(f, h));
    let ((a, e), (b, f)) = (halves!(a, e), halves!(b, f));
    let ((c, g), (d, h)) = (halves!(c, g), halves!(d, h));
    [a, c, b, d, e, g, f, h]
}

/// In single precision.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn run_singles(to: &mut [f32], from: &[f32], strides: [usize; 2], sizes: [usize; 2]) {
    run(to, from, strides, sizes, turn);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns<E: Element>() {
        for (rows, columns, beside) in
            [(1, 1, 0), (8, 8, 0), (16, 24, 3), (7, 9, 1), (33, 21, 0), (3, 40, 5), (40, 3, 0)]
        {
            let stride = columns + beside;
            let from: Vec<E> = (0..rows * stride).map(|k| E::constant(k as f64)).collect();
            let (there, untouched) = (rows + 2 * beside, E::constant(-1.0));
            let mut to = vec![untouched; there * columns];
            // The last row may end where its numbers end.
            let whole = &from[..from.len() - beside];
            transpose(&mut to, whole, [there, stride], [rows, columns]);
            for (k, v) in to.into_iter().enumerate() {
                let (i, j) = (k % there, k / there);
                let want = if i < rows { from[i * stride + j] } else { untouched };
                assert_eq!(v, want, "{rows} × {columns}, {stride} and {there} apart: {k}");
            }
        }
    }

    #[test]
    fn each_number_finds_its_place() {
        turns::<f32>();
        turns::<f64>();
        transpose::<f32>(&mut [], &[], [0, 3], [0, 3]);
    }

    #[test]
    #[should_panic(expected = "3 rows of 2 numbers to read")]
    fn nothing_beyond_the_source_is_read() {
        transpose(&mut [0.0; 6], &[0.0; 7], [3, 3], [3, 2]);
    }

    #[test]
    #[should_panic(expected = "2 rows of 3 numbers to write")]
    fn nothing_beyond_the_target_is_written() {
        transpose(&mut [0.0; 6], &[0.0; 8], [4, 3], [3, 2]);
    }
}
