//! Arguments of blocks and nets.

use super::{case, cases};

#[test]
fn names() {
    case(
        "struct A: Vector<4> { affine_coupling(«nett» = mlp([8], relu)); actnorm; }",
        "`affine_coupling` has no argument `nett`",
        "did you mean `net`?",
    );
    case(
        "struct A: Vector<4> { additive_coupling(«scale» = exp, net = mlp([8], relu)); }",
        "`additive_coupling` has no argument `scale`",
        "its arguments are `keep` and `net`",
    );
    case(
        "struct A: Vector<4> { actnorm(«momentum» = 0.1); }",
        "`actnorm` has no argument `momentum`",
        "`actnorm` takes no arguments",
    );
    case(
        "struct A: Vector<4> { actnorm(«3»); }",
        "`actnorm` has no place for `3`",
        "`actnorm` takes no arguments",
    );
    case(
        "struct A: Vector<4> { linear(lu, «3»); }",
        "`linear` has no place for `3`",
        "leave it out: all arguments of `linear` are given",
    );
    case(
        "struct A: Vector<4> { affine_coupling(net = mlp([8], relu), «net» = mlp([8], relu)); }",
        "`net` is given twice",
        "leave one of them out",
    );
    case(
        "struct A: Vector<4> { «affine_coupling»; }",
        "`affine_coupling` without its `net`",
        "write `net = mlp([128, 128], swish)`",
    );
    case(
        "struct A: Vector<4> { «linear»; }",
        "`linear` without its `form`",
        "`form` is `lu`, `orthogonal`, `diagonal`, `dense`, `svd` or `householder`",
    );
    case(
        "struct A: Vector<4> { affine_coupling(net = «mlp»([8])); }",
        "`mlp` without its `activation`",
        "`activation` is `relu`, `elu`, `leaky_relu`, `tanh`, `swish`, `gelu` or `softplus`",
    );
    case(
        "struct A: Vector<4> { affine_coupling(scale = «tanh», net = mlp([8], relu)); }",
        "`tanh` without its `limit`",
        "`limit` is a number above 0",
    );
    case(
        "struct A: Vector<4> { permute(«shuffle»); }",
        "`shuffle` without its `seed`",
        "`seed` is an integer, the seed",
    );
    case(
        "struct A: Vector<4> { linear(lu «diagonal»); }",
        "expected `,`, found `diagonal`",
        "arguments are separated by commas",
    );
    case(
        "struct A: Vector<4> { linear(«;»); }",
        "expected a value, found `;`",
        "write a number, a name, a list `[…]`, or `use Path`",
    );
}

#[test]
fn suggestions() {
    case(
        "struct A: Vector<4> { affine_coupling(net = mlp([8], «rleu»)); }",
        "unknown activation `rleu`",
        "did you mean `relu`?",
    );
    case(
        "struct A: Vector<4> { affine_coupling(net = mlp([8], «silu»)); }",
        "unknown activation `silu`",
        "here it is called `swish`",
    );
    case(
        "struct A: Vector<4> { affine_coupling(net = «mpl»([8], relu)); }",
        "unknown net `mpl`",
        "did you mean `mlp`?",
    );
    case(
        "struct A: Vector<4> { affine_coupling(net = «MyNet»); }",
        "unknown net `MyNet`",
        "a module of your own is written `net = use MyNet`",
    );
    case(
        "struct A: Vector<4> { affine_coupling(keep = «frist», net = mlp([8], relu)); }",
        "unknown keep `frist`",
        "did you mean `first`?",
    );
    case(
        "struct A: Vector<4> { affine_coupling(scale = «softplus», net = mlp([8], relu)); }",
        "unknown scale `softplus`",
        "it is one of `exp`, `tanh`, `sigmoid` or `mexican_hat`",
    );
    case(
        "struct A: Vector<4> { masked_autoregressive(affine, scale = «mexican_hat»(2), net = made([8], relu)); }",
        "unknown scale `mexican_hat`",
        "it is one of `exp`, `tanh` or `sigmoid`",
    );
    case(
        "struct A: Vector<4> { linear(«cholesky»); }",
        "unknown form `cholesky`",
        "it is one of `lu`, `orthogonal`, `diagonal`, `dense`, `svd` or `householder`",
    );
    case(
        "struct A: Vector<4> { masked_autoregressive(«afine», net = made([8], relu)); }",
        "unknown transform `afine`",
        "did you mean `affine`?",
    );
}

