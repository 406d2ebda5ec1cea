//! Headers, items, labels, attributes.

use super::{case, cases, valid};

#[test]
fn everything_the_grammar_has() {
    valid("pub struct A: Vector<3> { actnorm; }");
    valid("pub(crate) struct A<const D: usize>: Vector<D> given Vector<{ 2 + 3 }> { actnorm; }");
    valid("struct A: Vector<N> { 'scale: actnorm; 'mix: repeat M { linear(lu); repeat { 2 * 3 } { actnorm; } } }");
    valid("struct A: Vector<sizes::N> { use blocks::Mine; use Other::<3>(1, \"a\") -> Vector<sizes::N>; }");
    valid("struct A: Vector<8> { multiscale 3 { actnorm; } }");
    valid("struct A: Vector<9> { multiscale 2 (keep = 1/3) { actnorm; } }");
    valid("struct A: Vector<2> { additive_coupling(net = mlp([], relu)); linear(lu); }");
    valid("struct A: Vector<2> { affine_coupling(net = mlp([8], zero_init = false, tanh), scale = tanh(2.0)); actnorm; }");
    valid("struct A: Vector<2> { affine_coupling(keep = first, net = use Mine); }");
    valid("#[base(mixture(4))] #[flow(crate = my::flow)] #[require(analytic_inverse)] #[require(memory_saving)] struct A: Vector<2> { actnorm; }");
    valid("#[base(normal)] struct A: Vector<2> { actnorm; } #[base(logistic)] struct B: Vector<2> { actnorm; } #[base(uniform)] struct C: Vector<2> { actnorm; }");
    valid("/// Docs.\n#[derive(Clone)] #[cfg(test)] struct A: Vector<2> { actnorm; ; repeat 2 { actnorm; }; }");
    valid("struct A: Image<3, 4, 4> { flatten; }");
}

#[test]
fn headers() {
    case(
        "«enum» A { }",
        "expected `struct`, found `enum`",
        "a flow is `struct Name: Vector<3> { … }`",
    );
    case(
        "struct «:» Vector<3> { actnorm; }",
        "expected a name, found `:`",
        "a flow is `struct Name: Vector<3> { … }`",
    );
    case(
        "struct A «{» actnorm; }",
        "expected `:` and an event, found `{`",
        "say what flows: `: Vector<3>` or `: Image<3, 32, 32>`",
    );
    case("struct A: «Vectr»<3> { actnorm; }", "unknown event `Vectr`", "did you mean `Vector`?");
    case(
        "struct A: «Tensor»<3> { actnorm; }",
        "unknown event `Tensor`",
        "an event is `Vector` or `Image`",
    );
    case(
        "struct A: «Vector<3, 4>» { actnorm; }",
        "a vector has one size, found 2",
        "write `Vector<features>`",
    );
    case(
        "struct A: «Image<3, 4>» { actnorm; }",
        "an image has three sizes, found 2",
        "write `Image<channels, height, width>`",
    );
    case(
        "struct A: Vector«{» actnorm; }",
        "expected `<` after `Vector`, found `{`",
        "an event is `Vector<features>` or `Image<channels, height, width>`",
    );
    case(
        "struct A: Vector<3> «givn» Vector<2> { actnorm; }",
        "unexpected `givn` after the event",
        "did you mean `given`?",
    );
    case(
        "struct A: Vector<3> given «Image<1, 2, 3>» { actnorm; }",
        "a context cannot be an image in this version",
        "embed the image with a dfdx net, and give the flow its output: `given Vector<64>`",
    );
    case(
        "struct A: Vector<3>«;»",
        "expected `{`, found `;`",
        "the items of a flow stand in braces",
    );
    case(
        "struct «A»: Vector<3> { }",
        "`A` has no items",
        "put blocks between the braces: `actnorm;`",
    );
}

#[test]
fn parameters() {
    case(
        "struct A<«T»>: Vector<3> { actnorm; }",
        "not a const parameter",
        "a flow's parameters are sizes: `<const D: usize>`",
    );
    case(
        "struct A<const D: «u32»>: Vector<3> { actnorm; }",
        "the parameter `D` is not a `usize`",
        "a flow's parameters are sizes: `<const D: usize>`",
    );
    case(
        "struct A<const D: usize>: Vector<«{ D * 2 }»> { actnorm; }",
        "the size `D * 2` is computed from a parameter",
        "stable Rust has no arithmetic on const parameters: make it one of its own",
    );
    case(
        "struct A<const C: usize>: Image<C, 4, 4> { «squeeze»(2); }",
        "`squeeze` changes the shape of Image<C, 4, 4>, which depends on a parameter",
        "blocks that change the shape need numbers or named constants",
    );
    case(
        "struct A<const C: usize>: Image<C, 4, 4> { «multiscale» 2 { actnorm; } }",
        "`multiscale` changes the shape of Image<C, 4, 4>, which depends on a parameter",
        "blocks that change the shape need numbers or named constants",
    );
    case(
        "struct A<const D: usize>: Vector<D> { affine_coupling(net = use «Mine»); linear(lu); }",
        "a module of your own on Vector<D>, which depends on a parameter",
        "a dfdx module is sized by its types: it needs numbers or named constants",
    );
}

