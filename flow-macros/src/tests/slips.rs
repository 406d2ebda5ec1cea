//! What is easily written wrongly: order, commas, brackets, doubled parts, sizes that fit nowhere.

use super::{case, cases, valid};

#[test]
fn arguments_in_another_order() {
    case(
        "struct A: Vector<4> { affine_coupling(net = mlp(«relu», [8])); actnorm; }",
        "`mlp` takes its `hidden` here, found `relu`",
        "that is its `activation`: the order is `mlp(hidden, activation)`",
    );
    case(
        "struct A: Image<4, 4, 4> { affine_coupling(net = conv([3, 1], «relu»)); }",
        "`conv` takes its `hidden` here, found `relu`",
        "that is its `activation`: the order is `conv(kernels, hidden, activation)`",
    );
    case(
        "struct A: Vector<4> { affine_coupling(«mlp([8], relu)»); actnorm; }",
        "`affine_coupling` has no place for `mlp`",
        "name it: `net = mlp(…)`",
    );
    case(
        "struct A: Vector<4> { masked_autoregressive(«made([8], relu)», affine); }",
        "`masked_autoregressive` takes its `transform` here, found `made`",
        "name it: `net = made(…)`",
    );
    case(
        "struct A: Vector<4> { affine_coupling(«first», net = mlp([8], relu)); actnorm; }",
        "`affine_coupling` has no place for `first`",
        "name it: `keep = first`",
    );
    case(
        "struct A: Vector<4> { multiscale 2 («1/2») { actnorm; } }",
        "`multiscale` has no place for `1/2`",
        "name it: `keep = 1/2`",
    );
    case(
        "struct A: Vector<4> { affine_coupling(net = mlp([8], relu, «relu»)); actnorm; }",
        "`mlp` has no place for `relu`",
        "name the one you mean: `zero_init`, `lipschitz` and `weight_norm` are not given yet",
    );
    case(
        "#[base(normal, «uniform»)] struct A: Vector<3> { actnorm; }",
        "`base` has no place for `uniform`",
        "leave it out: all arguments of `base` are given",
    );
    case(
        "struct A: Vector<4> { «multiscale» (keep = 1/2) 2 { actnorm; } }",
        "`multiscale` without its number of levels",
        "it comes first: `multiscale 3 (keep = 1/2) { … }`",
    );
    valid("struct A: Vector<4> { masked_autoregressive(net = made([8], relu), affine); }");
}

#[test]
fn commas_and_brackets() {
    case(
        "struct A: Vector<4> { affine_coupling(net = mlp([8] «relu»)); actnorm; }",
        "expected `,`, found `relu`",
        "arguments are separated by commas",
    );
    case(
        "struct A: Vector<4> { affine_coupling(net = mlp([8,«,» 8], relu)); actnorm; }",
        "a second `,`",
        "leave one of them out",
    );
    case(
        "struct A: Vector<4> { affine_coupling(net«:» mlp([8], relu)); actnorm; }",
        "expected `,`, found `:`",
        "an argument is named with `=`, as in `net = mlp([128, 128], swish)`",
    );
    case(
        "struct A: Vector<4> { affine_coupling(net =«=» mlp([8], relu)); actnorm; }",
        "a second `=`",
        "write `net = …`",
    );
    case(
        "struct A: Vector<4> { affine_coupling«[»net = mlp([8], relu)]; actnorm; }",
        "expected `(` after `affine_coupling`, found `[`",
        "arguments stand in parentheses: `affine_coupling(…)`",
    );
    case(
        "struct A: Vector<4> { affine_coupling(net = mlp«[»8], relu); actnorm; }",
        "expected `,`, found `[`",
        "arguments stand in parentheses, as in `mlp([128, 128], swish)`",
    );
    case(
        "struct A: Vector<4> { repeat«(»3) { actnorm; } }",
        "expected a count, found `(`",
        "a count stands by itself: `repeat 4 { … }`",
    );
    case(
        "#[require(volume_preserving «bi_lipschitz»)] struct A: Vector<3> { permute(reverse); }",
        "expected `,` after `volume_preserving`",
        "contracts are separated by commas",
    );
    case(
        "«#[require = volume_preserving]» struct A: Vector<3> { permute(reverse); }",
        "`#[require = …]` is no list: write `#[require(…)]`",
        "the contracts are `analytic_inverse`, `volume_preserving`, `constant_log_det`, `bi_lipschitz`, `memory_saving` and `lipschitz`",
    );
    case(
        "struct A: Vector<3> { actnorm; }«;» struct B: Vector<3> { actnorm; }",
        "expected `struct`, found `;`",
        "flows end with their braces",
    );
}

