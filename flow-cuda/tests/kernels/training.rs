use flow_cuda::kernels::noise::{normals, stream};
use flow_cuda::kernels::optimizer::{adam, clip_factor, Adam};
use flow_cuda::Slot;

use super::{close, numbers, Trial};

#[test]
fn adam_is_that_of_the_paper() {
    let Some(mut trial) = Trial::new() else { return };
    let rule = Adam { betas: [0.8, 0.95], epsilon: 0.03, weight_decay: 0.1 };
    let weights = numbers(1, 70);
    let gradients: Vec<Vec<f32>> = (0..4).map(|i| numbers(10 + i, 70)).collect();
    let w = trial.put(&weights);
    let zeros = vec![0.0; 70];
    let moments = [trial.put(&zeros), trial.put(&zeros)];
    let factor = trial.put(&[0.5]);
    let mut ops = Vec::new();
    for (i, gradient) in gradients.iter().enumerate() {
        let (g, step) = (trial.put(gradient), trial.put(&rule.step(0.05, i as u64 + 1, 0.99)));
        ops.push(adam(rule, w, g, moments, step, Some(factor)));
    }
    let found = trial.run(ops, &[w, moments[0], moments[1]]).remove(0);
    let mut expected = Vec::new();
    for i in 0..70 {
        let (mut w, mut m, mut v) = (f64::from(weights[i]), 0.0, 0.0);
        for (t, gradient) in (1..).zip(&gradients) {
            w *= 0.99;
            let g = 0.5 * f64::from(gradient[i]) + 0.1 * w;
            m = 0.8 * m + 0.2 * g;
            v = 0.95 * v + 0.05 * g * g;
            let (first, second) = (m / (1.0 - 0.8_f64.powi(t)), v / (1.0 - 0.95_f64.powi(t)));
            w -= 0.05 * first / (second.sqrt() + 0.03);
        }
        expected.push(w);
    }
    close("weights", &found, &expected);
}

#[test]
fn long_gradients_are_shortened() {
    for limit in [0.7, 1000.0] {
        let Some(mut trial) = Trial::new() else { return };
        let gradient = numbers(1, 500);
        let g = trial.put(&gradient);
        let factor = trial.room(1);
        let parts: [Slot; 2] = [g.part(0, 300), g.part(400, 100)];
        let ops = clip_factor(&mut trial.recording, factor, &parts, limit);
        let found = trial.run(ops, &[factor]).remove(0);
        let seen = gradient[..300].iter().chain(&gradient[400..]);
        let norm = seen.map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        close("the factor", &found, &[(limit / (norm + 1e-6)).min(1.0)]);
    }
}

#[test]
fn normals_can_start_anywhere_in_their_stream() {
    let key = 0x0123_4567_89ab_cdef;
    let draw = |start: u64, count: usize, factor: f64| {
        let mut trial = Trial::new()?;
        let out = trial.room(count);
        let at = trial.put(&stream(key, start));
        Some(trial.run(vec![normals(out, at, factor)], &[out]).remove(0))
    };
    let Some(all) = draw(0, 1000, 1.0) else { return };
    for (start, count) in [(0, 1), (1, 1), (1, 6), (7, 300), (6, 301)] {
        let part = draw(start, count, 2.0).unwrap();
        let expected: Vec<f32> = all[start as usize..][..count].iter().map(|v| 2.0 * v).collect();
        assert_eq!(part, expected, "{count} from {start}");
    }
    let mean = all.iter().sum::<f32>() / 1000.0;
    let square = all.iter().map(|v| v * v).sum::<f32>() / 1000.0;
    assert!(mean.abs() < 0.13 && (square - 1.0).abs() < 0.2, "{mean}, {square}");
}
