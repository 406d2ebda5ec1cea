use super::*;
use crate::engine::Direction;
use crate::testing::{check_forward_laws, single, Make};

struct Vectors;
impl<const D: usize> Make<D, 0> for Vectors {
    type Block = Radial;
    fn make(b: &mut Builder<f64>) -> Result<Radial> {
        Radial::new(b, Shape::vector(D))
    }
}

#[test]
fn laws_hold() {
    check_forward_laws::<Vectors, 1, 0>();
    check_forward_laws::<Vectors, 2, 0>();
    check_forward_laws::<Vectors, 5, 0>();
}

#[test]
fn it_starts_as_the_identity() {
    let machine = single::<Vectors, 3, 0>();
    let mut x = [1.0, -2.0, 0.3];
    let (log_det, _) = machine.run(Direction::Forward, &mut x, &[], None).unwrap();
    assert!(log_det[0].abs() < 1e-14 && (x[1] + 2.0).abs() < 1e-14, "{x:?} {log_det:?}");
}

#[test]
fn no_weights_make_it_fold() {
    for (log_alpha, beta) in [(0.0, -30.0), (3.0, -600.0), (-20.0, 5.0), (5.0, 300.0)] {
        let mut machine = single::<Vectors, 2, 0>();
        machine.step(|p| p.copy_from_slice(&[1.0, 2.0, log_alpha, beta])).unwrap();
        for x in [[1.0, 2.0], [1.0, 2.0 + 1e-9], [0.0, 0.0], [1e200, 1.0]] {
            let (log_det, _) = machine.run(Direction::Forward, &mut { x }, &[], None).unwrap();
            assert!(log_det[0].is_finite(), "{log_alpha}, {beta}, {x:?}: {log_det:?}");
        }
    }
}

/// Beside the center slopes along the radius change faster than those across it.
#[test]
fn slopes_beside_the_center_lie_in_what_is_said_of_them() {
    let mut machine = single::<Vectors, 2, 0>();
    machine.step(|p| p.copy_from_slice(&[0.0, 0.0, 0.0, 5.0])).unwrap();
    let kappa = 5f64.exp().ln_1p();
    let sides = vec![Interval::new(0.1, 0.5), Interval::new(-1e-3, 1e-3)];
    let cell = Cell::around(sides.clone());
    let leaves = &machine.layout().leaves;
    let mut probe = Probe::new(machine.state(), leaves, false, sides, Vec::new());
    let map = machine.blocks().0.mean_value(&mut probe, &cell).unwrap().unwrap();
    for r in [0.1, 0.2, 0.3, 0.4, 0.5] {
        // x + βx/(1 + x) on the line through the center.
        let slope = 1.0 + (kappa - 1.0) / (1.0 + r) - (kappa - 1.0) * r / (1.0 + r).powi(2);
        let held = map.jacobian.entry(0, 0);
        assert!(held.contains(slope), "{slope} at {r} is not in {held:?}");
    }
}