#[test]
fn sizes() {
    case(
        "struct A: Vector<«-3»> { actnorm; }",
        "a dimension cannot be negative, found -3",
        "write a positive integer",
    );
    case("struct A: Vector<«0»> { actnorm; }", "a dimension of 0", "it must be at least 1");
    case(
        "struct A: Vector<«2.5»> { actnorm; }",
        "a dimension cannot be `2.5`",
        "write an integer, the name of a constant, or `{ constant expression }`",
    );
    case(
        "struct A: Vector<«\"3\"»> { actnorm; }",
        "a dimension cannot be `\"3\"`",
        "write an integer, the name of a constant, or `{ constant expression }`",
    );
    case(
        "struct A: Vector<«size»()> { actnorm; }",
        "a dimension must be constant, and this is computed",
        "write an integer, the name of a constant, or `{ constant expression }`",
    );
    case(
        "struct A: Vector<2 «*» 3> { actnorm; }",
        "expected `,` or `>`, found `*`",
        "a dimension of several tokens needs braces: `{ 2 * N }`",
    );
    case(
        "struct A: Vector<«{ }»> { actnorm; }",
        "not a constant expression",
        "write one expression between the braces, for example `{ 2 * N }`",
    );
    case(
        "struct A: Vector<«3u8»> { actnorm; }",
        "a dimension is a `usize`, found the suffix `u8`",
        "leave the suffix out",
    );
    case(
        "struct A: Vector<«99999999999»> { actnorm; }",
        "a dimension of 99999999999 overflows",
        "the largest is 4294967295",
    );
    case(
        "struct A: «Image<3, 100000, 100000>» { actnorm; }",
        "`Image<3, 100000, 100000>` has more than 4294967295 elements",
        "choose sizes that fit a machine's memory",
    );
    case(
        "struct A: Vector<3> given Vector<«0»> { actnorm; }",
        "a dimension of 0",
        "it must be at least 1",
    );
}

#[test]
fn counts() {
    case(
        "struct A: Vector<3> { repeat «-2» { actnorm; } }",
        "a count cannot be negative, found -2",
        "write a positive integer",
    );
    case(
        "struct A: Vector<3> { repeat «0» { actnorm; } }",
        "a count of 0",
        "a count is at least 1; leave the item out where it is not wanted",
    );
    case(
        "struct A: Vector<3> { repeat «4294967296» { actnorm; } }",
        "a count of 4294967296 overflows",
        "the largest is 4294967295",
    );
    case(
        "struct A: Vector<3> { repeat «99999999999999999999999» { actnorm; } }",
        "a count of 99999999999999999999999 overflows",
        "the largest is 4294967295",
    );
    case(
        "struct A: Vector<3> { «repeat» { actnorm; } }",
        "`repeat` without a count",
        "write `repeat 4 { … }`",
    );
    case(
        "struct A: Vector<3> { repeat «1.5» { actnorm; } }",
        "a count cannot be `1.5`",
        "write an integer, the name of a constant, or `{ constant expression }`",
    );
    case(
        "struct A: Vector<3> { repeat 3«;» }",
        "expected the body of `repeat`, found `;`",
        "the items of a `repeat` stand in braces",
    );
    case(
        "struct A: Vector<3> { «repeat» 3 { } }",
        "`repeat` with an empty body",
        "put items between the braces, or leave it out",
    );
    case(
        "struct A: Vector<4> { «multiscale» { actnorm; } }",
        "`multiscale` without its number of levels",
        "write `multiscale 3 { … }`: three levels",
    );
    case(
        "struct A: Vector<4> { multiscale «LEVELS» { actnorm; } }",
        "the number of levels is not a literal",
        "each level has a shape of its own: write the number out",
    );
    case(
        "struct A: Vector<4> { multiscale «0» { actnorm; } }",
        "0 levels",
        "write a number from 1 to 32",
    );
    case(
        "struct A: Vector<4> { multiscale «-1» { actnorm; } }",
        "a number of levels cannot be negative, found -1",
        "write a positive integer",
    );
    case(
        "struct A: Vector<4> { multiscale 2 (keep = «3/2») { actnorm; } }",
        "`keep` of 3/2 is no part of a whole",
        "write a fraction between 0 and 1, as `1/2`",
    );
    case(
        "struct A: Vector<4> { multiscale 2 (keep = «0.5») { actnorm; } }",
        "`keep` cannot be `0.5`",
        "it takes a fraction such as `1/2`",
    );
    case(
        "struct A: Vector<4> { multiscale 2 («share» = 1/2) { actnorm; } }",
        "`multiscale` has no argument `share`",
        "its arguments are `keep`",
    );
}

