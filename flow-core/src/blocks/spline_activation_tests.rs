use super::*;
use crate::engine::Direction;
use crate::testing::{check_laws, single, Make};
use crate::Noise;

struct Published;
impl<const D: usize> Make<D, 0> for Published {
    type Block = SplineActivation;
    fn make(b: &mut Builder<f64>) -> Result<SplineActivation> {
        SplineActivation::new(b, Shape::vector(D), 16, (0.0, 1.0), None)
    }
}

struct Steep;
impl<const D: usize> Make<D, 0> for Steep {
    type Block = SplineActivation;
    fn make(b: &mut Builder<f64>) -> Result<SplineActivation> {
        SplineActivation::new(b, Shape::vector(D), 2, (0.5, 3.0), Some(1.0))
    }
}

struct Images;
impl Make<12, 0> for Images {
    type Block = SplineActivation;
    fn make(b: &mut Builder<f64>) -> Result<SplineActivation> {
        SplineActivation::new(b, Shape::image(2, 2, 3), 3, (0.1, 0.9), Some(0.6))
    }
}

#[test]
fn laws_hold() {
    check_laws::<Published, 1, 0>();
    check_laws::<Published, 3, 0>();
    check_laws::<Steep, 1, 0>();
    check_laws::<Steep, 5, 0>();
    check_laws::<Images, 12, 0>();
}

/// Equations 27 to 32, then 16, as they stand in the paper.
fn oracle(x: f64, [widths, heights, slopes]: [&[f64]; 3], w: f64, (low, high): (f64, f64)) -> f64 {
    let limited = |raw: f64| low + (high - low) / (1.0 + (-raw).exp());
    let sum: f64 = widths.iter().map(|v| v.exp()).sum();
    let b_x: Vec<f64> = widths.iter().map(|v| v.exp() / sum).collect();
    let b_y: Vec<f64> = b_x.iter().zip(heights).map(|(b, &h)| limited(h) * b).collect();
    let cumulative = |b: &[f64], i: usize| b[..=i].iter().sum::<f64>();
    let all: f64 = b_y.iter().sum();
    let xs: Vec<f64> = (0..b_x.len()).map(|i| (2.0 * cumulative(&b_x, i) - 1.0) * w).collect();
    let ys: Vec<f64> = (0..b_x.len()).map(|i| (2.0 * cumulative(&b_y, i) - all) * w).collect();
    let alphas: Vec<f64> = slopes.iter().map(|&raw| limited(raw)).collect();
    let last = xs.len() - 1;
    if x < xs[0] {
        return ys[0] + alphas[0] * (x - xs[0]);
    }
    if x >= xs[last] {
        return ys[last] + alphas[last] * (x - xs[last]);
    }
    let i = (0..last).find(|&i| x < xs[i + 1]).unwrap();
    let (width, height) = (xs[i + 1] - xs[i], ys[i + 1] - ys[i]);
    let (delta, xi) = (height / width, (x - xs[i]) / width);
    let rho = alphas[i + 1] + alphas[i] - 2.0 * delta;
    let rise = height * (delta * xi * xi + alphas[i] * xi * (1.0 - xi));
    ys[i] + rise / (delta + rho * xi * (1.0 - xi))
}

#[test]
fn it_is_the_function_of_the_paper() {
    let (low, high) = (0.5, 3.0);
    let mut machine = single::<Steep, 2, 0>();
    let noise = Noise::seed(3);
    machine
        .step(|p| p.iter_mut().enumerate().for_each(|(i, p)| *p += noise.normal(i as u64)))
        .unwrap();
    let p = machine.state().values.parameters.clone();
    for step in -60..=60 {
        let x = [0.17 * f64::from(step), 0.1 - 0.13 * f64::from(step)];
        let mut z = x;
        machine.run(Direction::Forward, &mut z, &[], None).unwrap();
        for feature in 0..2 {
            let part = |of: usize| &p[of * 6 + feature * 3..of * 6 + feature * 3 + 3];
            let want =
                oracle(x[feature], [part(0), part(1), part(2)], p[18 + feature], (low, high));
            assert!((z[feature] - want).abs() < 1e-13, "{x:?}: {z:?}, expected {want}");
        }
    }
}

