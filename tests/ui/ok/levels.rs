//! Multi-scale parts.

use flow_core::prelude::*;

flow! {
    /// Halves.
    pub struct Halves: Vector<8> {
        multiscale 3 {
            actnorm;
            affine_coupling(net = mlp([8], relu, zero_init = false));
        }
        'after: linear(lu);
    }

    /// Thirds of an image's channels.
    pub struct Thirds: Image<6, 2, 2> {
        'levels: multiscale 2 (keep = 1/3) {
            actnorm;
            permute(reverse);
        }
    }
}

#[test]
fn levels_have_shapes_of_their_own() {
    let data = crate::normal::<8>(16);
    let mut flow = Halves::<f64>::build(&crate::cpu(), 1).expect("a flow");
    flow.initialize(data.clone()).expect("a first batch");
    crate::round_trip(&flow, data, 1e-6);
    let sizes: Vec<usize> = flow
        .parameters()
        .filter(|parameter| parameter.name.ends_with(".0.log_scale"))
        .map(|parameter| parameter.values.len())
        .collect();
    assert_eq!(sizes, [8, 4, 2]);
    let images = Thirds::<f64>::build(&crate::cpu(), 1).expect("a flow");
    let names: Vec<&str> = images.parameters().map(|parameter| parameter.name).collect();
    assert_eq!(names[0], "levels.0.0.log_scale");
    assert_eq!(names[2], "levels.1.0.log_scale");
}
