use flow_cuda::kernels::gates::{Hats, Images};

use super::{close, close_sums, dot, numbers, slopes, wide, Trial};

const SHAPES: [(usize, usize, usize); 4] = [(1, 1, 1), (1, 3, 5), (3, 2, 7), (5, 33, 4)];

#[test]
fn channels_have_means_and_spread_them_back() {
    for (count, channels, pixels) in SHAPES {
        let Some(mut trial) = Trial::new() else { return };
        let len = count * channels * pixels;
        let (x, by) = (numbers(1, len), numbers(2, count * channels));
        let [values, by_means, gradient] = [trial.put(&x), trial.put(&by), trial.put(&x)];
        let means = trial.room(count * channels);
        let images = Images { count, channels, pixels };
        let ops = vec![images.means(means, values), images.spread(gradient, by_means)];
        let found = trial.run(ops, &[means, gradient]);
        let (x, by) = (wide(&x), wide(&by));
        let at = |i: usize| i / (channels * pixels) * channels + i % channels;
        let mut want = vec![0.0; count * channels];
        (0..len).for_each(|i| want[at(i)] += x[i] / pixels as f64);
        close_sums("means", &found[0], &want, pixels);
        let want: Vec<f64> = (0..len).map(|i| x[i] + by[at(i)] / pixels as f64).collect();
        close("the gradient", &found[1], &want);
    }
}

#[test]
fn channels_are_gated() {
    for (count, channels, pixels) in SHAPES {
        let Some(mut trial) = Trial::new() else { return };
        let len = count * channels * pixels;
        let (x, raw, by) = (numbers(1, len), numbers(2, count * channels), numbers(3, len));
        let [values, gates, gradient] = [trial.put(&x), trial.put(&raw), trial.put(&by)];
        let (kept, by_gates) = (trial.room(len), trial.room(count * channels));
        let images = Images { count, channels, pixels };
        let ops = vec![
            images.gate(values, gates, Some(kept)),
            images.gate_product(gradient, gates, kept, by_gates),
        ];
        let found = trial.run(ops, &[values, gates, kept, gradient, by_gates]);
        assert_eq!(found[2], x);
        let (x, raw, by) = (wide(&x), wide(&raw), wide(&by));
        let gated = |x: &[f64], raw: &[f64]| -> Vec<f64> {
            let gate = |i: usize| raw[i / (channels * pixels) * channels + i % channels];
            (0..len).map(|i| x[i] / (1.0 + (-gate(i)).exp())).collect()
        };
        close("images", &found[0], &gated(&x, &raw));
        let want: Vec<f64> = raw.iter().map(|v| 1.0 / (1.0 + (-v).exp())).collect();
        close("gates", &found[1], &want);
        close("by images", &found[3], &slopes(&x, |x| dot(&gated(x, &raw), &by)));
        let want = slopes(&raw, |raw| dot(&gated(&x, raw), &by));
        close_sums("by gates", &found[4], &want, pixels);
    }
}

#[test]
fn gates_far_out_are_shut_or_open() {
    let Some(mut trial) = Trial::new() else { return };
    let (values, gates) = (trial.put(&[2.0, 3.0]), trial.put(&[-200.0, 200.0]));
    let images = Images { count: 1, channels: 2, pixels: 1 };
    let found = trial.run(vec![images.gate(values, gates, None)], &[values, gates]);
    assert_eq!(found, [[0.0, 3.0], [0.0, 1.0]]);
}

#[test]
fn hats_and_their_product() {
    for (rows, features, each) in [(1, 1, 1), (1, 2, 5), (7, 3, 2), (65, 2, 3)] {
        let Some(mut trial) = Trial::new() else { return };
        let count = rows * features;
        let (pairs, by) = (numbers(1, 2 * count), numbers(2, 2 * count));
        let (w, b) = (numbers(3, features * each), numbers(4, features * each));
        let [at, gradient, ws, bs] = [&pairs, &by, &w, &b].map(|v| trial.put(v));
        let kept = trial.room(count);
        let [by_b, by_w] = [0; 2].map(|_| trial.room(count * each));
        let hats = Hats { w: ws, b: bs, each };
        let ops = vec![hats.mean(at, Some(kept)), hats.product(gradient, kept, [by_b, by_w])];
        let found = trial.run(ops, &[at, kept, gradient, by_b, by_w]);
        let (w, b) = (wide(&w), wide(&b));
        let mean = |v: f64, w: &[f64], b: &[f64]| -> f64 {
            let hat = |phi: f64| (1.0 - phi * phi) * (-0.5 * phi * phi).exp();
            w.iter().zip(b).map(|(w, b)| hat(w * v + b)).sum::<f64>() / each as f64
        };
        for i in 0..count {
            let own = i % features * each..(i % features + 1) * each;
            let (w, b, v) = (&w[own.clone()], &b[own], f64::from(pairs[2 * i]));
            let by_mean = f64::from(by[2 * i]);
            close("means", &found[0][2 * i..][..1], &[mean(v, w, b)]);
            assert_eq!((found[0][2 * i + 1], found[1][i]), (pairs[2 * i + 1], pairs[2 * i]));
            let slope = slopes(&[v], |v| by_mean * mean(v[0], w, b));
            close("by what they were", &found[2][2 * i..][..1], &slope);
            assert_eq!(found[2][2 * i + 1], by[2 * i + 1]);
            close(
                "by shifts",
                &found[3][i * each..][..each],
                &slopes(b, |b| by_mean * mean(v, w, b)),
            );
            close(
                "by factors",
                &found[4][i * each..][..each],
                &slopes(w, |w| by_mean * mean(v, w, b)),
            );
        }
    }
    let Some(mut trial) = Trial::new() else { return };
    let [at, gradient] = [trial.put(&[1e30, 0.5]), trial.put(&[1.0, 1.0])];
    let [w, b, kept] = [trial.put(&[1.0]), trial.put(&[0.0]), trial.room(1)];
    let [by_b, by_w] = [0; 2].map(|_| trial.room(1));
    let hats = Hats { w, b, each: 1 };
    let ops = vec![hats.mean(at, Some(kept)), hats.product(gradient, kept, [by_b, by_w])];
    let found = trial.run(ops, &[at, gradient, by_b, by_w, kept]);
    assert_eq!((found[0][0], found[1][0], found[2][0], found[3][0]), (0.0, 0.0, 0.0, 0.0));
}
