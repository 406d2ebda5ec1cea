//! Attributes, visibility, and flow-core under another name.

/// Where another crate might keep flow-core.
mod renamed {
    pub(crate) use flow_core as flow;
}

use flow_core::flow;

flow! {
    /// First line.
    ///
    /// Second paragraph.
    #[derive(Clone, Debug)]
    #[must_use]
    #[allow(dead_code)]
    #[base(logistic)]
    #[flow(crate = crate::attributes::renamed::flow)]
    pub(crate) struct Renamed: Vector<2> {
        actnorm;
        repeat 2 {
            affine_coupling(net = mlp([4], relu));
            affine_coupling(net = mlp([4], relu));
        }
    }

    /// Not compiled.
    #[cfg(any())]
    struct Absent: Vector<2> {
        use Nothing;
    }

    /// Its base is one of the four.
    #[base(uniform)]
    struct r#Private: Vector<2> {
        permute(reverse);
    }
}

/// In a function, out of reach of the module's names.
#[test]
fn a_flow_can_stand_in_a_function() {
    flow! {
        /// Local.
        struct Local: Vector<2> {
            linear(lu);
        }
    }
    let flow = Local::<f32>::build(&crate::cpu(), 3).expect("a flow");
    assert_eq!(flow.parameters().count(), 3);
}

#[test]
fn attributes_pass_through() {
    let flow = Renamed::<f64>::build(&crate::cpu(), 3).expect("a flow").clone();
    assert!(format!("{flow:?}").contains("Renamed"));
    crate::round_trip(
        &r#Private::<f64>::build(&crate::cpu(), 3).expect("a flow"),
        crate::normal(3),
        1e-12,
    );
}
