//! Contracts, each broken and each kept.

use super::{case, cases, valid};

fn broken(marked: &str, message: &str, help: &str) {
    case(&marked.replace("NET", "net = mlp([8], relu)"), message, help);
}

fn kept(text: &str) {
    valid(&text.replace("NET", "net = mlp([8], relu)"));
}

#[test]
fn analytic_inverse() {
    const HELP: &str = "couplings, `linear(…)`, `actnorm` and `permute(…)` invert in closed form";
    broken("#[require(analytic_inverse)] struct A: Vector<3> { actnorm; «residual»(lipschitz = 0.5, NET); }", "`residual` breaks `analytic_inverse`: its inverse is a fixed-point iteration\nnote: `#[require(analytic_inverse)]` stands on `A`", HELP);
    broken(
        "#[require(analytic_inverse)] struct A: Vector<3> { «ode»(NET); }",
        "`ode` breaks `analytic_inverse`: its inverse integrates an equation",
        HELP,
    );
    broken("#[require(analytic_inverse)] struct A: Vector<3> { repeat 3 { actnorm; repeat 2 { «planar»; } linear(lu); } }", "`planar` breaks `analytic_inverse`: its inverse has no closed form", HELP);
    kept("#[require(analytic_inverse)] struct A: Vector<3> { standardize; affine_coupling(NET); spline_coupling(NET); linear(svd); tanh; spline_activation; }");
}

#[test]
fn volume() {
    const HELP: &str = "`additive_coupling`, `permute(…)` and `linear(orthogonal)` preserve volume";
    broken("#[require(volume_preserving)] struct A: Vector<3> { repeat 4 { additive_coupling(NET); «actnorm»; permute(reverse); } }", "`actnorm` breaks `volume_preserving`: its log-determinant is constant, but not 0", HELP);
    broken(
        "#[require(volume_preserving)] struct A: Vector<4> { «affine_coupling»(NET); }",
        "`affine_coupling` breaks `volume_preserving`: its log-determinant varies with the input",
        HELP,
    );
    broken(
        "#[require(volume_preserving)] struct A: Vector<4> { scale(-1.0); «scale»(2.0); }",
        "`scale` breaks `volume_preserving`: its log-determinant is constant, but not 0",
        HELP,
    );
    kept("#[require(volume_preserving)] struct A: Vector<3> { repeat 4 { additive_coupling(NET); permute(reverse); linear(orthogonal); linear(householder(2)); } }");
    kept("#[require(volume_preserving)] struct A: Image<2, 4, 4> { squeeze(2); haar; conv1x1(orthogonal); flatten; }");
}

#[test]
fn constant_log_det() {
    const HELP: &str =
        "`additive_coupling`, `actnorm`, `linear(…)` and `permute(…)` have a constant one";
    broken(
        "#[require(constant_log_det)] struct A: Vector<3> { actnorm; «leaky_relu»(0.2); }",
        "`leaky_relu` breaks `constant_log_det`: its log-determinant varies with the input",
        HELP,
    );
    broken("#[require(constant_log_det)] struct A: Vector<4> { multiscale 2 { «spline_coupling»(NET); } }", "`spline_coupling` breaks `constant_log_det`: its log-determinant varies with the input", HELP);
    kept("#[require(constant_log_det)] struct A: Vector<3> { standardize; actnorm; linear(lu); additive_coupling(NET); scale(3.0); }");
}

