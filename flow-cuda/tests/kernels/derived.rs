//! What blocks compute with, from the numbers that are trained.

use flow_cuda::kernels::bounded::{
    bounded_stretches, bounded_triangle, planar_finish, planar_weights, radial_finish,
    radial_weights, triangle_finish,
};
use flow_cuda::kernels::knots::{raise_to, Limits, Trained};
use flow_cuda::kernels::weights::Normalised;
use flow_cuda::Slot;

use super::{close, close_sums, dot, numbers, slopes, wide, Trial};

fn plus(start: &[f32], slopes: Vec<f64>) -> Vec<f64> {
    wide(start).iter().zip(slopes).map(|(a, b)| a + b).collect()
}

fn softplus(v: f64) -> f64 {
    v.max(0.0) + (-v.abs()).exp().ln_1p()
}

#[test]
fn rows_have_lengths_of_their_own() {
    for (rows, columns) in [(1, 1), (1, 9), (6, 3), (9, 40)] {
        let Some(mut trial) = Trial::new() else { return };
        let len = rows * columns;
        let (mut v, g) = (numbers(1, len), numbers(2, rows));
        // Rows of another size, none of whose squares is a number of f32.
        v[..columns].iter_mut().for_each(|v| *v *= 1e30);
        let (by, starts) = (numbers(3, len), [numbers(4, len), numbers(5, rows)]);
        // In the opposite order, without the last entry of each row but the first's.
        let kept = |i: usize| i < columns || i % columns + 1 < columns || columns == 1;
        let there: Vec<isize> =
            (0..len).map(|i| if kept(i) { (len - 1 - i) as isize } else { -1 }).collect();
        let from: Vec<isize> =
            (0..len).rev().map(|i| if kept(i) { i as isize } else { -1 }).collect();
        let [directions, lengths, by_matrix] = [&v, &g, &by].map(|v| trial.put(v));
        let into = [trial.put(&starts[0]), trial.put(&starts[1])];
        let matrix = trial.room(len);
        let (there, from) = (trial.recording.table(there), trial.recording.table(from));
        let of = Normalised { directions, lengths, there, from };
        let mut ops = of.weight(&mut trial.recording, matrix).to_vec();
        ops.extend(of.finish(&mut trial.recording, by_matrix, into));
        let found = trial.run(ops, &[matrix, into[0], into[1]]);

        let weight = |v: &[f64], g: &[f64]| -> Vec<f64> {
            let mut matrix = vec![0.0; len];
            for i in (0..len).filter(|&i| kept(i)) {
                let row = i / columns * columns..(i / columns + 1) * columns;
                let most = v[row.clone()].iter().fold(0.0, |m: f64, v| m.max(v.abs()));
                let squares: f64 = row.filter(|&i| kept(i)).map(|i| (v[i] / most).powi(2)).sum();
                matrix[len - 1 - i] = g[i / columns] * (v[i] / most) / squares.sqrt();
            }
            matrix
        };
        let (v, g, by) = (wide(&v), wide(&g), wide(&by));
        close("the matrix", &found[0], &weight(&v, &g));
        // The first row's slopes vanish beside what is there.
        let mut by_v = slopes(&v, |v| dot(&weight(v, &g), &by));
        by_v[..columns].fill(0.0);
        close_sums("by directions", &found[1], &plus(&starts[0], by_v), 20 * columns);
        let by_g = slopes(&g, |g| dot(&weight(&v, g), &by));
        close_sums("by lengths", &found[2], &plus(&starts[1], by_g), 4 * columns);
    }
    // A row without a direction is zero.
    let Some(mut trial) = Trial::new() else { return };
    let [directions, lengths] = [&[0.0, 0.0][..], &[3.0]].map(|v| trial.put(v));
    let matrix = trial.room(2);
    let places = trial.recording.table([0, 1]);
    let of = Normalised { directions, lengths, there: places, from: places };
    let ops = of.weight(&mut trial.recording, matrix).to_vec();
    assert_eq!(trial.run(ops, &[matrix])[0], [0.0, 0.0]);
}