#[test]
fn items() {
    case("struct A: Vector<3> { «actnrm»; }", "unknown block `actnrm`", "did you mean `actnorm`?");
    case("struct A: Vector<3> { «repaet»; }", "unknown block `repaet`", "did you mean `repeat`?");
    case("struct A: Vector<3> { «batch_norm»; }", "unknown block `batch_norm`", "write `actnorm`");
    case(
        "struct A: Vector<3> { «dequantize»; }",
        "unknown block `dequantize`",
        "`dequantize` is no bijection: apply it to the data in front of the flow",
    );
    case(
        "struct A: Vector<3> { «mlp»([8], relu); }",
        "unknown block `mlp`",
        "`mlp` is a net: it goes into a block, as in `affine_coupling(net = mlp(…))`",
    );
    case(
        "struct A: Vector<3> { «Mine»; }",
        "unknown block `Mine`",
        "a block of your own is written `use Mine;`",
    );
    case(
        "struct A: Vector<3> { actnorm «linear»(lu); }",
        "expected `;` after `actnorm`, found `linear`",
        "every block ends with `;`",
    );
    case(
        "struct A: Vector<3> { «actnorm» }",
        "expected `;` after `actnorm`",
        "every block ends with `;`",
    );
    case(
        "struct A: Vector<3> { actnorm «{» } linear(lu); }",
        "`actnorm` has no body",
        "only `repeat count { … }` and `multiscale levels { … }` have items of their own",
    );
    case("struct A: Vector<3> { «5»; actnorm; }", "expected an item, found `5`", "an item is a block such as `actnorm;`, `repeat 4 { … }`, `multiscale 3 { … }` or `use Path;`");
    case(
        "struct A: Vector<3> { «#»[inline] actnorm; linear(lu); }",
        "an attribute on an item",
        "attributes stand on the flow; remarks about an item go into a `//` comment",
    );
    case(
        "struct A: Vector<3> { use «5»; }",
        "expected identifier",
        "`use` is followed by the path of a block of yours: `use blocks::MyBlock;`",
    );
    case(
        "struct A: Vector<3> { 'a «actnorm»; }",
        "expected `:` after the label `'a`, found `actnorm`",
        "write `'a: actnorm;`",
    );
    case(
        "struct A: Vector<3> { use «Mine» -> Vector<4>; }",
        "a block that takes 3 elements and gives 4",
        "an invertible block keeps the number of elements",
    );
    case(
        "struct A: Vector<3> { use Mine -> «Vecto»<3>; }",
        "unknown event `Vecto`",
        "did you mean `Vector`?",
    );
    let deep = |mark: [&str; 2]| {
        let inner = format!("{}actnorm{};", mark[0], mark[1]);
        let body = (0..9).fold(inner, |inner, _| format!("repeat 2 {{ {inner} }}"));
        format!("struct A: Vector<3> {{ {body} }}")
    };
    case(
        &deep(["«", "»"]),
        "items nested more than 8 deep",
        "make the inner part a flow of its own, and name it with `use`",
    );
}

#[test]
fn labels() {
    case(
        "struct A: Vector<3> { 'a: actnorm; actnorm; '«a»: linear(lu); }",
        "the label `'a` stands twice, first on item 0",
        "the items of one body have labels of their own, for they name the parameters",
    );
    case(
        "struct A: Vector<3> { repeat 4 { 'x: actnorm; '«x»: linear(lu); } }",
        "the label `'x` stands twice, first on item 0",
        "the items of one body have labels of their own, for they name the parameters",
    );
    valid("struct A: Vector<3> { 'a: repeat 2 { 'a: actnorm; } 'b: actnorm; }");
}

