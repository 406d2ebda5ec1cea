use dfdx::prelude::{Const, TensorFrom, TensorFromVec};

use super::super::testing::*;
use super::super::Objectives;
use super::FiniteDifferences;
use crate::prelude::*;
use crate::train::Step;

/// Equation 6 row by row, with both inverses computed.
fn oracle<F>(flow: &F, rows: &Rows<f64>, step: &Step, epsilon: f64) -> f64
where
    F: Fn(&[f64], bool) -> Vec<f64>,
{
    let d = rows.width();
    let mut sum = 0.0;
    for (i, x) in rows.values().chunks_exact(d).enumerate() {
        let away = |from: &[f64], name: &str| -> Vec<f64> {
            let noise = step.noise(name);
            let v: Vec<f64> = (0..d).map(|j| noise.normal((i * d + j) as u64)).collect();
            let length = v.iter().map(|v| v.powi(2)).sum::<f64>().sqrt();
            from.iter().zip(&v).map(|(x, v)| x + epsilon * v / length).collect()
        };
        let apart = |a: &[f64], b: &[f64]| -> f64 {
            a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / epsilon.powi(2)
        };
        let z = flow(x, false);
        sum += apart(&flow(&away(x, "forward directions"), false), &z);
        sum += apart(&flow(&away(&z, "inverse directions"), true), &flow(&z, true));
    }
    sum / rows.len() as f64
}

fn run_plane(flow: &crate::Flow<PlaneBlocks, f64>, row: &[f64], back: bool) -> Vec<f64> {
    let x = cpu().tensor_from_vec(row.to_vec(), (1, Const::<2>));
    if back { flow.inverse(x).unwrap().0 } else { flow.forward(x).unwrap().0 }.as_vec()
}

type PlaneBlocks = <Plane<f64> as NormalizingFlow>::Architecture;

#[test]
fn value_and_gradient_are_those_of_the_equation() {
    let (flow, rows, step) = (Plane::<f64>::build(&cpu(), 3).unwrap(), rows(5, 2), step(4));
    for epsilon in [0.1, 1e-3] {
        let objective = FiniteDifferences::new(epsilon).unwrap();
        let objectives = Objectives::new().plus(1.0, objective);
        let x = rows.x::<Vector<2>>().unwrap();
        let (value, gradient) = loss(&objectives, &flow, &*flow, x, &step);
        let slow = |flow: &crate::Flow<PlaneBlocks, f64>| {
            oracle(&|x: &[f64], back| run_plane(flow, x, back), &rows, &step, epsilon)
        };
        let expected = slow(&flow);
        assert!((value - expected).abs() < 1e-9 * expected, "{value} for {expected}");
        assert_close(&gradient, &numeric(&flow, slow), 1e-6 / epsilon.sqrt());
    }
}

#[test]
fn a_conditional_flow_keeps_its_context_in_all_passes() {
    let mut flow = Steered::<f64>::build(&cpu(), 1).unwrap();
    let (rows, step) = (rows(4, 3), step(0));
    let context = || cpu().tensor([[0.3, -1.0], [1.0, 2.0], [-0.4, 0.1], [0.0, 0.7]]);
    flow.initialize_given(rows.x::<Vector<3>>().unwrap(), context()).unwrap();
    let objectives = Objectives::new().plus(2.0, FiniteDifferences::default());
    let at = |flow: &crate::Flow<_, f64>| {
        let x = rows.x::<Vector<3>>().unwrap();
        loss(&objectives, flow, &flow.given(context()), x, &step)
    };
    let (value, gradient) = at(&flow);
    assert!(value > 0.0);
    assert_close(&gradient, &numeric(&flow, |flow| at(flow).0), 1e-6);
}

#[test]
fn an_image_may_become_a_vector() {
    let (flow, rows, step) = (Picture::<f64>::build(&cpu(), 1).unwrap(), rows(3, 8), step(0));
    let objectives = Objectives::new().plus(1.0, FiniteDifferences::default());
    let at = |flow: &crate::Flow<_, f64>| {
        let x = rows.x::<Image<1, 2, 4>>().unwrap();
        loss(&objectives, flow, flow, x, &step)
    };
    assert_close(&at(&flow).1, &numeric(&flow, |flow| at(flow).0), 1e-6);
}

/// On average over directions it is ‖J‖_F²/d + ‖J⁻¹‖_F²/d, here of a map without curvature.
#[test]
fn on_average_it_is_the_squares_of_the_singular_values() {
    let x = || rows(4000, 3).x::<Vector<3>>().unwrap();
    let objective = FiniteDifferences::default();
    let turn = Turn::<f64>::build(&cpu(), 0).unwrap();
    let (value, _) = loss(&Objectives::new().plus(1.0, objective), &turn, &*turn, x(), &step(0));
    assert!((value - 2.0).abs() < 1e-12, "{value}");

    let mut stretch = Stretch::<f64>::build(&cpu(), 0).unwrap();
    let scales = [0.5_f64, 1.0, 3.0];
    stretch.set("0.log_scale", &scales.map(f64::ln)).unwrap();
    let expected: f64 = scales.iter().map(|s| (s * s + 1.0 / (s * s)) / 3.0).sum();
    let objectives = Objectives::new().plus(1.0, objective);
    let (value, _) = loss(&objectives, &stretch, &*stretch, x(), &step(0));
    assert!((value / expected - 1.0).abs() < 0.03, "{value} for {expected}");
    let (other, _) = loss(&objectives, &stretch, &*stretch, x(), &step(1));
    assert_ne!(value, other, "each step has directions of its own");
}

#[test]
fn a_way_must_have_a_length() {
    for epsilon in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = FiniteDifferences::new(epsilon).unwrap_err().to_string();
        assert!(error.starts_with("the epsilon of finite differences is"), "{error}");
    }
}
