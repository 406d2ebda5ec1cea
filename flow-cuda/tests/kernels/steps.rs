//! Steps of a Runge-Kutta method.

use flow_cuda::kernels::contraction::{OUTGROWN, STATUS};
use flow_cuda::kernels::rows::Rows;
use flow_cuda::kernels::steps::{
    advance, combine, count_back, count_ways, recall, set_out, stage, Journey, Stack, Travellers,
    COUNT, WAY,
};
use flow_cuda::Slot;

use crate::{close, numbers, Trial};

/// Vectors in the frame, with what lies between them.
fn stack(trial: &mut Trial, vectors: &[Vec<f32>], stride: usize) -> Stack {
    let mut all = vec![f32::NAN; vectors.len() * stride];
    for (to, vector) in all.chunks_mut(stride).zip(vectors) {
        to[..vector.len()].copy_from_slice(vector);
    }
    Stack { slot: trial.put(&all), len: vectors[0].len(), stride }
}

#[test]
fn stages_and_sums_are_those_of_the_method() {
    let Some(mut trial) = Trial::new() else { return };
    let (rows, size, context) = (5, 3, 2);
    let (x, given) = (numbers(1, rows * size), numbers(2, rows * context));
    let (t, h) = (numbers(3, rows), numbers(4, rows));
    let slopes = [numbers(5, rows * size), vec![f32::NAN; rows * size], numbers(6, rows * size)];
    let weights = [0.25, 0.0, -1.5];
    let from = trial.recording.table([2, 0, -3, -1, 1, -2]);
    let input = trial.room(rows * 6);
    let vectors = stack(&mut trial, &slopes, 17);
    let places =
        [Rows::new(trial.put(&given), context), Rows::new(trial.put(&[&t[..], &h].concat()), 1)];
    let x_slot = trial.put(&x);
    let mut ops =
        vec![stage(input, Rows::new(x_slot, size), vectors, places, from, (0.75, &weights))];
    let [sum, alone] = [0; 2].map(|_| trial.room(rows * size));
    let h_slot = places[1].slot.part(rows, rows);
    ops.push(combine(sum, Some(x_slot), Some(h_slot), vectors, &weights));
    ops.push(combine(alone, None, None, vectors, &weights));
    let found = trial.run(ops, &[input, sum, alone]);
    let wide = |v: f32| f64::from(v);
    let moved = |row: usize, k: usize, h: f64| {
        let at = row * size + k;
        h * (0.25 * wide(slopes[0][at]) - 1.5 * wide(slopes[2][at]))
    };
    let (mut want_input, mut want_sum, mut want_alone) = (vec![], vec![], vec![]);
    for row in 0..rows {
        let h = wide(h[row]);
        let at = |k: usize| wide(x[row * size + k]) + moved(row, k, h);
        let given = |c: usize| wide(given[row * context + c]);
        want_input.extend([at(2), at(0), given(1), wide(t[row]) + 0.75 * h, at(1), given(0)]);
        want_sum.extend((0..size).map(at));
        want_alone.extend((0..size).map(|k| moved(row, k, 1.0)));
    }
    close("inputs", &found[0], &want_input);
    close("sums", &found[1], &want_sum);
    close("sums of nothing else", &found[2], &want_alone);
}

const JOURNEY: Journey =
    Journey { start: 2.0, span: -1.5, first: 0.4, tolerance: 1e-3, least: 1e-6, most: 5 };

/// Rows on their way, with room for so many steps.
fn travellers(trial: &mut Trial, x: &[f32], rows: usize, room: usize) -> Travellers {
    let records = trial.room(room * (x.len() + 2 * rows));
    Travellers {
        ways: trial.room(rows * WAY),
        now: trial.room(2 * rows),
        x: trial.put(x),
        integral: trial.put(&vec![1.0; rows]),
        next: trial.put(&[0.0; 0]),
        next_integral: trial.put(&vec![0.0; 2 * rows]),
        records,
    }
}