#[test]
fn kinds() {
    case(
        "struct A: Vector<4> { affine_coupling(net = «3»); }",
        "`net` cannot be `3`",
        "it takes a net: `mlp(…)`, `conv(…)`, `resnet(…)`, `made(…)` or `use Path`",
    );
    case(
        "struct A: Vector<4> { affine_coupling(net = mlp(«8», relu)); }",
        "`hidden` cannot be `8`",
        "it takes a list of integers such as `[128, 128]`",
    );
    case(
        "struct A: Vector<4> { affine_coupling(net = mlp([«0.5»], relu)); }",
        "`hidden` cannot be `0.5`",
        "it takes an integer of at least 1",
    );
    case(
        "struct A: Vector<4> { affine_coupling(net = mlp([8, «0»], relu)); }",
        "`hidden` cannot be `0`",
        "it takes an integer of at least 1",
    );
    case(
        "struct A: Vector<4> { affine_coupling(net = mlp([«-8»], relu)); }",
        "`hidden` cannot be `-8`",
        "it takes an integer of at least 1",
    );
    case(
        "struct A: Vector<4> { affine_coupling(net = mlp([8], relu, zero_init = «1»)); }",
        "`zero_init` cannot be `1`",
        "it takes `true` or `false`",
    );
    case(
        "struct A: Vector<4> { affine_coupling(net = mlp([8], relu, lipschitz = «0.0»)); }",
        "`lipschitz` cannot be `0.0`",
        "it takes a number above 0",
    );
    case(
        "struct A: Vector<4> { spline_coupling(bins = «2.5», net = mlp([8], relu)); }",
        "`bins` cannot be `2.5`",
        "it takes an integer of at least 2",
    );
    case(
        "struct A: Vector<4> { spline_coupling(bins = «1», net = mlp([8], relu)); }",
        "`bins` cannot be `1`",
        "it takes an integer of at least 2",
    );
    case(
        "struct A: Vector<4> { spline_coupling(bins = «{ 3 - 2 }», net = mlp([8], relu)); }",
        "`bins` cannot be a constant",
        "it takes an integer of at least 2",
    );
    case(
        "struct A: Vector<4> { spline_coupling(bound = «-3.0», net = mlp([8], relu)); }",
        "`bound` cannot be `-3.0`",
        "it takes a number above 0",
    );
    case(
        "struct A: Image<1, 4, 4> { invertible_conv(2, kappa = «0.0»); }",
        "`kappa` cannot be `0.0`",
        "it takes a number above 0",
    );
    case(
        "struct A: Vector<4> { spline_coupling(bound = «1e999», net = mlp([8], relu)); }",
        "`bound` cannot be `1e999`",
        "it takes a number above 0",
    );
    case("struct A: Vector<4> { affine_coupling(scale = sigmoid(«1.0», 0.5), net = mlp([8], relu)); }", "`sigmoid` from 1 to 0.5 is empty", "the lower limit comes first, and is less than the upper");
    case("struct A: Vector<4> { affine_coupling(scale = sigmoid(«\"a\"», 0.5), net = mlp([8], relu)); }", "`low` cannot be a text", "it takes a number of at least 0");
    case(
        "struct A: Vector<4> { permute(roll(«-1»)); }",
        "`by` cannot be `-1`",
        "it takes an integer of at least 0",
    );
    case(
        "struct A: Vector<4> { permute(shuffle(«1.5»)); }",
        "`seed` cannot be `1.5`",
        "it takes an integer, the seed",
    );
    case(
        "struct A: Vector<4> { permute(roll(«5000000000»)); }",
        "`by` of 5000000000 overflows",
        "the largest is 4294967295",
    );
    case(
        "struct A: Vector<4> { linear(«[1, 2]»); }",
        "`form` cannot be a list",
        "it takes `lu`, `orthogonal`, `diagonal`, `dense`, `svd` or `householder`",
    );
    case(
        "struct A: Vector<4> { linear(lu(«3»)); }",
        "`lu` has no place for `3`",
        "`lu` takes no arguments",
    );
    case(
        "struct A: Vector<4> { residual(lipschitz = «1.0», net = mlp([8], relu)); }",
        "`lipschitz` cannot be `1.0`",
        "it takes a number strictly between 0 and 1",
    );
    case(
        "struct A: Vector<4> { logit(«0.5»); }",
        "`alpha` cannot be `0.5`",
        "it takes a number of at least 0 and less than 0.5",
    );
    case(
        "struct A: Vector<4> { scale(«0»); }",
        "`factor` cannot be `0`",
        "it takes a number other than 0",
    );
    case(
        "struct A: Vector<4> { spline_activation(slopes = «(1.0, 0.5)»); }",
        "`slopes` from 1 to 0.5 is empty",
        "the lower limit comes first, and is less than the upper",
    );
    case(
        "struct A: Vector<4> { spline_activation(beta = «1.5»); }",
        "`beta` of 1.5 is not between the `slopes` 0 and 1",
        "the spline starts as the line of slope `beta`: move it or the limits",
    );
    case(
        "struct A: Vector<4> { spline_activation(slopes = «0.5»); }",
        "`slopes` cannot be `0.5`",
        "it takes `(low, high)`, each a number of at least 0",
    );
    case(
        "struct A: Vector<4> { scale(«2u8»); }",
        "a number with the suffix `u8`",
        "numbers in a flow need no suffix",
    );
    case(
        "struct A: Vector<4> { scale(1/«x»); }",
        "expected an integer under the `/`, found `x`",
        "a fraction is written `1/2`",
    );
    case(
        "struct A: Vector<4> { scale(«- true»); }",
        "a sign without a number",
        "write a number such as `2`, `0.5` or `1/2`",
    );
}