#[test]
fn parts_that_stand_twice() {
    case(
        "struct A: Vector<4> given Vector<2> «given» Vector<3> { actnorm; }",
        "expected `{`, found `given`",
        "a flow has one context: put both into one vector",
    );
    case(
        "struct A: Vector<4>«,» Image<1, 2, 2> { actnorm; }",
        "expected `{`, found `,`",
        "a flow has one event, and then its items in braces",
    );
    case(
        "struct A: Vector<4> { actnorm; } struct «A»: Vector<3> { actnorm; }",
        "a second flow `A`",
        "give one of them another name",
    );
    case(
        "struct A<const D: usize, const «D»: usize>: Vector<D> { actnorm; }",
        "the parameter `D` stands twice",
        "leave one of them out, or rename it",
    );
    valid("#[cfg(a)] struct A: Vector<4> { actnorm; } #[cfg(not(a))] struct A: Vector<3> { actnorm; }");
}

#[test]
fn what_other_languages_write() {
    case(
        "struct A «given» Vector<2>: Vector<4> { actnorm; }",
        "expected `:` and an event, found `given`",
        "the context comes last: `: Vector<3> given Vector<2>`",
    );
    case(
        "struct A: Vector<4> «where» D: usize { actnorm; }",
        "unexpected `where` after the event",
        "a flow has no bounds: leave them out",
    );
    case(
        "struct A: Vector<3> «->» Vector<3> { actnorm; }".replace("«->»", "«-»>").as_str(),
        "expected `{`, found `-`",
        "what comes out follows from the items, which stand in braces",
    );
    case(
        "struct A: Image<3«;» 4; 4> { actnorm; }",
        "expected `,` or `>`, found `;`",
        "a dimension of several tokens needs braces: `{ 2 * N }`",
    );
    case(
        "struct A: Vector<3> { «for» i in 0..3 { actnorm; } linear(lu); }",
        "expected an item, found `for`",
        "items are repeated by `repeat 4 { … }`",
    );
    case(
        "struct A: Vector<3> { «a»: actnorm; linear(lu); }",
        "a label without its `'`: `a:`",
        "write `'a: …`",
    );
    case(
        "struct A: Vector<3> { use Mine «as» Other; linear(lu); }",
        "expected `;` after `use Mine`, found `as`",
        "every block ends with `;`",
    );
    case(
        "struct A: Vector<3> { «use blocks::Mine» }",
        "expected `;` after `use blocks::Mine`",
        "every block ends with `;`",
    );
    cases(
        "struct A: Vector<3> { «ActNorm»; «act_norm»; «AFFINE_COUPLING»(net = mlp([8], relu)); «αctnorm»; }",
        &[
            ("unknown block `ActNorm`", "did you mean `actnorm`?"),
            ("unknown block `act_norm`", "did you mean `actnorm`?"),
            ("unknown block `AFFINE_COUPLING`", "did you mean `affine_coupling`?"),
            ("unknown block `αctnorm`", "did you mean `actnorm`?"),
        ],
    );
    cases(
        "struct A: Vector<3> { «lu»; «relu»; «real_nvp»(net = mlp([8], relu)); }",
        &[
            ("unknown block `lu`", "`lu` is a form of a matrix: write `linear(lu)`"),
            (
                "unknown block `relu`",
                "`relu` is an activation: it goes into a net, as in `mlp([128, 128], relu)`",
            ),
            ("unknown block `real_nvp`", "write `affine_coupling`"),
        ],
    );
    valid("struct Größe: Vector<4> { 'größe: actnorm; }");
}

#[test]
fn numbers_out_of_range() {
    const FITS: &str = "choose sizes that fit a machine's memory";
    case(
        "struct A: Vector<4> { affine_coupling(net = «mlp([4294967295, 4294967295], relu)»); actnorm; }",
        "`affine_coupling` on Vector<4> has more than 4294967295 weights",
        FITS,
    );
    case(
        "struct A: Vector<65536> { «linear»(dense); }",
        "`linear` on Vector<65536> has more than 4294967295 weights",
        FITS,
    );
    case(
        "struct A: Vector<4> { sylvester(rank = «5»); }",
        "`sylvester` of rank 5 on Vector<4>",
        "the rank is at most the number of features, 4",
    );
    cases(
        "struct A: Vector<4> { spline_coupling(bins = «1000», net = mlp([8], relu)); masked_autoregressive(spline(bins = «5000»), net = made([8], relu)); }",
        &[
            ("a spline of 1000 bins", "a spline has at most 999 bins; 8 are usual"),
            ("a spline of 5000 bins", "a spline has at most 999 bins; 8 are usual"),
        ],
    );
    cases(
        "#[require(lipschitz(forward <= «-10», inverse <= 1))] #[require(lipschitz(forward <= «N»))] struct A: Vector<3> { permute(reverse); }",
        &[
            ("a budget cannot be `-10`", "a budget is a number above 0, written out"),
            ("a budget cannot be `N`", "a budget is a number above 0, written out"),
        ],
    );
    valid("struct A: Vector<4> { sylvester(rank = 4); sylvester(rank = N); }");
    valid("struct A<const D: usize>: Vector<D> { sylvester(rank = 4); }");
    valid("struct A: Vector<4> { spline_coupling(bins = 999, net = mlp([8], relu)); actnorm; }");
}