#[test]
fn steps_are_taken_refused_and_remembered() {
    let Some(mut trial) = Trial::new() else { return };
    // The first row's error is a tenth of what may be, the second's is too large, the third's is none,
    // and the fourth's is no number.
    let (rows, size) = (4, 2);
    let x = numbers(1, rows * size);
    let leads = numbers(2, rows * size);
    let errors = [[1e-4; 2], [8e-3; 2], [0.0; 2], [f32::NAN, 0.0]];
    let scaled: Vec<f32> = errors
        .iter()
        .flatten()
        .zip(x.iter().zip(&leads))
        .map(|(e, (a, b))| e * (1.0 + a.abs().max(b.abs())))
        .collect();
    let mut at = travellers(&mut trial, &x, rows, 2);
    at.next = trial.put(&[leads.clone(), scaled].concat());
    at.next_integral = trial.put(&[[3.0; 4], [1e-5; 4]].concat());
    let status = trial.room(STATUS);
    let ops = vec![set_out(at, JOURNEY), advance(at, JOURNEY), count_ways(status, at)];
    let read = [at.x, at.integral, at.now, at.ways, at.records, status];
    let found = trial.run(ops, &read);
    let better = |relative: f64| 0.9 * (relative / 1e-3_f64).powf(-0.2);
    let step = [0.4 * better(1e-4), 0.4 * better(8e-3), 0.4 * 5.0, 0.4 * 0.2];
    let step = [step[0], step[1], step[2].min(1.1), step[3]];
    let taken = [true, false, true, false];
    for row in 0..rows {
        let from = if taken[row] { &leads } else { &x };
        let here = row * size..(row + 1) * size;
        assert_eq!(found[0][here.clone()], from[here.clone()], "row {row}");
        assert_eq!(found[1][row], if taken[row] { 3.0 } else { 1.0 });
        assert_eq!(found[3][row * WAY + COUNT], f32::from(u8::from(taken[row])));
        if taken[row] {
            let record = &found[4][row * (size + 2)..][..size + 2];
            assert_eq!(record, [&x[here], &[2.0, -0.4]].concat());
        }
    }
    let times = taken.map(|taken| if taken { 1.6 } else { 2.0 });
    let now: Vec<f64> = times.into_iter().chain(step.map(|h| -h)).collect();
    close("times and steps", &found[2], &now);
    assert_eq!(found[5][..2], [4.0, -1.0], "all are under way");
}

#[test]
fn ways_end_where_they_should() {
    for (error, room, want) in [(0.0, 9, -1.0), (0.0, 2, OUTGROWN), (1.0, 9, 1.0)] {
        let Some(mut trial) = Trial::new() else { return };
        // The first row has no error, so that its steps grow: 0.4 and the rest of 1.1.
        let mut at = travellers(&mut trial, &[0.0; 2], 2, room);
        at.next = trial.put(&[0.0, 0.0, 0.0, error]);
        let status = trial.room(STATUS);
        let short = Journey { first: if room == 2 { 0.05 } else { 0.4 }, ..JOURNEY };
        let mut ops = vec![set_out(at, short)];
        for _ in 0..6 {
            ops.extend([advance(at, short), count_ways(status, at)]);
        }
        let found = trial.run(ops, &[status, at.ways, at.now, at.x, at.integral, at.records]);
        let most = if room == 2 { 3.0 } else { 2.0 };
        assert_eq!(found[0][..2], [0.0, want], "no row is open");
        match want {
            1.0 => {
                assert_eq!((found[0][2], found[0][3]), (5.0, 2.0), "five steps, no further than 2")
            }
            _ => assert_eq!((found[0][2], found[1][COUNT], found[2][0]), (most, most, 0.5)),
        }
    }
}

#[test]
fn records_come_back_the_last_one_first() {
    let Some(mut trial) = Trial::new() else { return };
    let (rows, size, width) = (3, 2, 4);
    let records = numbers(1, 2 * rows * width);
    let kept = trial.put(&records);
    let left = trial.put(&[2.0, 0.0, 1.0]);
    let mut read: Vec<Slot> = vec![left];
    let mut ops = Vec::new();
    for _ in 0..3 {
        let (x, now, status) = (trial.room(rows * size), trial.room(2 * rows), trial.room(STATUS));
        ops.extend([recall([x, now], kept, left), count_back(status, left)]);
        read.extend([x, now, status]);
    }
    let found = trial.run(ops, &read);
    assert_eq!(found[0], [0.0; 3]);
    let record = |step: usize, row: usize| &records[(step * rows + row) * width..][..width];
    for (turn, each) in found[1..].chunks(3).enumerate() {
        for (row, count) in [2, 0, 1].into_iter().enumerate() {
            let step = usize::checked_sub(count, turn + 1);
            let want = record(step.unwrap_or(0), row);
            assert_eq!(each[0][row * size..][..size], want[..size]);
            assert_eq!(each[1][row], want[size]);
            assert_eq!(each[1][rows + row], if step.is_some() { want[size + 1] } else { 0.0 });
        }
        assert_eq!(each[2][..2], [[1.0, -1.0], [0.0, -1.0], [0.0, -1.0]][turn]);
    }
}
