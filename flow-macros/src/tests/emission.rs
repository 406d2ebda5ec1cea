//! The code that comes out, as syntax: what rustc makes of it is tested where flow-core is.

use std::str::FromStr;

use proc_macro2::TokenStream;
use syn::{File, Item};

use crate::expand::expand;

fn file(text: &str) -> File {
    let code = expand(TokenStream::from_str(text).expect("tokens"));
    syn::parse2(code.clone()).unwrap_or_else(|error| panic!("{error} in\n{code}"))
}

fn structs(file: &File) -> Vec<String> {
    file.items
        .iter()
        .filter_map(|item| match item {
            Item::Struct(item) => Some(item.ident.to_string()),
            _ => None,
        })
        .collect()
}

const FLOWS: [&str; 8] = [
    "pub struct A: Vector<3> { standardize; actnorm; permute(reverse); permute(roll(1)); permute(shuffle(3)); linear(lu); linear(orthogonal); linear(diagonal); }",
    "/// Docs.\n#[derive(Clone, Debug)] #[cfg(test)] struct A<const D: usize>: Vector<D> given Vector<2> { 'steps: repeat 4 { affine_coupling(scale = sigmoid(0.5, 1.0, shift = -1.0), net = mlp([8, 8], swish, lipschitz = 2.0)); spline_coupling(net = mlp([], tanh)); } }",
    "#[require(analytic_inverse, lipschitz(forward <= 10, inverse <= 10))] #[base(mixture(3))] struct A: Vector<N> { use blocks::Mine(1, 2.0); use Other -> Vector<N>; repeat M { linear(orthogonal); } }",
    "struct A: Vector<8> { multiscale 3 { 'self: actnorm; 'loop: linear(lu); repeat 2 { 'item_0: actnorm; actnorm; } } }",
    "#[flow(crate = crate::renamed)] struct r#A: Vector<{ 2 + 2 }> { additive_coupling(net = use Mine); linear(lu); }",
    "struct A: Image<4, 4, 4> { actnorm; multiscale 2 { permute(reverse); } }",
    "struct A: Vector<4> { repeat 3 { use Split -> Vector<{ 2 + 2 }>; } } struct B: Vector<2> { use A; }",
    "struct A: Vector<4> { repeat 2 { use Unfold -> Image<1, 2, 2>; use Fold -> Vector<4>; use Same -> Vector<{ 8 / 2 }>; } 'a: repeat 2 { actnorm; } 'A: repeat 2 { actnorm; } }",
];

#[test]
fn flows_become_files() {
    for text in FLOWS {
        let file = file(text);
        let errors = file.items.iter().any(|item| matches!(item, Item::Macro(_)));
        assert!(!errors, "errors in {text}");
    }
}

#[test]
fn every_struct_has_a_name_of_its_own() {
    assert_eq!(structs(&file(FLOWS[1])), ["A", "ABlocksSteps", "ABlocks"]);
    let names = structs(&file(FLOWS[7]));
    assert_eq!(names, ["A", "ABlocksItem0", "ABlocksA", "ABlocksAX", "ABlocks"]);
    let names = structs(&file(FLOWS[3]));
    assert_eq!(names.len(), 8);
}

#[test]
fn a_flow_with_errors_leaves_its_type() {
    let file = file("#[derive(Clone)] pub struct A<const D: usize>: Vector<D> given Vector<2> { actnrm; linear(lo); } struct B: Vectr<3> { actnorm; }");
    let errors = file.items.iter().filter(|item| matches!(item, Item::Macro(_))).count();
    assert_eq!((errors, structs(&file)), (3, vec!["A".to_owned(), "B".to_owned()]));
}

#[test]
fn every_path_is_absolute() {
    for text in FLOWS {
        let code = expand(TokenStream::from_str(text).expect("tokens")).to_string();
        for name in ["flow_core", "core", "std"] {
            for (at, _) in code.match_indices(&format!(" {name} ::")) {
                assert!(code[..at].ends_with("::"), "`{name}` without `::` in {text}");
            }
        }
    }
    let renamed = expand(TokenStream::from_str(FLOWS[4]).expect("tokens")).to_string();
    assert!(!renamed.contains("flow_core") && renamed.contains("crate :: renamed :: Block"));
}

#[test]
fn the_rustdoc_has_a_table() {
    let code = expand(TokenStream::from_str(FLOWS[1]).expect("tokens")).to_string();
    assert!(code.contains("| item | shape | parameters | log-determinant |"), "{code}");
    let code = expand(TokenStream::from_str(FLOWS[0]).expect("tokens")).to_string();
    assert!(code.contains("| `1` `actnorm` | `Vector<3>` | 6 | constant | none |"), "{code}");
    assert!(code.contains("| `6` `linear(orthogonal)` | `Vector<3>` | 9 | 0 | 1, 1 |"), "{code}");
}

#[test]
fn a_multiscale_at_the_end_has_levels() {
    let levels = |text: &str| {
        let code = expand(TokenStream::from_str(text).expect("tokens")).to_string();
        let (_, after) = code.split_once("MultiScale for")?;
        let (_, after) = after.split_once("type Levels =")?;
        Some(after.split_once(';')?.0.replace(":: flow_core :: ", "").replace(' ', ""))
    };
    let expected = |text: &str| Some(text.to_owned());
    let image = "struct A: Image<3, 8, 8> { actnorm; multiscale 3 (keep = 1/4) { squeeze(2); } }";
    assert_eq!(levels(image), expected("(Image<9,4,4>,Image<9,2,2>,Image<12,1,1>,)"));
    let vector = "struct A: Vector<9> { multiscale 3 (keep = 2/3) { actnorm; } }";
    assert_eq!(levels(vector), expected("(Vector<3>,Vector<2>,Vector<4>,)"));
    let constant = "struct A: Vector<N> { multiscale 2 { actnorm; } }";
    assert_eq!(levels(constant), expected("(Vector<{N-(N/2)}>,Vector<{N/2}>,)"));
    let whole = "struct A<const D: usize>: Vector<D> { multiscale 1 { actnorm; } }";
    assert_eq!(levels(whole), expected("(Vector<D>,)"));
    for without in [
        "struct A: Vector<4> { actnorm; }",
        "struct A: Vector<4> { multiscale 2 { actnorm; } permute(reverse); }",
        "struct A: Vector<8> { multiscale 2 { multiscale 2 { actnorm; } } }",
        "struct A: Vector<8> { multiscale 2 { actnorm; } multiscale 2 { actnorm; } }",
        "struct A<const D: usize>: Vector<D> { multiscale 2 { actnorm; } }",
        "struct A: Vector<8192> { multiscale 13 { actnorm; } }",
    ] {
        assert_eq!(levels(without), None, "{without}");
    }
}
