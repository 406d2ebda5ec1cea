//! Flows and parameters whose names generated code would have taken for its own.

use flow_core::prelude::*;

flow! {
    /// The name of the device's parameter.
    pub struct B<const E2: usize, const V: usize>: Vector<E2> {
        'x: repeat V {
            'pass: actnorm;
            'log_det: permute(reverse);
        }
        '_scalar: linear(diagonal);
    }

    /// The name of the scalar's.
    pub struct E: Vector<2> {
        use B<2, 3>;
    }

    /// The name of the outer scalar's.
    pub struct F: Vector<2> {
        use E;
        use B<2, 1>;
    }
}

/// Parameters.
pub mod parameters {
    use flow_core::prelude::*;

    flow! {
        /// The same as parameters.
        pub struct G<const E: usize, const B: usize, const F: usize>: Vector<E> given Vector<F> {
            repeat B {
                actnorm;
            }
        }
    }
}

#[test]
fn names_do_not_meet() {
    let flow = F::<f64>::build(&crate::cpu(), 1).expect("a flow");
    let names: Vec<&str> = flow.parameters().map(|parameter| parameter.name).collect();
    assert_eq!(names[0], "0.0.x.0.pass.log_scale");
    assert_eq!(names.last(), Some(&"1._scalar.log_scale"));
    let flow = parameters::G::<2, 3, 1, f64>::build(&crate::cpu(), 1).expect("a flow");
    assert_eq!(flow.parameters().count(), 6);
}
