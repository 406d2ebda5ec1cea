use flow_cuda::kernels::rows::{
    accumulate, add_column_products, add_repeated, add_row_sums, add_total, fill, gather,
    normal_product, scaled_copy, scatter, Rows, Sum, Vectors,
};

use super::{close, close_sums, numbers, Trial};

#[test]
fn rows_are_gathered_and_scattered() {
    let Some(mut trial) = Trial::new() else { return };
    let (rows, width) = (37, 5);
    let (x, context) = (numbers(1, rows * width), numbers(2, rows * 2));
    let (from, to) = ([4, -1, 0, -3, -2], [2, 0]);
    let [at, beside] = [trial.put(&x), trial.put(&context)];
    let out = trial.room(rows * from.len());
    let into = trial.put(&x);
    let values = numbers(3, rows * 2);
    let put = trial.put(&values);
    let (from_table, to_table) = (trial.recording.table(from), trial.recording.table(to));
    let ops = vec![
        gather(rows, Rows::new(at, width), Rows::new(beside, 2), from_table, out),
        scatter(rows, Rows::new(into, width), to_table, put),
    ];
    let found = trial.run(ops, &[out, into]);
    for row in 0..rows {
        let x = &x[row * width..][..width];
        let expected = [x[4], 0.0, x[0], context[2 * row + 1], context[2 * row]];
        assert_eq!(found[0][row * 5..][..5], expected);
        let expected = [values[2 * row + 1], x[1], values[2 * row], x[3], x[4]];
        assert_eq!(found[1][row * width..][..width], expected);
    }
}

#[test]
fn sums_go_where_they_belong() {
    let Some(mut trial) = Trial::new() else { return };
    let rows = 7;
    let (start, values) = (numbers(1, rows * 3), numbers(2, rows * 4));
    let (into, from) = (trial.put(&start), trial.put(&values));
    let pairs = [(2, vec![0, 3]), (0, vec![1]), (1, vec![])];
    let op = accumulate(&mut trial.recording, rows, Rows::new(into, 3), Rows::new(from, 4), &pairs);
    let found = trial.run(vec![op], &[into]).remove(0);
    for row in 0..rows {
        let (s, v) = (&start[3 * row..], &values[4 * row..]);
        assert_eq!(found[3 * row..][..3], [s[0] + v[1], s[1], s[2] + (v[0] + v[3])]);
    }
}

#[test]
fn rows_are_added_up() {
    for (rows, width) in [(1, 1), (5, 3), (6, 70)] {
        let Some(mut trial) = Trial::new() else { return };
        let (start, values) = (numbers(1, rows), numbers(2, rows * width));
        let [plain, squares, totals] = [0; 3].map(|_| trial.put(&start));
        let v = trial.put(&values);
        let sum = |square| Sum { square, factor: -0.5, constant: 2.0 };
        let ops = vec![
            add_row_sums(plain, v, rows, sum(false)),
            add_row_sums(squares, v, rows, sum(true)),
            add_total(totals, v.part(0, width), 3.0),
        ];
        let found = trial.run(ops, &[plain, squares, totals]);
        let wide = |v: &f32| f64::from(*v);
        let expected = |f: &dyn Fn(f64) -> f64| -> Vec<f64> {
            let each = values.chunks(width).zip(&start);
            each.map(|(row, s)| wide(s) + 2.0 - 0.5 * row.iter().map(|v| f(wide(v))).sum::<f64>())
                .collect()
        };
        close("sums", &found[0], &expected(&|v| v));
        close("squares", &found[1], &expected(&|v| v * v));
        let total = values[..width].iter().map(wide).sum::<f64>();
        let each: Vec<f64> = start.iter().map(|s| wide(s) + 3.0 * total).collect();
        close("totals", &found[2], &each);
    }
}

#[test]
fn columns_are_added_up() {
    for (rows, pixels, features) in [(1, 1, 1), (3, 2, 5), (300, 3, 40), (1000, 1, 2)] {
        let Some(mut trial) = Trial::new() else { return };
        let count = rows * pixels;
        // Rows of the left are one longer, and turned around.
        let width = pixels * features + 1;
        let (left, right) = (numbers(1, rows * width), numbers(2, count * features));
        let start = numbers(3, features);
        let [a, b] = [trial.put(&left), trial.put(&right)];
        let [products, sums] = [0; 2].map(|_| trial.put(&start));
        let recording = &mut trial.recording;
        let entries = recording.table((0..pixels * features).rev().map(|i| i as isize));
        let vectors = Vectors { count, features, pixels };
        let mut ops = add_column_products(
            recording,
            products,
            vectors,
            Rows::new(a, width),
            Some(entries),
            Some(b),
            -2.0,
        );
        let dense = Rows::new(b, pixels * features);
        ops.extend(add_column_products(recording, sums, vectors, dense, None, None, 1.0));
        let found = trial.run(ops, &[products, sums]);
        let mut expected = [0; 2].map(|_| start.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
        for v in 0..count {
            for f in 0..features {
                let place = v % pixels * features + f;
                let l = f64::from(left[v / pixels * width + pixels * features - 1 - place]);
                let r = f64::from(right[v * features + f]);
                expected[0][f] -= 2.0 * l * r;
                expected[1][f] += r;
            }
        }
        close_sums("products", &found[0], &expected[0], 2 * count);
        close_sums("sums", &found[1], &expected[1], count);
    }
}

#[test]
fn numbers_are_filled_copied_and_added() {
    let Some(mut trial) = Trial::new() else { return };
    let values = numbers(1, 300);
    let v = trial.put(&values);
    let by = trial.put(&[0.5, -1.0, 2.0]);
    let [filled, copied, added] = [trial.room(300), trial.room(300), trial.put(&values)];
    let ops = vec![fill(filled, 7.0), scaled_copy(copied, v, -3.0), add_repeated(added, by, 2.0)];
    let found = trial.run(ops, &[filled, copied, added]);
    assert!(found[0].iter().all(|&v| v == 7.0));
    assert!(found[1].iter().zip(&values).all(|(&got, &v)| got == -3.0 * v));
    for (i, (&got, &v)) in found[2].iter().zip(&values).enumerate() {
        assert_eq!(got, v + 2.0 * [0.5, -1.0, 2.0][i % 3]);
    }
}

#[test]
fn the_product_of_a_normal_density() {
    let Some(mut trial) = Trial::new() else { return };
    let (start, z, weight) = (numbers(1, 40), numbers(2, 40), numbers(3, 8));
    let [gradient, at, w] = [trial.put(&start), trial.put(&z), trial.put(&weight)];
    let found = trial.run(vec![normal_product(gradient, w, at, 8)], &[gradient]).remove(0);
    for i in 0..40 {
        assert!((found[i] - (start[i] - weight[i / 5] * z[i])).abs() < 1e-6);
    }
}
