//! What has no runtime yet.

use super::{analyse, landed_case};

#[test]
fn blocks_and_options_without_a_runtime() {
    const VECTORS: &str = "what runs on vectors is `standardize`, `actnorm`, `permute`, `linear`, `additive_coupling`, `affine_coupling`, `spline_coupling`, `masked_autoregressive` and `inverse_autoregressive`";
    const IMAGES: &str = "what runs on images is `standardize`, `actnorm` and `permute`";
    landed_case(
        "struct A: Vector<3> { «residual»(lipschitz = 0.9, net = mlp([8], relu)); }",
        "`residual` has no runtime in this version yet",
        VECTORS,
    );
    landed_case(
        "struct A: Image<3, 4, 4> { actnorm; «squeeze»(2); }",
        "`squeeze` has no runtime in this version yet",
        IMAGES,
    );
    landed_case(
        "struct A: Image<4, 4, 4> { «affine_coupling»(net = conv([3], hidden = 8, relu)); }",
        "`affine_coupling` has no runtime on images in this version yet",
        IMAGES,
    );
    landed_case(
        "struct A: Vector<3> { linear(«svd»); }",
        "`svd` has no runtime in this version yet",
        "what runs is `lu`, `orthogonal` and `diagonal`",
    );
    landed_case(
        "struct A: Vector<3> { affine_coupling(scale = «mexican_hat(3)», net = mlp([8], relu)); }",
        "`mexican_hat` has no runtime in this version yet",
        "what runs is `exp`, `tanh` and `sigmoid`",
    );
    landed_case(
        "struct A: Vector<3> { affine_coupling(net = «resnet»(blocks = 2, hidden = 8, relu)); }",
        "`resnet` has no runtime in this version yet",
        "the nets that run are `mlp` and `use Path`",
    );
    landed_case(
        "struct A: Vector<3> { affine_coupling(net = mlp([8], relu, weight_norm = «true»)); }",
        "`weight_norm` has no runtime in this version yet",
        "leave it out",
    );
}

#[test]
fn other_errors_come_first() {
    let (_, problems) = analyse("struct A: Vector<3> { planar; actnrm; }", true);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].message, "unknown block `actnrm`");
}
