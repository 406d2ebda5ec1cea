//! No input makes the macro panic, and errors always come with a stub.

use std::str::FromStr;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::expand::expand;

const FLOWS: [&str; 5] = [
    "#[require(analytic_inverse, lipschitz(forward <= 10, inverse <= 10))] #[base(mixture(3))] pub struct A<const D: usize>: Vector<D> given Vector<2> { 'a: actnorm; repeat 4 { affine_coupling(scale = sigmoid(0.5, 1.0), net = mlp([8, 8], swish)); permute(roll(1)); } use b::Mine(1) -> Vector<3>; }",
    "struct Glow: Image<3, 8, 8> { multiscale 2 (keep = 1/2) { squeeze(2); repeat 2 { actnorm; conv1x1(lu); affine_coupling(keep = checker_even, net = conv([3, 1, 3], hidden = 8, relu)); } haar; } linear(svd); }",
    "#[flow(crate = x)] struct A: Vector<{ 2 * N }> { residual(lipschitz = 0.9, net = resnet(blocks = 2, hidden = 8, elu), log_det = roulette(0.5)); ode(net = mlp([8], tanh, lipschitz = 1.5), solver = dopri5(1e-5)); spline_activation(slopes = (0.1, 0.9)); }",
    "struct A: Vector<6> { multiscale 2 (keep = 1/3) { spline_coupling(bins = 4, bound = 2.0, net = use My::<3>); } masked_autoregressive(spline, net = made([8], relu)); permute(shuffle(7)); scale(-0.5); } struct B: Vector<3> { use A; }",
    "struct A: Image<C, H, 4> given Vector<K> { unsqueeze(2); flatten; repeat N { linear(householder(2)); additive_coupling(keep = even, net = mlp([], gelu)); } logit(0.05); }",
];

/// Replacements that meet every rule: wrong kinds, extremes, the language's own words.
const OTHERS: [&str; 22] = [
    "0",
    "-1",
    "99999999999999999999",
    "4294967295",
    "1.5",
    "\"x\"",
    "repeat",
    "multiscale",
    "struct",
    "use",
    "'q",
    "{ }",
    "( )",
    "[ ]",
    "<",
    ";",
    ",",
    ":",
    "=",
    "->",
    "actnorm",
    "mlp",
];

/// All streams that differ from this one in a single place.
fn mutations(tokens: &TokenStream) -> Vec<TokenStream> {
    let trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let with = |index: usize, middle: TokenStream| -> TokenStream {
        let (before, after) = (&trees[..index], &trees[index + 1..]);
        before.iter().cloned().chain(middle).chain(after.iter().cloned()).collect()
    };
    let mut all = Vec::new();
    for (index, tree) in trees.iter().enumerate() {
        let tree = TokenStream::from(tree.clone());
        all.push(with(index, TokenStream::new()));
        all.push(with(index, tree.clone().into_iter().chain(tree).collect()));
        for other in OTHERS {
            all.push(with(index, TokenStream::from_str(other).expect("tokens")));
        }
        if let TokenTree::Group(group) = &trees[index] {
            for inner in mutations(&group.stream()) {
                let group = Group::new(group.delimiter(), inner);
                all.push(with(index, TokenTree::from(group).into()));
            }
            let bare = Group::new(Delimiter::None, group.stream());
            all.push(with(index, TokenTree::from(bare).into()));
        }
    }
    all
}

#[test]
fn no_mutation_panics() {
    let mut wrong = 0;
    for text in FLOWS {
        for mutation in mutations(&TokenStream::from_str(text).expect("tokens")) {
            let source = mutation.to_string();
            let code = expand(mutation);
            let text = code.to_string();
            if text.contains("compile_error") {
                wrong += 1;
                // Only a flow without a readable name leaves nothing.
                let stub = text.contains("pub fn build");
                let named = source.contains("struct A") || source.contains("struct Glow");
                assert!(stub || !named, "no stub for {source}");
            }
            if let Err(error) = syn::parse2::<syn::File>(code) {
                panic!("{error} for {source}\n{text}");
            }
        }
    }
    assert!(wrong > 1000, "most mutations are errors, found {wrong}");
}
