use super::super::curves::{LeakyRelu, Logit, Scale, Tanh};
use super::*;
use crate::engine::Direction;
use crate::testing::{check_laws, single, Make};
use crate::{LogDet, Memory};

/// A block that a type can carry.
macro_rules! make {
    ($name:ident, $kind:ty, $curve:expr) => {
        struct $name;
        impl<const D: usize> Make<D, 0> for $name {
            type Block = Elementwise<$kind>;
            fn make(b: &mut Builder<f64>) -> Result<Self::Block> {
                Elementwise::new(b, Shape::image(D, 1, 1), $curve)
            }
        }
    };
}

make!(Leaky, LeakyRelu, LeakyRelu { slope: 0.2 });
make!(Scaled, Scale, Scale { factor: -1.5 });
make!(Squashed, Tanh, Tanh);
make!(Pixels, Logit, Logit { alpha: 0.0 });

#[test]
fn laws_hold() {
    check_laws::<Leaky, 1, 0>();
    check_laws::<Leaky, 5, 0>();
    check_laws::<Scaled, 1, 0>();
    check_laws::<Scaled, 5, 0>();
}

#[test]
fn a_row_outside_the_domain_has_density_0_and_no_gradient() {
    let machine = single::<Pixels, 2, 0>();
    let mut x = [0.5, 0.25, 0.5, 1.5, -0.5, 0.75, 0.0, 1.0];
    let keep = Some(Memory::Stored);
    let (log_prob, kept) = machine.run(Direction::LogProb, &mut x, &[], keep).unwrap();
    assert!(log_prob[0].is_finite());
    assert_eq!(log_prob[1..], [f64::NEG_INFINITY; 3]);
    assert!(x.iter().all(|z| z.is_finite()), "{x:?}");
    let mut gradient = [0.0; 8];
    let kept = kept.unwrap();
    machine.vjp(Direction::LogProb, kept, &mut gradient, &[1.0; 4], &[]).unwrap();
    assert_eq!([gradient[3], gradient[4], gradient[6], gradient[7]], [0.0; 4]);
    assert!(gradient.iter().all(|g| g.is_finite()) && gradient[1] != 0.0);
}

#[test]
fn a_latent_outside_the_image_is_named() {
    let machine = single::<Squashed, 3, 0>();
    // More rows than one group takes: the row is that of the batch.
    let mut z = vec![0.5; 40 * 3];
    z[31 * 3 + 1] = 1.5;
    let error = machine.run(Direction::Inverse, &mut z, &[], None).err().unwrap();
    let want = "tanh at 0: row 31 holds 1.5 in entry 1, expected numbers from -1 to 1\nhelp: ";
    assert!(error.to_string().starts_with(want), "{error}");
}

#[test]
fn a_scale_has_the_log_determinant_of_its_shape() {
    let facts = |factor| {
        let mut b = Builder::<f64>::new(0);
        let block = Elementwise::new(&mut b, Shape::image(1, 2, 3), Scale { factor }).unwrap();
        Block::<f64>::facts(&block).log_det
    };
    assert_eq!((facts(-1.0), facts(2.0)), (LogDet::Zero, LogDet::Constant));
    let machine = single::<Scaled, 4, 0>();
    let (log_det, _) = machine.run(Direction::Forward, &mut [1.0; 4], &[], None).unwrap();
    assert!((log_det[0] - 4.0 * 1.5_f64.ln()).abs() < 1e-15);
}
