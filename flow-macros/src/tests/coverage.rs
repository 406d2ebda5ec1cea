//! Features that nothing transforms.

use super::{case, valid};

const HELP: &str =
    "let `keep` alternate, or put `permute(reverse);` or `linear(lu);` between the couplings";

fn never(marked: &str, message: &str) {
    case(&marked.replace("NET", "net = mlp([8], relu)"), message, HELP);
}

fn covered(text: &str) {
    valid(&text.replace("NET", "net = mlp([8], relu)"));
}

#[test]
fn features_that_every_coupling_keeps() {
    never("struct A: Vector<4> { affine_coupling(keep = first, NET); affine_coupling(keep = «first», NET); }", "features 0 and 1 are never transformed: every coupling keeps them");
    never("struct A: Vector<3> { additive_coupling(keep = first, NET); actnorm; spline_coupling(keep = «first», NET); }", "feature 0 is never transformed: every coupling keeps it");
    never(
        "struct A: Vector<4> { repeat 8 { «affine_coupling»(NET); } }",
        "features 0 and 1 are never transformed: every coupling keeps them",
    );
    never("struct A: Vector<5> { affine_coupling(keep = even, NET); affine_coupling(keep = «first», NET); }", "feature 0 is never transformed: every coupling keeps it");
    never("struct A: Vector<2> { affine_coupling(keep = first, NET); permute(reverse); permute(reverse); affine_coupling(keep = «first», NET); }", "feature 0 is never transformed: every coupling keeps it");
    never("struct A: Vector<4> { affine_coupling(keep = first, NET); permute(roll(1)); affine_coupling(keep = «first», NET); }", "feature 1 is never transformed: every coupling keeps it");
    never("struct A: Vector<10> { affine_coupling(keep = second, NET); linear(diagonal); affine_coupling(keep = «second», NET); }", "features 5, 6 and 3 more are never transformed: every coupling keeps them");
    never("struct A<const D: usize>: Vector<D> { affine_coupling(keep = first, NET); affine_coupling(keep = «first», NET); }", "feature 0 is never transformed: every coupling keeps it");
    never("struct A: Vector<N> { affine_coupling(keep = first, NET); repeat M { affine_coupling(keep = «even», NET); } }", "feature 0 is never transformed: every coupling keeps it");
    let image = "struct A: Image<2, 2, 2> { affine_coupling(keep = checker_even, NET); affine_coupling(keep = «first», NET); }";
    case(
        &image.replace("NET", "net = conv([3], hidden = 8, relu)"),
        "channel 0 at row 0, column 0 is never transformed: every coupling keeps it",
        HELP,
    );
    let squeezed = "struct A: Image<1, 4, 4> { squeeze(2); affine_coupling(keep = second, NET); unsqueeze(2); squeeze(2); affine_coupling(keep = «second», NET); }";
    case(
        &squeezed.replace("NET", "net = conv([3], hidden = 8, relu)"),
        "channel 0 at row 1, column 0 is never transformed: every coupling keeps it",
        HELP,
    );
}

#[test]
fn turns_that_a_permutation_takes_back() {
    let help = "couplings without `keep` take turns, which `permute` undoes: write `keep = first` in each, or leave `permute` out";
    for text in [
        "struct A: Vector<4> { affine_coupling(NET); permute(reverse); «affine_coupling»(NET); }",
        "struct A: Vector<4> { repeat 3 { affine_coupling(NET); permute(reverse); «affine_coupling»(NET); permute(reverse); } }",
    ] {
        let message = "features 0 and 1 are never transformed: every coupling keeps them";
        case(&text.replace("NET", "net = mlp([8], relu)"), message, help);
    }
    // As the help says.
    covered("struct A: Vector<4> { affine_coupling(keep = first, NET); permute(reverse); affine_coupling(keep = first, NET); }");
}

#[test]
fn flows_that_transform_everything() {
    covered("struct A: Vector<4> { affine_coupling(NET); affine_coupling(NET); }");
    covered("struct A: Vector<4> { affine_coupling(keep = even, NET); affine_coupling(keep = odd, NET); }");
    covered("struct A: Vector<4> { repeat 2 { affine_coupling(keep = first, NET); permute(reverse); } }");
    covered("struct A: Vector<4> { repeat 4 { affine_coupling(keep = first, NET); permute(roll(1)); } }");
    covered("struct A<const D: usize>: Vector<D> { repeat 2 { affine_coupling(keep = first, NET); permute(reverse); } }");
    covered("struct A: Vector<4> { affine_coupling(keep = first, NET); linear(lu); affine_coupling(keep = first, NET); }");
    covered("struct A: Vector<4> { use Mine; affine_coupling(keep = first, NET); affine_coupling(keep = first, NET); }");
    covered("struct A: Vector<4> { residual(lipschitz = 0.9, NET); affine_coupling(keep = first, NET); affine_coupling(keep = first, NET); }");
    // One coupling, a shuffle, a multi-scale part: the rule is silent.
    covered("struct A: Vector<4> { affine_coupling(keep = first, NET); }");
    covered("struct A: Vector<4> { affine_coupling(keep = first, NET); permute(shuffle(1)); affine_coupling(keep = first, NET); }");
    covered("struct A: Vector<4> { multiscale 2 { affine_coupling(keep = first, NET); } }");
    covered("struct A: Vector<1000> { repeat 100000 { affine_coupling(keep = first, NET); permute(roll(1)); } }");
}
