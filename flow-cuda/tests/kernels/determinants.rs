//! Determinants and inverses of small matrices: a block of threads against one thread.

use flow_cuda::kernels::square::Workers;

use crate::{close, numbers, Trial};

/// What threads make of three matrices: log-determinants alone, then with inverses.
fn found(by: Workers, matrices: &[f32], d: usize) -> Option<[Vec<f32>; 3]> {
    let mut trial = Trial::new()?;
    let [used, inverted] = [0; 2].map(|_| trial.put(matrices));
    let [log_dets, others] = [0; 2].map(|_| trial.put(&[0.5; 3]));
    let order = trial.room(3 * d);
    let ops = vec![
        by.log_det_shifted(used, log_dets, d, -1.0),
        by.invert_shifted(inverted, [others, order], d, -1.0),
    ];
    let [log_dets, others, inverted, ..] =
        <[_; 5]>::try_from(trial.run(ops, &[log_dets, others, inverted, used, order])).ok()?;
    Some([log_dets, others, inverted])
}

#[test]
fn a_block_of_threads_does_what_one_does() {
    for d in [1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 65, 100] {
        // The second matrix has no large diagonal to begin with, so that rows are swapped.
        let mut matrices = numbers(d as u32, 3 * d * d);
        matrices[d * d..2 * d * d].iter_mut().step_by(d + 1).for_each(|v| *v -= 1.0);
        // In the third every row but the first would do as well for the first column.
        let third = &mut matrices[2 * d * d..];
        third.iter_mut().step_by(d).for_each(|v| *v = 0.5_f32.copysign(*v));
        third[0] = -0.75;
        let Some(want) = found(Workers::One, &matrices, d) else { return };
        let got = found(Workers::Block, &matrices, d).expect("the same device");
        // A card may round products and sums together, in one kernel and not in the other.
        if std::env::var("FLOW_GPU").is_err() {
            assert_eq!(got, want, "{d} numbers a side");
        }
        for (what, (got, want)) in ["log-determinants", "those of inverses", "inverses"]
            .into_iter()
            .zip(got.iter().zip(&want))
        {
            let size = want.iter().fold(1.0, |most: f32, v| most.max(v.abs()));
            let scaled = |v: &[f32]| -> Vec<f32> { v.iter().map(|v| v / size).collect() };
            let want: Vec<f64> = scaled(want).into_iter().map(f64::from).collect();
            close(&format!("{what} of {d} numbers a side"), &scaled(got), &want);
        }
        let products = matrices.chunks(d * d).zip(got[2].chunks(d * d));
        for (matrix, inverse) in products {
            let size = inverse.iter().fold(1.0, |most: f32, v| most.max(v.abs()));
            for i in 0..d {
                for j in 0..d {
                    let terms = (0..d).map(|k| {
                        let one = if i == k { 1.0 } else { 0.0 };
                        (f64::from(matrix[i * d + k]) + one) * f64::from(inverse[k * d + j])
                    });
                    let off = terms.sum::<f64>() - if i == j { 1.0 } else { 0.0 };
                    assert!(off.abs() < 1e-5 * d as f64 * f64::from(size), "{off:e}");
                }
            }
        }
    }
    assert_eq!([7, 8, 64, 2000].map(Workers::of), {
        use Workers::{Block, One};
        [One, Block, Block, One]
    });
}