#[test]
fn bi_lipschitz() {
    const HELP: &str =
        "`additive_coupling`, `residual(…)`, `actnorm` and `linear(lu)` are bi-Lipschitz";
    broken("#[require(bi_lipschitz)] struct A: Vector<3> { «affine_coupling»(scale = sigmoid(0.5, 1.0), NET); }", "`affine_coupling` breaks `bi_lipschitz`: an affine coupling has no global bound, whatever its scale (Behrmann et al. 2021, Theorem 2)", HELP);
    broken(
        "#[require(bi_lipschitz)] struct A: Vector<3> { «spline_coupling»(NET); }",
        "`spline_coupling` breaks `bi_lipschitz`: the slopes of its splines have no limit",
        HELP,
    );
    broken(
        "#[require(bi_lipschitz)] struct A: Vector<3> { «linear»(dense); }",
        "`linear` breaks `bi_lipschitz`: its matrix can become singular",
        HELP,
    );
    broken("#[require(bi_lipschitz)] struct A: Vector<3> { «additive_coupling»(net = use Mine); }", "`additive_coupling` breaks `bi_lipschitz`: nothing is known of the Lipschitz bound of its net", HELP);
    broken("#[require(bi_lipschitz)] struct A: Vector<3> { «sigmoid»; }", "`sigmoid` breaks `bi_lipschitz`: its slope tends to 0 in the tails, so that its inverse has no bound", HELP);
    broken(
        "#[require(bi_lipschitz)] struct A: Vector<3> { «logit»; }",
        "`logit` breaks `bi_lipschitz`: its slope has no limit at the ends of its domain",
        HELP,
    );
    kept("#[require(bi_lipschitz)] struct A: Vector<3> { actnorm; linear(lu); additive_coupling(NET); residual(lipschitz = 0.9, NET); ode(NET); spline_activation; planar; }");
}

#[test]
fn memory_saving() {
    const HELP: &str = "couplings, `residual(…)`, `linear(…)` and `actnorm` give their inputs back";
    broken("#[require(memory_saving)] struct A: Vector<3> { «ode»(NET); }", "`ode` breaks `memory_saving`: its solver's backward steps are not the inverse of its forward steps", HELP);
    kept("#[require(memory_saving)] struct A: Vector<3> { residual(lipschitz = 0.9, NET); affine_coupling(NET); }");
}

#[test]
fn blocks_without_an_architectural_bound() {
    const SOME: &str = "`additive_coupling` with `lipschitz = c` on its net, `residual(…)` and `linear(orthogonal)` have one";
    broken("#[require(lipschitz(forward <= 10))] struct A: Vector<3> { «actnorm»; }", "`actnorm` has no forward bound that holds for all weights: its learned scale has no limit\nnote: `#[require(lipschitz(forward <= 10))]` stands on `A`", SOME);
    broken(
        "#[require(lipschitz(inverse <= 10))] struct A: Vector<3> { «linear»(lu); }",
        "`linear` has no inverse bound that holds for all weights: its learned matrix has no limit",
        SOME,
    );
    broken("#[require(lipschitz(forward <= 10))] struct A: Vector<3> { «additive_coupling»(NET); }", "`additive_coupling` has no forward bound that holds for all weights: its net has no `lipschitz = c`", "write `lipschitz = 1.0` in its net");
    broken("#[require(lipschitz(inverse <= 10))] struct A: Vector<3> { tanh; repeat 2 { «sigmoid»; } }".replace("tanh; ", "").as_str(), "`sigmoid` has no inverse bound that holds for all weights: its slope tends to 0 in the tails, so that its inverse has no bound", SOME);
    cases(
        "#[require(lipschitz(forward <= 10, inverse <= 10))] struct A: Vector<3> { «standardize»; permute(reverse); }".replace("«standardize»", "««standardize»»").as_str(),
        &[
            ("`standardize` has no forward bound that holds for all weights: its scale comes from the data", SOME),
            ("`standardize` has no inverse bound that holds for all weights: its scale comes from the data", SOME),
        ],
    );
}