#[test]
fn nets_and_where_they_stand() {
    case(
        "struct A: Vector<4> { affine_coupling(net = «conv»([3], hidden = 8, relu)); actnorm; }",
        "the net `conv` on Vector<4>",
        "on vectors write `mlp([128, 128], swish)`",
    );
    case(
        "struct A: Image<4, 4, 4> { affine_coupling(net = «mlp»([8], relu)); }",
        "the net `mlp` on Image<4, 4, 4>",
        "on images write `conv([3, 1, 3], hidden = 128, relu)`",
    );
    case(
        "struct A: Vector<4> { affine_coupling(net = «made»([8], relu)); }",
        "`made` outside an autoregressive block",
        "here a net sees all of its input: write `mlp(…)`",
    );
    case(
        "struct A: Vector<4> { masked_autoregressive(affine, net = «mlp»([8], relu)); }",
        "`mlp` in an autoregressive block",
        "`masked_autoregressive` needs a masked net: `made([512, 512], relu)`",
    );
    case(
        "struct A: Vector<4> { inverse_autoregressive(affine, net = use «Mine»); }",
        "a module of your own in `inverse_autoregressive`",
        "only `made(…)` has the masks: `made([512, 512], relu)`",
    );
    case(
        "struct A: Vector<4> { residual(lipschitz = 0.9, net = use «Mine»); }",
        "a module of your own in `residual`",
        "its Lipschitz bound must be certified: write `mlp(…)`, `conv(…)` or `resnet(…)`",
    );
    case("struct A: Vector<4> { residual(lipschitz = 0.9, net = mlp([8], relu, lipschitz = «2.0»)); }", "`lipschitz` on the net of a `residual`", "leave it out: the block's own coefficient 0.9 bounds the net");
    case(
        "struct A: Vector<4> { ode(net = use «Mine»); }",
        "a module of your own in `ode`",
        "its Jacobian cannot be differentiated: write `mlp(…)`, `conv(…)` or `resnet(…)`",
    );
    case("struct A: Vector<4> { additive_coupling(net = resnet(blocks = 1, hidden = 8, relu, lipschitz = «2.0», attention = true)); }", "`lipschitz` on a net with attention, which has no bound", "leave `attention` or `lipschitz` out");
    case("struct A: Vector<4> { residual(lipschitz = 0.9, net = resnet(blocks = 1, hidden = 8, relu, attention = «true»)); }", "attention in the net of `residual`", "leave it out: no coefficient bounds a net with attention");
    case("struct A: Vector<4> { ode(net = resnet(blocks = 1, hidden = 8, tanh, lipschitz = 2.0, attention = «true»)); }", "attention in the net of `ode`", "leave it out: the Jacobian of a net with attention is not available");
    case(
        "struct A: Image<4, 4, 4> { affine_coupling(net = conv([3, «2», 3], hidden = 8, relu)); }",
        "a convolution with a kernel of even size 2",
        "kernels are odd, so that they have a middle: 1 or 3",
    );
    case(
        "struct A: Image<4, 4, 4> { affine_coupling(net = conv(«[]», hidden = 8, relu)); }",
        "`kernels` is empty",
        "it takes a list of integers such as `[128, 128]`",
    );
    cases(
        "struct A: Image<4, 4, 4> { affine_coupling(net = conv([«0», «-1»], hidden = «x», relu)); }",
        &[
            ("`kernels` cannot be `0`", "it takes an integer of at least 1"),
            ("`kernels` cannot be `-1`", "it takes an integer of at least 1"),
            ("`hidden` cannot be `x`", "it takes an integer of at least 1"),
        ],
    );
}

#[test]
fn scales_of_splines() {
    case(
        "struct A: Vector<4> { masked_autoregressive(spline, scale = «tanh(1.0)», net = made([8], relu)); }",
        "`scale` beside `spline`",
        "leave it out: a spline scales by its slopes; `affine` takes a `scale`",
    );
    case(
        "struct A: Vector<4> { inverse_autoregressive(spline(bins = 4), scale = «exp», net = made([8], relu)); }",
        "`scale` beside `spline`",
        "leave it out: a spline scales by its slopes; `affine` takes a `scale`",
    );
}