#[test]
fn the_start_is_a_line_of_slope_beta() {
    fn line(slopes: (f64, f64), beta: Option<f64>, want: f64) {
        let mut b = Builder::<f64>::new(0);
        let shape = Shape::vector(1);
        let block = SplineActivation::new(&mut b, shape, 16, slopes, beta).unwrap();
        let (_, mut state) = b.finish();
        let crate::State { values, derived, .. } = &mut state;
        block.prepare(values, derived).unwrap();
        let knots = block.of(block.knots.of(derived), 0);
        for x in [-7.0, -2.9, -1.0, 0.3, 2.0, 2.99, 5.0] {
            let (z, log_slope) = knots.forward(x);
            // The knots run from one bin's width right of -extent to extent, and the image's middle
            // is 0.
            let (first, last) = (knots.x[0], knots.x[16]);
            assert!((last - 3.0).abs() < 1e-12 && (first + 3.0 - 6.0 / 17.0).abs() < 1e-12);
            assert!((z - want * x).abs() < 1e-12, "{x}: {z}, expected {}", want * x);
            assert!((log_slope - want.ln()).abs() < 1e-12);
        }
    }
    line((0.0, 1.0), Some(0.5), 0.5);
    line((0.0, 1.0), None, 0.999);
    line((0.0, 1.0), Some(1.0), 0.999);
    line((0.5, 3.0), None, 1.0);
    line((0.5, 2.5), Some(0.5), 0.502);
    line((0.1, 0.9), None, 0.8992);
}

#[test]
fn slopes_stay_within_the_stated_bounds() {
    let machine = single::<Steep, 1, 0>();
    let facts = Block::<f64>::facts(&machine.blocks().0);
    let noise = Noise::seed(9);
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    for trial in 0..200 {
        let mut machine = machine.clone();
        let noise = noise.at(trial);
        // Large numbers bring slopes to their limits.
        let by = |i: usize| 8.0 * noise.normal(i as u64).signum();
        machine.step(|p| p[..9].iter_mut().enumerate().for_each(|(i, p)| *p = by(i))).unwrap();
        let mut x: Vec<f64> = (-100..100).map(|i| 0.04 * f64::from(i)).collect();
        let (log_det, _) = machine.run(Direction::Forward, &mut x, &[], None).unwrap();
        for slope in log_det.iter().map(|l| l.exp()) {
            (least, most) = (least.min(slope), most.max(slope));
        }
    }
    assert!(most <= facts.forward && least >= 1.0 / facts.inverse, "{least} to {most}");
    assert!(most > 3.01 && least < 0.49, "beyond the knots' own limits: {least} to {most}");
}

#[test]
fn a_step_leaves_the_extent_positive() {
    let mut machine = single::<Published, 3, 0>();
    let extent = machine.layout().find("0.extent").unwrap().range.clone();
    machine.step(|p| p[extent.clone()].copy_from_slice(&[-5.0, 0.0, 2.0])).unwrap();
    assert_eq!(machine.state().values.parameters[extent.clone()], [1e-3, 1e-3, 2.0]);
    let set = machine.change(|values| {
        values.parameters[extent.start + 1] = -1.0;
        Ok(())
    });
    let error = set.unwrap_err().to_string();
    let want = "spline_activation at 0: the extent of feature 1 is -1, expected a number above 0";
    assert!(error.starts_with(want), "{error}");
    assert_eq!(machine.state().values.parameters[extent], [1e-3, 1e-3, 2.0]);
}

#[test]
fn extreme_weights_leave_it_invertible() {
    for raw in [-60.0, 60.0] {
        let mut machine = single::<Published, 1, 0>();
        machine.step(|p| p[..34].iter_mut().step_by(3).for_each(|v| *v = raw)).unwrap();
        for x in [-4.0, -2.0, -0.1, 0.0, 1.0, 2.5, 3.0, 9.0] {
            let mut z = [x];
            let (log_det, _) = machine.run(Direction::Forward, &mut z, &[], None).unwrap();
            machine.run(Direction::Inverse, &mut z, &[], None).unwrap();
            assert!(log_det[0].is_finite() && z[0].is_finite(), "{raw}, {x}: {log_det:?} {z:?}");
            let allowed = 1e-14 * 10.0 * (-log_det[0]).exp().max(1.0);
            assert!((z[0] - x).abs() < allowed, "{raw}: {x} became {z:?}");
        }
    }
}

#[test]
fn nan_spreads() {
    let mut machine = single::<Published, 1, 0>();
    machine.step(|p| p.fill(f64::NAN)).unwrap();
    for direction in [Direction::Forward, Direction::Inverse] {
        let mut x = [0.5];
        machine.run(direction, &mut x, &[], None).unwrap();
        assert!(x[0].is_nan());
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let error = |bins, slopes, beta| {
        let mut b = Builder::<f32>::new(0);
        let made = SplineActivation::new(&mut b, Shape::vector(2), bins, slopes, beta);
        made.unwrap_err().to_string()
    };
    assert_eq!(error(1, (0.0, 1.0), None), "bins is 1, expected at least 2");
    for slopes in [(1.0, 0.5), (-0.1, 1.0), (0.0, f64::INFINITY), (f64::NAN, 1.0)] {
        assert!(error(4, slopes, None).ends_with("two growing numbers of at least 0"));
    }
    let text = error(4, (0.6, 1.0), Some(0.5));
    assert_eq!(text, "beta is 0.5, expected a number above 0 and between the slopes 0.6 and 1");
    assert!(error(4, (0.0, 1.0), Some(0.0)).starts_with("beta is 0,"));
}