#[test]
fn attributes() {
    case(
        "#[«requires»(bi_lipschitz)] struct A: Vector<3> { actnorm; }",
        "unknown attribute `requires`",
        "did you mean `require`?",
    );
    case(
        "#[require(«volume_preserve»)] struct A: Vector<3> { permute(reverse); }",
        "unknown contract `volume_preserve`",
        "did you mean `volume_preserving`?",
    );
    case("#[require(«fast»)] struct A: Vector<3> { actnorm; }", "unknown contract `fast`", "the contracts are `analytic_inverse`, `volume_preserving`, `constant_log_det`, `bi_lipschitz`, `memory_saving` and `lipschitz`");
    case("«#[require]» struct A: Vector<3> { actnorm; }", "`#[require]` says nothing", "the contracts are `analytic_inverse`, `volume_preserving`, `constant_log_det`, `bi_lipschitz`, `memory_saving` and `lipschitz`");
    case(
        "#[require(analytic_inverse, «analytic_inverse»)] struct A: Vector<3> { actnorm; }",
        "`analytic_inverse` is required twice",
        "leave one of them out",
    );
    case(
        "#[require(bi_lipschitz«(3)»)] struct A: Vector<3> { actnorm; }",
        "`bi_lipschitz` takes no arguments",
        "write `bi_lipschitz`",
    );
    case(
        "#[require(«lipschitz»)] struct A: Vector<3> { permute(reverse); }",
        "`lipschitz` without a budget",
        "write `lipschitz(forward <= 10, inverse <= 10)`, or one of the two",
    );
    case(
        "#[require(lipschitz(«forwards» <= 3))] struct A: Vector<3> { permute(reverse); }",
        "unknown direction `forwards`",
        "did you mean `forward`?",
    );
    case(
        "#[require(lipschitz(«forward = 3»))] struct A: Vector<3> { permute(reverse); }",
        "not a budget",
        "write `lipschitz(forward <= 10, inverse <= 10)`, or one of the two",
    );
    case(
        "#[require(lipschitz(forward <= «0»))] struct A: Vector<3> { permute(reverse); }",
        "a budget cannot be `0`",
        "a budget is a number above 0, written out",
    );
    case("#[require(lipschitz(forward <= 2, «forward <= 3»))] struct A: Vector<3> { permute(reverse); }", "`forward` has two budgets", "leave one of them out");
    case(
        "#[base(«gaussian»)] struct A: Vector<3> { actnorm; }",
        "unknown base `gaussian`",
        "it is one of `normal`, `uniform`, `logistic` or `mixture`",
    );
    case(
        "#[base(«mixture»)] struct A: Vector<3> { actnorm; }",
        "`mixture` without its `components`",
        "`components` is an integer of at least 1",
    );
    case(
        "#[base(mixture(«0»))] struct A: Vector<3> { actnorm; }",
        "`components` cannot be `0`",
        "it takes an integer of at least 1",
    );
    case(
        "#[base(normal)] «#[base(uniform)]» struct A: Vector<3> { actnorm; }",
        "a second `#[base(…)]`",
        "a flow has one base distribution; leave one of them out",
    );
    case(
        "#[flow(«krate = x»)] struct A: Vector<3> { actnorm; }",
        "unknown option of `#[flow(…)]`",
        "write `#[flow(crate = path::of::flow_core)]`",
    );
    case(
        "#[flow(crate = «3»)] struct A: Vector<3> { actnorm; }",
        "`crate` is `3`, not a path",
        "write `#[flow(crate = path::of::flow_core)]`",
    );
}

#[test]
fn errors_do_not_hide_each_other() {
    cases(
        "struct A: Vector<3> { «actnrm»; linear(«lo»); } struct B: «Vectr»<3> { permute(«revers»); }",
        &[
            ("unknown block `actnrm`", "did you mean `actnorm`?"),
            ("unknown form `lo`", "did you mean `lu`?"),
            ("unknown event `Vectr`", "did you mean `Vector`?"),
            ("unknown order `revers`", "did you mean `reverse`?"),
        ],
    );
    cases(
        "struct A «{» actnorm; } struct B: Vector<3> { «lineer»(lu); }",
        &[
            (
                "expected `:` and an event, found `{`",
                "say what flows: `: Vector<3>` or `: Image<3, 32, 32>`",
            ),
            ("unknown block `lineer`", "did you mean `linear`?"),
        ],
    );
    cases(
        "struct A: Vector<3> { «5»; repeat «0» { «actnrm»; } }",
        &[
            ("expected an item, found `5`", "an item is a block such as `actnorm;`, `repeat 4 { … }`, `multiscale 3 { … }` or `use Path;`"),
            ("a count of 0", "a count is at least 1; leave the item out where it is not wanted"),
            ("unknown block `actnrm`", "did you mean `actnorm`?"),
        ],
    );
}
