use super::*;
use crate::engine::Direction;
use crate::testing::{check_forward_laws, single, Make};

struct Of<const RANK: usize>;
impl<const RANK: usize, const D: usize> Make<D, 0> for Of<RANK> {
    type Block = Sylvester;
    fn make(b: &mut Builder<f64>) -> Result<Sylvester> {
        Sylvester::new(b, Shape::vector(D), RANK)
    }
}

#[test]
fn laws_hold() {
    check_forward_laws::<Of<1>, 1, 0>();
    check_forward_laws::<Of<1>, 4, 0>();
    check_forward_laws::<Of<2>, 5, 0>();
    check_forward_laws::<Of<3>, 3, 0>();
}

#[test]
fn it_starts_as_the_identity() {
    let machine = single::<Of<2>, 3, 0>();
    let mut x = [1.0, -2.0, 0.3];
    let (log_det, _) = machine.run(Direction::Forward, &mut x, &[], None).unwrap();
    assert!(x == [1.0, -2.0, 0.3] && log_det[0].abs() < 1e-15, "{x:?} {log_det:?}");
}

#[test]
fn what_is_not_read_does_not_matter() {
    let mut machine = single::<Of<3>, 4, 0>();
    let outer = machine.layout().find("0.outer").unwrap().range.start;
    machine.step(|p| p[outer..outer + 18].fill(0.5)).unwrap();
    let run = |machine: &crate::engine::Machine<_, f64>| {
        let mut x = [1.0, -2.0, 0.3, 0.7];
        machine.run(Direction::Forward, &mut x, &[], None).unwrap();
        x
    };
    let before = run(&machine);
    // Below the diagonals of both.
    machine.step(|p| [3, 6, 7, 12, 15, 16].map(|i| p[outer + i] = 9.0).fill(())).unwrap();
    assert_eq!(run(&machine), before);
}

#[test]
fn no_weights_make_it_fold() {
    for (a, b) in [(30.0, -30.0), (-300.0, 300.0), (1.0, -80.0_f64)] {
        assert!(kappa(a, b) > 0.0 && kappa(a, b) < 2.0, "{}", kappa(a, b));
    }
    assert!((kappa(0.3, -0.8) - (1.0 + 0.3_f64.tanh() * (-0.8_f64).tanh())).abs() < 1e-15);
    assert!((kappa(20.0, -20.0) / (4.0 * (-40_f64).exp()) - 1.0).abs() < 1e-12);
}

#[test]
fn a_rank_above_the_features_is_refused() {
    for rank in [0, 4] {
        let made = Sylvester::new(&mut Builder::<f32>::new(0), Shape::vector(3), rank);
        let text = made.unwrap_err().to_string();
        assert_eq!(text, format!("rank is {rank}, expected 1 to 3, the features"));
    }
}
