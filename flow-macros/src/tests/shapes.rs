//! What the shape rules say.

use super::{case, cases, valid};

#[test]
fn vectors_and_images() {
    case("struct A: Vector<4> { «squeeze»(2); }", "`squeeze` takes an image, found Vector<4>", "an image is declared `Image<channels, height, width>`, and lasts until `flatten` or `multiscale`");
    case(
        "struct A: Vector<4> { «conv1x1»(lu); }",
        "`conv1x1` takes an image, found Vector<4>",
        "on vectors write `linear(lu)`",
    );
    case(
        "struct A: Vector<4> { «flatten»; }",
        "`flatten` takes an image, found Vector<4>",
        "a vector is flat already: leave it out",
    );
    case(
        "struct A: Image<3, 4, 4> { «linear»(lu); }",
        "`linear` takes a vector, found Image<3, 4, 4>",
        "on images write `conv1x1(lu)`, or `flatten;` in front",
    );
    case(
        "struct A: Image<3, 4, 4> { «planar»; }",
        "`planar` takes a vector, found Image<3, 4, 4>",
        "write `flatten;` in front of `planar`",
    );
    case("struct A: Image<3, 4, 4> { flatten; «haar»; }", "`haar` takes an image, found Vector<48>", "an image is declared `Image<channels, height, width>`, and lasts until `flatten` or `multiscale`");
    case(
        "struct A: Image<4, 4, 4> { multiscale 2 { actnorm; } «conv1x1»(lu); }",
        "`conv1x1` takes an image, found Vector<64>",
        "on vectors write `linear(lu)`",
    );
    case("struct A: Image<4, 4, 4> { affine_coupling(keep = «even», net = conv([3], hidden = 8, relu)); }", "`keep = even` on Image<4, 4, 4>", "on images a coupling keeps `first`, `second`, `checker_even` or `checker_odd`");
    case(
        "struct A: Vector<4> { affine_coupling(keep = «checker_odd», net = mlp([8], relu)); }",
        "`keep = checker_odd` on Vector<4>",
        "on vectors a coupling keeps `first`, `second`, `even` or `odd`",
    );
}

#[test]
fn divisibility() {
    case(
        "struct A: Image<3, 7, 8> { «squeeze»(2); }",
        "`squeeze(2)` needs a height divisible by 2, found 7",
        "pad or crop the data to a multiple, for example 8, or take fewer levels",
    );
    case(
        "struct A: Image<3, 8, 9> { «squeeze»(2); }",
        "`squeeze(2)` needs a width divisible by 2, found 9",
        "pad or crop the data to a multiple, for example 10, or take fewer levels",
    );
    case(
        "struct A: Image<3, 8, 9> { «haar»; }",
        "`haar` needs a width divisible by 2, found 9",
        "pad or crop the data to a multiple, for example 10, or take fewer levels",
    );
    case(
        "struct A: Image<3, 8, 8> { «unsqueeze»(2); }",
        "`unsqueeze(2)` needs a number of channels divisible by 4, found 3",
        "pad or crop the data to a multiple, for example 4, or take fewer levels",
    );
    case(
        "struct A: Image<3, 8, 8> { «invertible_conv»(kernel = 3); }",
        "`invertible_conv(kernel = 3)` needs a height divisible by 3, found 8",
        "pad or crop the data to a multiple, for example 9, or take fewer levels",
    );
    case(
        "struct A: Image<3, 28, 28> { multiscale 4 { «squeeze»(2); } }",
        "`squeeze(2)` needs a height divisible by 2, found 7",
        "pad or crop the data to a multiple, for example 8, or take fewer levels",
    );
    case(
        "struct A: Image<3, 12, 12> { repeat 3 { «squeeze»(2); } }",
        "`squeeze(2)` needs a height divisible by 2, found 3",
        "pad or crop the data to a multiple, for example 4, or take fewer levels",
    );
    case(
        "struct A: Image<1, 4, 4> { «squeeze»(4000000000); }",
        "`squeeze(4000000000)` needs a height divisible by 4000000000, found 4",
        "pad or crop the data to a multiple, for example 4000000000, or take fewer levels",
    );
    // What follows an error is not blamed for it.
    case("struct A: Image<3, 7, 8> { «squeeze»(2); flatten; affine_coupling(net = mlp([8], relu)); }", "`squeeze(2)` needs a height divisible by 2, found 7", "pad or crop the data to a multiple, for example 8, or take fewer levels");
    case(
        "struct A: Image<3, 8, 8> { «squeez»(2); conv1x1(lu); }",
        "unknown block `squeez`",
        "did you mean `squeeze`?",
    );
}

