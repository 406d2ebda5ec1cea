//! The laws of a scalar bijection, on plain buffers in f64.

use super::Transform;
use crate::sums::dot;
use crate::Noise;

/// Round trip, slopes, and both products against central differences, on odd numbers of rows and
/// features, with inputs and parameters of that spread.
pub(crate) fn check_transform<T: Transform>(transform: &T, spread: f64) {
    for (rows, features) in [(1, 1), (3, 5), (7, 2)] {
        let (count, p) = (rows * features, transform.parameters());
        let noise = Noise::seed(11);
        let draw = |name: &str, len: usize, spread: f64| -> Vec<f64> {
            let noise = noise.named(name);
            (0..len).map(|i| spread * noise.normal(i as u64)).collect()
        };
        let case = Case {
            transform,
            values: draw("values", count, spread / 2.0),
            parameters: draw("parameters", count * p, 1.0),
            by_value: draw("by value", count, 1.0),
            by_log: draw("by log", rows, 1.0),
        };
        case.round_trip();
        case.slopes();
        case.products(false);
        case.products(true);
    }
}

struct Case<'a, T> {
    transform: &'a T,
    values: Vec<f64>,
    parameters: Vec<f64>,
    by_value: Vec<f64>,
    by_log: Vec<f64>,
}

impl<T: Transform> Case<'_, T> {
    fn run(
        &self,
        inverse: bool,
        values: &[f64],
        parameters: &[f64],
    ) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let (mut out, mut left) = (values.to_vec(), parameters.to_vec());
        let mut log_det = vec![0.0; self.by_log.len()];
        if inverse {
            self.transform.inverse(&mut out, &mut left, &mut log_det);
        } else {
            self.transform.forward(&mut out, &mut left, &mut log_det);
        }
        (out, left, log_det)
    }

    fn round_trip(&self) {
        let (z, _, there) = self.run(false, &self.values, &self.parameters);
        let (x, _, back) = self.run(true, &z, &self.parameters);
        for (a, b) in self.values.iter().zip(&x) {
            assert!((a - b).abs() < 1e-9 * (1.0 + a.abs()), "{a} came back as {b}");
        }
        for (a, b) in there.iter().zip(&back) {
            assert!((a + b).abs() < 1e-9, "log-determinants {a} and {b} should cancel");
        }
    }

    fn slopes(&self) {
        let step = 1e-6;
        let moved = |by: f64| {
            let values: Vec<f64> = self.values.iter().map(|v| v + by).collect();
            self.run(false, &values, &self.parameters).0
        };
        let (above, below) = (moved(step), moved(-step));
        let (_, _, log_det) = self.run(false, &self.values, &self.parameters);
        let features = self.values.len() / log_det.len();
        for (row, &got) in log_det.iter().enumerate() {
            let range = row * features..(row + 1) * features;
            let want: f64 = range.map(|i| ((above[i] - below[i]) / (2.0 * step)).ln()).sum();
            assert!(
                (got - want).abs() < 1e-6 * (1.0 + want.abs()),
                "log slope {got}, numerically {want}"
            );
        }
    }

    fn products(&self, inverse: bool) {
        let (out, mut by_parameter, _) = self.run(inverse, &self.values, &self.parameters);
        let mut by_input = self.by_value.clone();
        if inverse {
            self.transform.inverse_vjp(&out, &mut by_parameter, &mut by_input, &self.by_log);
        } else {
            self.transform.forward_vjp(
                &self.values,
                &mut by_parameter,
                &mut by_input,
                &self.by_log,
            );
        }
        let loss = |values: &[f64], parameters: &[f64]| -> f64 {
            let (out, _, log_det) = self.run(inverse, values, parameters);
            dot(&out, &self.by_value) + dot(&log_det, &self.by_log)
        };
        let step = 1e-6;
        let close = |what: &str, i: usize, got: f64, above: f64, below: f64| {
            let want = (above - below) / (2.0 * step);
            assert!(
                (got - want).abs() < 1e-6 * (1.0 + want.abs()),
                "inverse: {inverse}; gradient by {what} {i} is {got}, numerically {want}"
            );
        };
        for i in 0..self.values.len() {
            let at = |by: f64| {
                let mut values = self.values.clone();
                values[i] += by;
                loss(&values, &self.parameters)
            };
            close("value", i, by_input[i], at(step), at(-step));
        }
        for i in 0..self.parameters.len() {
            let at = |by: f64| {
                let mut parameters = self.parameters.clone();
                parameters[i] += by;
                loss(&self.values, &parameters)
            };
            close("parameter", i, by_parameter[i], at(step), at(-step));
        }
    }
}