#[test]
fn planar_maps_keep_an_inverse() {
    let moved = |u: &[f64], w: &[f64]| -> Vec<f64> {
        let (along, square) = (dot(u, w), dot(w, w));
        if square == 0.0 {
            return [u, &[1.0]].concat();
        }
        let by = (softplus(along) - 1.0 - along) / square;
        let mut out: Vec<f64> = u.iter().zip(w).map(|(u, w)| u + by * w).collect();
        out.push(softplus(along));
        out
    };
    for (d, size) in [(1, 1.0), (3, 1.0), (300, 0.2), (4, 0.0), (2, 40.0)] {
        let Some(mut trial) = Trial::new() else { return };
        let u = numbers(1, d);
        let w: Vec<f32> = numbers(2, d).iter().map(|v| v * size).collect();
        let (by, starts) = (numbers(3, d + 1), [numbers(4, d), numbers(5, d)]);
        let [us, ws, by_moved] = [&u, &w, &by].map(|v| trial.put(v));
        let into = [trial.put(&starts[0]), trial.put(&starts[1])];
        let out = trial.room(d + 1);
        let ops = vec![planar_weights(out, us, ws), planar_finish(into, by_moved, us, ws)];
        let found = trial.run(ops, &[out, into[0], into[1]]);
        let (u, w, by) = (wide(&u), wide(&w), wide(&by));
        close_sums("what u is moved to", &found[0], &moved(&u, &w), 100);
        let want = plus(&starts[0], slopes(&u, |u| dot(&moved(u, &w), &by)));
        close_sums("by u", &found[1], &want, 200);
        let by_w = if size == 0.0 { vec![0.0; d] } else { slopes(&w, |w| dot(&moved(&u, w), &by)) };
        close_sums("by w", &found[2], &plus(&starts[1], by_w), 400);
    }
}

#[test]
fn radial_maps_keep_an_inverse() {
    for (a, b) in [(0.3, -0.7), (-4.0, 9.0), (2.0, -80.0)] {
        let Some(mut trial) = Trial::new() else { return };
        let [log_alpha, beta, by] = [&[a][..], &[b], &[0.7, -1.3]].map(|v| trial.put(v));
        let into = [trial.put(&[0.5]), trial.put(&[0.25])];
        let out = trial.room(2);
        let ops = vec![radial_weights(out, log_alpha, beta), radial_finish(into, by, out, beta)];
        let found = trial.run(ops, &[out, into[0], into[1]]);
        let (a, b) = (f64::from(a), f64::from(b));
        close("α and κ", &found[0], &[a.exp(), softplus(b)]);
        assert!(found[0][1] > 0.0);
        let gate = 1.0 / (1.0 + (-b).exp());
        close("by log α", &found[1], &[0.5 + f64::from(0.7_f32) * a.exp()]);
        close("by β", &found[2], &[0.25 - f64::from(1.3_f32) * gate]);
    }
}

#[test]
fn triangles_have_bounded_diagonals() {
    for m in [1, 2, 5, 13] {
        let Some(mut trial) = Trial::new() else { return };
        let (outer, inner) = (numbers(1, m * m), numbers(2, m * m));
        let (by, by_stretch, start) = (numbers(3, m * m), numbers(4, m), numbers(5, m * m));
        let [a, b, by_triangle, by_kappa, into] =
            [&outer, &inner, &by, &by_stretch, &start].map(|v| trial.put(v));
        let (triangle, kappa) = (trial.room(m * m), trial.room(m));
        let ops = vec![
            bounded_triangle(triangle, a),
            bounded_stretches(kappa, [a, b]),
            triangle_finish(into, by_triangle, [a, b], [by_kappa, kappa]),
        ];
        let found = trial.run(ops, &[triangle, kappa, into]);
        let [outer, inner, by, by_stretch] = [&outer, &inner, &by, &by_stretch].map(|v| wide(v));
        let made = |raw: &[f64]| -> (Vec<f64>, Vec<f64>) {
            let entry = |i: usize| match (i / m).cmp(&(i % m)) {
                std::cmp::Ordering::Less => raw[i],
                std::cmp::Ordering::Equal => raw[i].tanh(),
                std::cmp::Ordering::Greater => 0.0,
            };
            let kappa = |i: usize| 1.0 + raw[i * (m + 1)].tanh() * inner[i * (m + 1)].tanh();
            ((0..m * m).map(entry).collect(), (0..m).map(kappa).collect())
        };
        let (want, kappas) = made(&outer);
        close("the triangle", &found[0], &want);
        close("the stretches", &found[1], &kappas);
        let want = slopes(&outer, |raw| {
            let (triangle, kappas) = made(raw);
            dot(&triangle, &by) + dot(&kappas, &by_stretch)
        });
        close_sums("by what it is made of", &found[2], &plus(&start, want), 20);
    }
    let Some(mut trial) = Trial::new() else { return };
    let [a, b] = [trial.put(&[20.0]), trial.put(&[-20.0])];
    let kappa = trial.room(1);
    let found = trial.run(vec![bounded_stretches(kappa, [a, b])], &[kappa]).remove(0);
    // 1 − tanh² far out.
    let want = (4_f64.ln() - 40.0).exp();
    assert!((f64::from(found[0]) / want - 1.0).abs() < 1e-4, "{found:?}, not {want}");
}

