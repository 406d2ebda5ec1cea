use flow_cuda::kernels::contraction::{
    contract, count_open, memory, Contraction, Iteration, KNOWN, STATUS,
};
use flow_cuda::kernels::product::{product, Epilogue, Function, Matrix};
use flow_cuda::kernels::rows::{fill, scaled_copy};
use flow_cuda::Op;

use super::{numbers, wide, Trial};

const C: f64 = 0.7;

/// What ends an iteration in f32, as in flow-core.
fn contraction() -> Contraction {
    let epsilon = f64::from(f32::EPSILON);
    Contraction {
        coefficient: C,
        tolerance: 1e-6,
        unit: 1.0,
        floor: 4.0 * epsilon / (1.0 - C),
        spare: 8.0 / (1.0 - C),
        slack: 10.0,
    }
}

/// A matrix whose rows and columns have sums below c, and so has the norm.
fn matrix(width: usize) -> Vec<f32> {
    numbers(3, width * width).iter().map(|v| v * (C / width as f64) as f32).collect()
}

/// x + tanh(A x) = z by plain steps in f64.
fn solved(a: &[f32], z: &[f64]) -> Vec<f64> {
    let (a, d) = (wide(a), z.len());
    let mut x = z.to_vec();
    for _ in 0..300 {
        let row = |i: usize| a[i * d..][..d].iter().zip(&x).map(|(a, x)| a * x).sum::<f64>();
        x = (0..d).map(|i| z[i] - row(i).tanh()).collect();
    }
    x
}

/// What the iteration makes of z after some turns: the answers, what is known and the status.
fn iterate(z: &[f32], width: usize, turns: usize) -> Option<[Vec<f32>; 3]> {
    let mut trial = Trial::new()?;
    let rows = z.len() / width;
    let a = matrix(width);
    let (matrix, aims, x) = (trial.put(&a), trial.put(z), trial.room(z.len()));
    let (known, status) = (trial.room(rows * KNOWN), trial.room(STATUS));
    let g = trial.recording.scratch(z.len());
    let memory = trial.recording.scratch(memory(rows, width));
    let at = Iteration { x, g, z: aims, known, memory };
    let bent = Epilogue { function: Some(Function::Tanh), ..Epilogue::default() };
    let right = Matrix::new(matrix, width, width).t();
    let turn: [Op; 3] = [
        product(g, Matrix::new(x, rows, width), right, bent),
        contract(contraction(), at, rows),
        count_open(status, known, rows),
    ];
    let mut ops = vec![scaled_copy(x, aims, 1.0), fill(known, 0.0)];
    (0..turns).for_each(|_| ops.extend(turn.clone()));
    let found = trial.run(ops, &[x, known, status]);
    found.try_into().ok()
}

/// Rows that learn and rows too wide for that; blocks have four rows.
#[test]
fn every_row_finds_its_answer() {
    for (rows, width) in [(1, 1), (9, 3), (6, 8), (5, 12), (1, 40)] {
        let z: Vec<f32> = numbers(1, rows * width).iter().map(|v| 3.0 * v).collect();
        let Some([x, known, status]) = iterate(&z, width, 60) else { return };
        assert_eq!(status[..2], [0.0, -1.0], "{rows} of {width}");
        for (row, (x, z)) in x.chunks(width).zip(z.chunks(width)).enumerate() {
            let want = solved(&matrix(width), &wide(z));
            let off = x.iter().zip(&want).map(|(&x, w)| (f64::from(x) - w).powi(2)).sum::<f64>();
            let radius = f64::from(known[row * KNOWN + 7]);
            let length = want.iter().map(|v| v * v).sum::<f64>().sqrt().max(1.0);
            assert!(off.sqrt() <= radius.max(1e-7), "{width}: off by {}, not {radius}", off.sqrt());
            assert!(radius <= 1e-5 * length, "{width}: radius {radius}");
        }
        // A row that is done stays put.
        let Some([again, ..]) = iterate(&z, width, 75) else { return };
        assert_eq!(again, x);
    }
}

#[test]
fn rows_that_are_open_are_counted() {
    let z: Vec<f32> = numbers(1, 300 * 12).iter().map(|v| 3.0 * v).collect();
    let Some([_, known, status]) = iterate(&z, 12, 3) else { return };
    let open = known.chunks(KNOWN).filter(|row| row[0] == 0.0).count();
    assert!(open > 0 && status[0] == open as f32 && status[1] == -1.0, "{status:?}, {open}");
}

#[test]
fn the_first_row_that_gets_nowhere_is_named() {
    for width in [3, 12] {
        let mut z = numbers(1, 11 * width);
        z[4 * width] = f32::INFINITY;
        z[7 * width + 1] = f32::NAN;
        let Some([x, known, status]) = iterate(&z, width, 60) else { return };
        assert_eq!(status[..2], [0.0, 4.0], "{width}");
        let bits = |v: &[f32]| [v[0].to_bits(), v[1].to_bits()];
        let its = [known[4 * KNOWN + 1], known[4 * KNOWN + 7]];
        assert_eq!(bits(&status[2..]), bits(&its), "{status:?}");
        let phases: Vec<f32> = known.chunks(KNOWN).map(|row| row[0]).collect();
        let want: Vec<f32> =
            (0..11).map(|row| if [4, 7].contains(&row) { 2.0 } else { 1.0 }).collect();
        assert_eq!(phases, want);
        assert!(x[..4 * width].iter().all(|v| v.is_finite()));
    }
}

/// From (5, 5), to which a learned step led from (1, 2), where the residual was shorter.
#[test]
fn a_step_that_went_wrong_is_taken_back() {
    let Some(mut trial) = Trial::new() else { return };
    let (open, learned) = (0.0, 2.0);
    let before = [open, 3.0, 1.0, 0.0, 100.0, 0.25, learned, 0.0];
    let remembered = [1.0, 2.0, 0.125, -0.25, 1.0, 0.0, 0.0, 1.0];
    let [x, g, z] = [[5.0; 2], [0.0; 2], [0.0; 2]].map(|v| trial.put(&v));
    let (known, memory) = (trial.put(&before), trial.put(&remembered));
    let at = Iteration { x, g, z, known, memory };
    let found = trial.run(vec![contract(contraction(), at, 1)], &[x, known, memory]);
    // The plain step from there.
    assert_eq!(found[0], [0.875, 2.25]);
    assert_eq!((found[1][0], found[1][1]), (open, 4.0));
}
