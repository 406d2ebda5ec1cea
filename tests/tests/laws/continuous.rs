//! Continuous blocks: solvers, whose inverse and log-determinant hold to their order.

use flow_core::prelude::*;
use flow_tests::weights::drawn;
use flow_tests::{numeric, Conditioned, Direction, Free, Output, Subject};

macro_rules! solver_laws {
    ($($test:ident $(given $context:literal)?: { $($source:tt)* })*) => {$(
        mod $test {
            use super::*;

            flow! { struct Row: $($source)* }

            #[test]
            fn laws_hold() {
                let flow = Row::<f64>::build(&dfdx::prelude::Cpu::default(), 3).expect("a flow");
                crate::check_solver(subject!(flow $(, $context)?));
            }

            #[cfg(feature = "cuda-emulation")]
            #[test]
            fn on_a_gpu() {
                let cpu = dfdx::prelude::Cpu::default();
                let flow = Row::<f32>::build(&cpu, 3).expect("a flow");
                let inputs = [Direction::Forward, Direction::Inverse].map(|way| (way, crate::bend!()));
                crate::device::check(module_path!(), subject!(flow $(, $context)?), &inputs);
            }
        }
    )*};
}

solver_laws! {
    rk4: { Vector<3> { ode(net = mlp([6, 5], tanh), solver = rk4(4)); } }
    rk4_one_feature: { Vector<1> { ode(net = mlp([5], swish), time = 0.7, solver = rk4(3)); } }
    rk4_given given 2: {
        Vector<2> given Vector<2> { ode(net = mlp([5], softplus), time = 2.0, solver = rk4(3)); }
    }
    rk4_lipschitz: {
        Vector<3> { ode(net = mlp([6], elu, lipschitz = 0.8), time = 1.2, solver = rk4(4)); }
    }
    resnet given 1: {
        Vector<2> given Vector<1> {
            ode(net = resnet(blocks = 2, hidden = 4, tanh), solver = rk4(2));
        }
    }
    hutchinson: {
        Vector<4> { ode(net = mlp([6], gelu), solver = rk4(2), trace = hutchinson); }
    }
    dopri5: {
        Vector<2> { ode(net = mlp([6], swish), solver = dopri5(1e-11), trace = hutchinson); }
    }
    dopri5_given given 1: {
        Vector<3> given Vector<1> {
            actnorm;
            ode(net = mlp([5], tanh), time = 0.2, solver = dopri5(1e-11));
        }
    }
    on_images: {
        Image<2, 2, 3> { ode(net = conv([3, 1], hidden = 4, tanh), solver = rk4(2)); }
    }
    on_images_given given 1: {
        Image<1, 3, 2> given Vector<1> {
            ode(net = conv([3], hidden = 4, swish), solver = rk4(2), trace = hutchinson);
        }
    }
}

/// Errors of a solver on three rows: of the round trip, of its sum of log-determinants, and of the
/// log-determinants against the numeric Jacobian.
fn errors<D: Subject<f64>>(mut flow: D) -> [f64; 3] {
    let noise = Noise::seed(4);
    let normal = |name: &str, len: usize| drawn(&noise.named(name), len);
    let (x, context) = (normal("x", 3 * D::SIZE), normal("context", 3 * D::CONTEXT));
    for (name, mut values) in flow.flow().parameters() {
        let by = normal(&name, values.len());
        values.iter_mut().zip(by).for_each(|(v, by)| *v += 0.4 * by);
        flow.set(&name, &values);
    }
    let forward = |x: &[f64]| flow.run(Direction::Forward, x, &context);
    let Output { rows: z, log_det } = forward(&x);
    let back = flow.run(Direction::Inverse, &z, &context);
    let most =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let negated: Vec<f64> = back.log_det.iter().map(|l| -l).collect();
    let d = D::SIZE;
    let mut jacobians = vec![numeric::Matrix::zeros(d); 3];
    for j in 0..d {
        let column = numeric::slope(|by| {
            let mut moved = x.clone();
            moved.iter_mut().skip(j).step_by(d).for_each(|v| *v += by);
            forward(&moved).rows
        });
        for (row, jacobian) in jacobians.iter_mut().enumerate() {
            (0..d).for_each(|i| jacobian[(i, j)] = column[row * d + i]);
        }
    }
    let numeric: Vec<f64> = jacobians.iter().map(numeric::Matrix::log_abs_det).collect();
    [most(&x, &back.rows), most(&log_det, &negated), most(&log_det, &numeric)]
}

#[test]
fn errors_of_rk4_fall_with_the_fourth_power() {
    flow! {
        struct Few: Vector<3> given Vector<2> { ode(net = mlp([6], tanh), solver = rk4(4)); }
        struct Many: Vector<3> given Vector<2> { ode(net = mlp([6], tanh), solver = rk4(8)); }
    }
    let cpu = dfdx::prelude::Cpu::default();
    let few = Few::<f64>::build(&cpu, 3).unwrap();
    let many = Many::<f64>::build(&cpu, 3).unwrap();
    let few = errors(Conditioned::<_, _, 2>((*few).clone()));
    let many = errors(Conditioned::<_, _, 2>((*many).clone()));
    for (few, many) in few.into_iter().zip(many) {
        // 16, or 32 where the leading terms there and back cancel.
        assert!(many > 1e-10, "{many:e} is rounding");
        assert!((10.0..40.0).contains(&(few / many)), "{few:e} became {many:e}");
    }
}

#[test]
fn errors_of_dopri5_are_of_its_tolerance() {
    flow! {
        struct Coarse: Vector<3> { ode(net = mlp([6], tanh), solver = dopri5(1e-4)); }
        struct Fine: Vector<3> { ode(net = mlp([6], tanh), solver = dopri5(1e-9)); }
    }
    let cpu = dfdx::prelude::Cpu::default();
    let coarse = Coarse::<f64>::build(&cpu, 3).unwrap();
    let fine = Fine::<f64>::build(&cpu, 3).unwrap();
    let coarse = errors(Free((*coarse).clone()));
    let fine = errors(Free((*fine).clone()));
    for (coarse, fine) in coarse.into_iter().zip(fine) {
        assert!(coarse < 20.0 * 1e-4 && fine < 20.0 * 1e-9, "{coarse:e}, {fine:e}");
        assert!(fine < 0.01 * coarse, "{coarse:e} became {fine:e}");
    }
}