#[test]
fn budgets_that_are_overrun() {
    broken(
        "#[require(lipschitz(forward <= 10))] struct Net: Vector<3> { repeat 8 { «residual»(lipschitz = 0.9, NET); } }",
        "`residual` has the forward bound 1.9, which brings the product through the flow to 13.03, over the budget of 10\nnote: the whole of `Net` comes to 169.8, `#[require(lipschitz(forward <= 10))]` allows 10",
        "lower the bounds, take fewer blocks, or allow `forward <= 169.8`",
    );
    broken(
        "#[require(lipschitz(inverse <= 50))] struct Net: Vector<3> { residual(lipschitz = 0.5, NET); «residual»(lipschitz = 0.98, NET); permute(reverse); }",
        "`residual` has the inverse bound 50, which brings the product through the flow to 100, over the budget of 50",
        "lower the bounds, take fewer blocks, or allow `inverse <= 100`",
    );
    broken(
        "#[require(lipschitz(forward <= 2))] struct Net: Vector<4> { additive_coupling(net = mlp([8], relu, lipschitz = 1.0)); «additive_coupling»(net = mlp([8], relu, lipschitz = 1.0)); }",
        "`additive_coupling` has the forward bound 1.618, which brings the product through the flow to 2.618, over the budget of 2",
        "lower the bounds, take fewer blocks, or allow `forward <= 2.618`",
    );
    broken(
        "#[require(lipschitz(forward <= 10))] struct Net: Vector<4> { repeat 1000000 { permute(reverse); «residual»(lipschitz = 0.5, NET); } }",
        "`residual` has the forward bound 1.5, which brings the product through the flow to 11.39, over the budget of 10\nnote: the whole of `Net` comes to 1.82e176091, `#[require(lipschitz(forward <= 10))]` allows 10",
        "lower the bounds, take fewer blocks, or allow `forward <= 1.82e176091`",
    );
    broken(
        "#[require(lipschitz(forward <= 2))] struct Net: Vector<4> { «ode»(net = mlp([8], relu, lipschitz = 2.0), time = 0.5); }",
        "`ode` has the forward bound 2.718, which brings the product through the flow to 2.718, over the budget of 2",
        "lower the bounds, take fewer blocks, or allow `forward <= 2.718`",
    );
    broken(
        "#[require(lipschitz(inverse <= 3))] struct Net: Vector<4> { «leaky_relu»(0.25); }",
        "`leaky_relu` has the inverse bound 4, which brings the product through the flow to 4, over the budget of 3",
        "lower the bounds, take fewer blocks, or allow `inverse <= 4`",
    );
}

#[test]
fn budgets_below_one() {
    broken(
        "#[require(«lipschitz(forward <= 0.5)»)] struct A: Vector<4> { permute(reverse); }",
        "the product of the forward bounds through `A` is 1, over the budget of 0.5",
        "allow `forward <= 1`, or contract further",
    );
    // What leaves at the first level is not contracted by the second.
    broken(
        "#[require(«lipschitz(forward <= 0.3)»)] struct A: Vector<4> { multiscale 2 { scale(0.5); } }",
        "the product of the forward bounds through `A` is 0.5, over the budget of 0.3",
        "allow `forward <= 0.5`, or contract further",
    );
    kept("#[require(lipschitz(forward <= 0.5))] struct A: Vector<4> { multiscale 2 { scale(0.5); } }");
}

#[test]
fn budgets_that_are_kept() {
    kept("#[require(lipschitz(forward <= 2, inverse <= 1))] struct A: Vector<3> { scale(2.0); scale(0.5); scale(2.0); permute(reverse); scale(0.5); scale(1.0); }".replace("inverse <= 1", "inverse <= 2").as_str());
    // Met exactly.
    kept("#[require(lipschitz(forward <= 3.61))] struct A: Vector<3> { repeat 2 { residual(lipschitz = 0.9, NET); } }");
    kept("#[require(lipschitz(forward <= 1.0, inverse <= 1.0))] struct A: Vector<4> { linear(orthogonal); multiscale 2 { permute(reverse); } }");
    // What leaves at the first level is not stretched by the second.
    kept("#[require(lipschitz(forward <= 2))] struct A: Vector<4> { multiscale 2 { scale(2.0); scale(0.5); } scale(2.0); }");
    // Left to an assertion.
    kept("#[require(lipschitz(forward <= 2))] struct A: Vector<4> { use Mine; repeat N { residual(lipschitz = 0.5, NET); } }");
}