#[test]
fn splits() {
    case(
        "struct A: Vector<1> { «affine_coupling»(net = mlp([8], relu)); }",
        "`affine_coupling` has nothing to split in Vector<1>",
        "a coupling needs two features; one alone is served by `actnorm` or `linear(diagonal)`",
    );
    case(
        "struct A: Image<1, 4, 4> { «additive_coupling»(net = conv([3], hidden = 8, relu)); }",
        "`additive_coupling` has nothing to split in Image<1, 4, 4>",
        "a coupling needs two channels: write `squeeze(2);` in front, or `keep = checker_even`",
    );
    case(
        "struct A: Vector<1> { «dual_affine_coupling»(net = mlp([8], relu)); }",
        "`dual_affine_coupling` has nothing to split in Vector<1>",
        "a coupling needs two features; one alone is served by `actnorm` or `linear(diagonal)`",
    );
    case(
        "struct A: Vector<6> { multiscale 3 (keep = «1/2») { actnorm; } }",
        "level 1 keeps 1/2 of 3 features, which is no whole number",
        "write for example `keep = 1/3`, or take fewer levels",
    );
    case(
        "struct A: Vector<5> { «multiscale» 2 { actnorm; } }",
        "level 0 keeps 1/2 of 5 features, which is no whole number",
        "write for example `keep = 1/5`, or take fewer levels",
    );
    case(
        "struct A: Vector<4> { «multiscale» 4 { actnorm; } }",
        "level 2 ends with Vector<1>, of which no part can leave",
        "take fewer levels, or make channels in the body with `squeeze(2)`",
    );
    case(
        "struct A: Image<3, 4, 4> { multiscale 2 (keep = «3/4») { actnorm; } }",
        "level 0 keeps 3/4 of 3 channels, which is no whole number",
        "write for example `keep = 1/3`, or take fewer levels",
    );
}

#[test]
fn unrolling() {
    case(
        "struct A: Image<1, 64, 64> { repeat «N» { squeeze(2); } }",
        "the count of a body that turns Image<1, 64, 64> into Image<4, 32, 32> is not a literal",
        "a body that changes the shape is unrolled: write its count out",
    );
    case(
        "struct A: Image<1, 64, 64> { «repeat» 65 { squeeze(2); } }",
        "65 iterations of a body that turns Image<1, 64, 64> into Image<4, 32, 32>",
        "a body that changes the shape is unrolled: at most 64 times",
    );
    case(
        "struct A: Vector<6> { use «Mine» -> Image<1, 2, 2>; actnorm; }",
        "a block that takes 6 elements and gives 4",
        "an invertible block keeps the number of elements",
    );
    cases(
        "struct A: Vector<6> { «squeeze»(2); } struct B: Image<3, 3, 3> { «linear»(lu); }",
        &[
            ("`squeeze` takes an image, found Vector<6>", "an image is declared `Image<channels, height, width>`, and lasts until `flatten` or `multiscale`"),
            ("`linear` takes a vector, found Image<3, 3, 3>", "on images write `conv1x1(lu)`, or `flatten;` in front"),
        ],
    );
}

#[test]
fn nested_counts() {
    const HELP: &str = "counts of nested repeats multiply to at most 4294967295";
    case(
        "struct A: Vector<4> { repeat 65536 { repeat «65536» { linear(lu); } } }",
        "`repeat 65536` inside of 65536 iterations",
        HELP,
    );
    // Told once, at the first that is too many; what is beside it and between them counts as it is.
    case(
        "struct A: Vector<4> {
            repeat 1000 {
                repeat 1000000 { actnorm; }
                repeat N { repeat 1000 { repeat «5000» { repeat 7 { linear(lu); } } } }
            }
            repeat 4294967295 { actnorm; }
        }",
        "`repeat 5000` inside of 1000000 iterations",
        HELP,
    );
    // Iterations that are unrolled count too, and the body is looked at all the same.
    cases(
        "struct A: Image<1, 64, 64> {
            repeat 2 { squeeze(2); repeat «4000000000» { «linear»(lu); } }
        }",
        &[
            ("`repeat 4000000000` inside of 2 iterations", HELP),
            (
                "`linear` takes a vector, found Image<4, 32, 32>",
                "on images write `conv1x1(lu)`, or `flatten;` in front",
            ),
        ],
    );
    valid("struct A: Vector<4> { repeat 65536 { repeat 65535 { linear(lu); } } }");
}
