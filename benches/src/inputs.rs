//! Rows to run on.

use flow_core::prelude::*;

/// Rows of the plane, uniform on the black fields of a 4 × 4 checkerboard on [−4, 4]².
///
/// # Panics
/// Never: the rows are whole.
pub fn checkerboard(rows: usize, seed: u64) -> Rows<f32> {
    let noise = Noise::seed(seed);
    let row = |i: u64| {
        let x = 4.0 * noise.uniform(3 * i) - 2.0;
        let lower = if noise.uniform(3 * i + 2) < 0.5 { 2.0 } else { 0.0 };
        let y = noise.uniform(3 * i + 1) - lower + x.floor().rem_euclid(2.0);
        [2.0 * x as f32, 2.0 * y as f32]
    };
    Rows::from_rows((0..rows as u64).map(row)).expect("rows of two numbers")
}

/// Standard normal rows.
///
/// # Panics
/// Where `width` is 0.
pub fn normal(rows: usize, width: usize, seed: u64) -> Rows<f32> {
    let mut numbers = vec![0.0; rows * width];
    Noise::seed(seed).fill_normal(0, &mut numbers);
    Rows::new(numbers, width).expect("whole rows")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkerboard_has_eight_black_fields() {
        let rows = checkerboard(4000, 1);
        let mut fields = [[0; 4]; 4];
        for row in rows.values().chunks_exact(2) {
            let [x, y] = [row[0], row[1]].map(|v| ((v + 4.0) / 2.0) as usize);
            fields[x][y] += 1;
        }
        for (x, column) in fields.iter().enumerate() {
            for (y, &count) in column.iter().enumerate() {
                let black = (x + y) % 2 == 0;
                assert_eq!(count > 400, black, "{x} {y}: {count}");
                assert_eq!(count == 0, !black, "{x} {y}: {count}");
            }
        }
    }
}
