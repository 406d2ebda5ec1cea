//! Whether an inverse brought rows back.

use flow_cuda::kernels::guard::{compare, project, Fingerprints, FOUND, PROJECTIONS};

use crate::{close, numbers, Trial};

#[test]
fn projections_are_products_with_directions() {
    for (rows, size, longest) in [(1, 9, 9), (5, 33, 40), (130, 12, 64)] {
        let Some(mut trial) = Trial::new() else { return };
        let (x, directions) = (numbers(1, rows * size), numbers(2, PROJECTIONS * longest));
        let signs: Vec<f32> = numbers(3, size).iter().map(|v| v.signum()).collect();
        let into = trial.room(rows * (1 + PROJECTIONS));
        let places = [&x, &directions, &signs].map(|numbers| trial.put(numbers));
        let found = trial.run(vec![project(into, places[0], places[1], places[2])], &[into]);
        let mut want = Vec::new();
        for row in x.chunks(size) {
            let wide = || row.iter().map(|&v| f64::from(v));
            want.push(wide().map(|v| v * v).sum::<f64>().sqrt());
            for direction in directions.chunks(longest) {
                let each = wide().zip(&signs).zip(direction);
                want.push(each.map(|((v, &s), &d)| v * f64::from(s * d)).sum());
            }
        }
        close("projections", &found[0], &want);
    }
}

/// What a comparison writes.
fn status(kept: &[f32], found: &[f32], form: Fingerprints, threshold: f64) -> Option<Vec<f32>> {
    let mut trial = Trial::new()?;
    let rows = kept.len() / form.width;
    let [status, norms] = [FOUND, rows + 1].map(|len| trial.room(len));
    let places = [trial.put(kept), trial.put(found)];
    let ops = compare(status, places, form, norms, threshold).to_vec();
    trial.run(ops, &[status, norms]).into_iter().next()
}

#[test]
fn short_rows_are_compared_with_the_norm_in_the_middle() {
    let form = Fingerprints::whole(2);
    // The norms are 5, 0.1 and 10.
    let kept = [3.0, 4.0, 0.0, 0.1, 6.0, 8.0];
    let mut found = kept;
    found[2] += 0.01;
    found[5] -= 0.05;
    let Some(same) = status(&kept, &kept, form, 1e-3) else { return };
    assert_eq!(same, [0.0, 0.0, 0.0]);
    // The errors are 0.01 of 5, which is above its own norm, and 0.05 of 10.
    let worst = status(&kept, &found, form, 1e-3).unwrap();
    assert!((worst[0] - 0.005).abs() < 1e-6 && worst[1..] == [2.0, 2.0], "{worst:?}");
    assert_eq!(status(&kept, &found, form, 3e-3).unwrap()[1..], [2.0, 1.0]);
    // Of an even number the upper one is in the middle.
    let (kept, found) = ([1.0, 4.0, 2.0, 8.0], [1.0, 4.0, 2.0, 8.5]);
    let worst = status(&kept, &found, Fingerprints::whole(1), 1e-3).unwrap();
    assert_eq!(worst, [0.0625, 3.0, 1.0]);
    let worst = status(&kept[..2], &[1.5, 4.0], Fingerprints::whole(1), 1e-3).unwrap();
    assert_eq!(worst, [0.125, 0.0, 1.0]);
}

#[test]
fn long_rows_are_compared_by_their_projections() {
    let form = Fingerprints::PROJECTED;
    let rows = 200;
    let mut kept = numbers(1, rows * form.width);
    kept.iter_mut().step_by(form.width).for_each(|norm| *norm = 2.0);
    let mut found = kept.clone();
    // The norm itself does not count; a projection does with half of itself.
    found[150 * form.width] = 7.0;
    found[31 * form.width + 2] += 0.03;
    found[170 * form.width + 4] -= 0.03;
    let Some(worst) = status(&kept, &found, form, 1e-3) else { return };
    assert!((worst[0] - 0.0075).abs() < 1e-5 && worst[2] == 2.0, "{worst:?}");
}

#[test]
fn numbers_that_are_not_finite_are_the_worst() {
    for form in [Fingerprints::whole(3), Fingerprints::PROJECTED] {
        let kept = vec![1.0; 3 * form.width];
        for bad in [f32::NAN, f32::INFINITY, 1e30] {
            let mut found = kept.clone();
            found[form.width + 1] = bad;
            let Some(worst) = status(&kept, &found, form, 1e-3) else { return };
            assert_eq!(worst, [f32::INFINITY, 1.0, 1.0], "{bad}");
        }
    }
}