#[test]
fn knots_and_their_gradients() {
    let limits = Limits { low: 0.2, high: 3.0, least: 1e-3, least_rise: 3e-3 };
    for (features, count) in [(1, 3), (2, 5), (130, 3)] {
        let Some(mut trial) = Trial::new() else { return };
        let len = features * count;
        let sizes = [len, len, len, features];
        let raw: Vec<Vec<f32>> = (1..).zip(sizes).map(|(i, len)| numbers(i, len)).collect();
        let extent: Vec<f32> = raw[3].iter().map(|v| 2.0 + v).collect();
        let starts: Vec<Vec<f32>> = (5..).zip(sizes).map(|(i, len)| numbers(i, len)).collect();
        let by = numbers(9, 3 * len);
        let mut put = |all: [&Vec<f32>; 4]| -> (Trained, [Slot; 4]) {
            let slots = all.map(|v| trial.put(v));
            let [widths, heights, slopes, extent] = slots;
            (Trained { widths, heights, slopes, extent }, slots)
        };
        let (trained, _) = put([&raw[0], &raw[1], &raw[2], &extent]);
        let (into, slots) = put([&starts[0], &starts[1], &starts[2], &starts[3]]);
        let (by_knots, knots) = (trial.put(&by), trial.room(3 * len));
        let mut ops = vec![trained.knots(limits, knots)];
        ops.extend(trained.finish(limits, into, knots, by_knots));
        let found = trial.run(ops, &[&[knots][..], &slots].concat());

        let limited = |v: f64| limits.low + (limits.high - limits.low) / (1.0 + (-v).exp());
        let made = |all: &[f64]| -> Vec<f64> {
            let [widths, heights, slopes] = [0, 1, 2].map(|part| &all[part * len..][..len]);
            let mut knots = Vec::new();
            for feature in 0..features {
                let own = feature * count..(feature + 1) * count;
                let sum: f64 = widths[own.clone()].iter().map(|v| v.exp()).sum();
                let shares: Vec<f64> = widths[own.clone()].iter().map(|v| v.exp() / sum).collect();
                let rises: Vec<f64> = shares
                    .iter()
                    .zip(&heights[own.clone()])
                    .map(|(s, &h)| s * limited(h))
                    .collect();
                let extent = all[3 * len + feature];
                let up_to = |of: &[f64], i: usize| of[..=i].iter().sum::<f64>();
                knots.extend((0..count).map(|i| (2.0 * up_to(&shares, i) - 1.0) * extent));
                let whole = up_to(&rises, count - 1);
                knots.extend((0..count).map(|i| (2.0 * up_to(&rises, i) - whole) * extent));
                knots.extend(slopes[own].iter().map(|&v| limited(v)));
            }
            knots
        };
        let all: Vec<f64> =
            [&raw[0], &raw[1], &raw[2], &extent].iter().flat_map(|v| wide(v)).collect();
        let by = wide(&by);
        close_sums("knots", &found[0], &made(&all), 20);
        // One feature's numbers have nothing to do with the others'.
        if features > 2 {
            continue;
        }
        let want = plus(&starts.concat(), slopes(&all, |all| dot(&made(all), &by)));
        close_sums("by what they are made of", &found[1..].concat(), &want, 100);
    }
}

#[test]
fn bins_keep_a_size() {
    let Some(mut trial) = Trial::new() else { return };
    let limits = Limits { low: 0.0, high: 2.0, least: 1e-6, least_rise: 2e-6 };
    let extent = trial.put(&[-1.0]);
    let trained = Trained {
        widths: trial.put(&[0.0, -200.0, 0.0]),
        heights: trial.put(&[0.0, 0.0, -200.0]),
        slopes: trial.put(&[0.0; 3]),
        extent,
    };
    let knots = trial.room(9);
    let ops = vec![raise_to(extent, 0.5), trained.knots(limits, knots)];
    let found = trial.run(ops, &[knots, extent]);
    assert_eq!(found[1], [0.5]);
    for part in found[0][..6].chunks(3) {
        assert!(part[0] < part[1] && part[1] < part[2], "{found:?}");
    }
}
