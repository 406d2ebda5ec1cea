//! Repeats in repeats, labels, and the names of parameters.

use flow_core::prelude::*;

flow! {
    /// Labels, keywords among them.
    #[derive(Clone, Debug)]
    pub struct Nested: Vector<4> {
        'scale: actnorm;
        'steps: repeat 3 {
            affine_coupling(net = mlp([8], relu));
            'inner: repeat 2 {
                'type: linear(diagonal);
                actnorm;
            }
        }
        additive_coupling(net = mlp([], relu));
    }
}

#[test]
fn names_follow_labels_positions_and_iterations() {
    let flow = Nested::<f32>::build(&crate::cpu(), 1).expect("a flow").clone();
    let names: Vec<&str> = flow.parameters().map(|parameter| parameter.name).collect();
    for name in [
        "scale.log_scale",
        "steps.0.0.net.0.weight",
        "steps.2.inner.1.type.log_scale",
        "steps.2.inner.1.1.shift",
        "2.net.0.bias",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert!(format!("{flow:?}").contains("Nested"));
}

#[test]
fn summaries_count_iterations() {
    use flow_core::Architecture;
    let items = <NestedBlocks<f32> as Architecture<f32>>::ITEMS;
    let lines: Vec<(&str, usize)> = items.iter().map(|item| (item.path, item.count)).collect();
    let steps = [("scale", 1), ("steps.*.0", 3), ("steps.*.inner.*.type", 6)];
    assert_eq!(lines[..3], steps);
    assert_eq!(lines[3..], [("steps.*.inner.*.1", 6), ("2", 1)]);
}
