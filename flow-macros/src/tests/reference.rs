//! The reference of the language, flow-core's, against the catalog: signatures, defaults, ranges.

use std::fmt::Write;

use super::valid;
use crate::architecture::StepKind;
use crate::catalog::{Argument, Default, Facts, Kind, LogDet, BLOCKS, NETS};

const CONVENTIONS: &str = include_str!("../../../flow-core/src/reference/conventions.md");
const BLOCKS_TEXT: &str = include_str!("../../../flow-core/src/reference/blocks.md");
const NETS_TEXT: &str = include_str!("../../../flow-core/src/reference/nets.md");
const ARGUMENTS: &str = include_str!("../../../flow-core/src/reference/arguments.md");

/// As the conventions say: `bins = 8`, `net = …`, `[keep = …]`, `factor`.
fn signature(name: &str, arguments: &[Argument]) -> String {
    let each = arguments.iter().map(|argument| {
        let name = argument.name;
        match argument.default {
            Default::Required if argument.positional => name.to_owned(),
            Default::Required => format!("{name} = …"),
            Default::Optional => format!("[{name} = …]"),
            Default::Value(default) => format!("{name} = {default}"),
        }
    });
    match each.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => name.to_owned(),
        all => format!("{name}({all})"),
    }
}

/// Every list of arguments with the name of what takes it: blocks, nets, and the variants of both.
fn calls() -> Vec<(&'static str, &'static [Argument])> {
    let blocks = BLOCKS.iter().map(|block| (block.name, block.arguments));
    let mut calls: Vec<_> =
        blocks.chain(NETS.iter().map(|net| (net.name, net.arguments))).collect();
    let mut at = 0;
    while let Some(&(_, arguments)) = calls.get(at) {
        for argument in arguments {
            let Kind::OneOf(variants) = argument.kind else { continue };
            let variants = variants.iter().filter(|variant| !variant.arguments.is_empty());
            for call in variants.map(|variant| (variant.name, variant.arguments)) {
                if !calls.iter().any(|(_, known)| std::ptr::eq(*known, call.1)) {
                    calls.push(call);
                }
            }
        }
        at += 1;
    }
    calls
}

#[test]
fn every_signature_is_in_the_reference() {
    for block in BLOCKS {
        let signature = format!("`{}`", signature(block.name, block.arguments));
        assert!(BLOCKS_TEXT.contains(&signature), "the reference lacks {signature}");
    }
    for net in NETS {
        let needed = net.arguments.iter().take_while(|a| matches!(a.default, Default::Required));
        let signature = format!("`{}`", signature(net.name, &net.arguments[..needed.count()]));
        assert!(NETS_TEXT.contains(&signature), "the reference lacks {signature}");
    }
    let known = |name| BLOCKS.iter().any(|b| b.name == name) || NETS.iter().any(|n| n.name == name);
    for (name, arguments) in calls().into_iter().filter(|(name, _)| !known(*name)) {
        let signature = format!("`{}`", signature(name, arguments));
        let written = BLOCKS_TEXT.contains(&signature) || NETS_TEXT.contains(&signature);
        assert!(written, "the reference lacks {signature}");
    }
}

/// The documentation of the macro itself, which is shorter, gives the same defaults.
#[test]
fn the_page_of_the_macro_has_the_same_defaults() {
    let lines = include_str!("../lib.rs").lines().map(|line| line.trim_start_matches("/// "));
    let page = lines.collect::<Vec<_>>().join(" ");
    for argument in calls().into_iter().flat_map(|(_, arguments)| arguments) {
        if let Default::Value(default) = argument.default {
            let given = format!("{} = {default}", argument.name);
            assert!(page.contains(&given), "the macro's documentation lacks `{given}`");
        }
    }
}

/// The names that the conventions give for arguments with a default that need no name, and the
/// required ones that do.
#[test]
fn the_exceptions_of_the_conventions_are_all() {
    let (mut free, mut bound) = (Vec::new(), Vec::new());
    for argument in calls().into_iter().flat_map(|(_, arguments)| arguments) {
        match (&argument.default, argument.positional) {
            (Default::Value(_), true) => free.push(argument.name),
            (Default::Required, false) => bound.push(argument.name),
            _ => {}
        }
    }
    bound.sort_unstable();
    bound.dedup();
    assert_eq!((free, bound), (vec!["alpha", "slope", "p"], vec!["lipschitz", "net"]));
    assert!(CONVENTIONS.contains("for `alpha`, `slope` and `p`"));
}

#[test]
fn the_table_of_arguments_is_the_catalogs() {
    let mut rows: Vec<(String, Vec<&str>)> = Vec::new();
    for (owner, arguments) in calls() {
        for argument in arguments {
            let default = match argument.default {
                Default::Required => "required".into(),
                Default::Optional => "none".into(),
                Default::Value(default) => format!("`{default}`"),
            };
            let takes = argument.kind.describe();
            let row = format!("| `{}` | {{}} | {default} | {takes} |", argument.name);
            match rows.iter_mut().find(|(known, _)| *known == row) {
                Some((_, owners)) => owners.push(owner),
                None => rows.push((row, vec![owner])),
            }
        }
    }
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut table = String::new();
    for (row, owners) in rows {
        let owners: Vec<String> = owners.iter().map(|owner| format!("`{owner}`")).collect();
        writeln!(table, "{}", row.replace("{}", &owners.join(", "))).unwrap();
    }
    let (_, written) = ARGUMENTS.split_once("|---|---|---|---|\n").expect("a table");
    assert_eq!(written, table, "the table should be:\n{table}");
}

/// What the row of a block in the table of contracts says, for each of its claims.
fn claims(name: &str) -> Vec<&'static str> {
    let (_, table) = NETS_TEXT.split_once("# Contracts").expect("contracts");
    let (table, _) = table.split_once("`volume_preserving`").expect("what follows the table");
    let listed = |row: &&str| row.split('|').nth(1).is_some_and(|names| names.contains(name));
    let rows: Vec<&str> = table.lines().filter(listed).collect();
    let [row] = rows.as_slice() else { panic!("{} rows for {name}", rows.len()) };
    row.split('|').skip(2).map(str::trim).collect()
}

#[test]
fn the_table_of_contracts_is_the_catalogs() {
    let net = "net = mlp([8], relu)";
    for (row, block) in [
        ("`standardize`", "standardize".to_owned()),
        ("`actnorm`", "actnorm".into()),
        ("`linear(diagonal)`", "linear(diagonal)".into()),
        ("`linear(lu)`", "linear(lu)".into()),
        ("`linear(svd)`", "linear(svd)".into()),
        ("`linear(dense)`", "linear(dense)".into()),
        ("`permute`", "permute(reverse)".into()),
        ("`linear(orthogonal)`", "linear(orthogonal)".into()),
        ("`linear(householder)`", "linear(householder(2))".into()),
        ("`additive_coupling`", format!("additive_coupling({net})")),
        ("other couplings", format!("affine_coupling({net})")),
        ("other couplings", format!("spline_coupling({net})")),
        ("other couplings", format!("dual_affine_coupling({net})")),
        ("autoregressive blocks", "masked_autoregressive(affine, net = made([8], relu))".into()),
        ("autoregressive blocks", "inverse_autoregressive(spline, net = made([8], relu))".into()),
        ("`residual`", format!("residual(lipschitz = 0.5, {net})")),
        ("`ode`", format!("ode({net})")),
        ("`spline_activation`", "spline_activation".into()),
        ("`leaky_relu`", "leaky_relu".into()),
        ("`tanh`", "tanh".into()),
        ("`sigmoid`", "sigmoid".into()),
        ("`normal_cdf`", "normal_cdf".into()),
        ("`softplus`", "softplus".into()),
        ("`logit`", "logit".into()),
        ("`planar`", "planar".into()),
        ("`radial`", "radial".into()),
        ("`sylvester`", "sylvester(2)".into()),
        ("`scale`", "scale(2.0)".into()),
    ] {
        compare(row, &format!("struct A: Vector<4> {{ {block}; }}"));
    }
    for (row, block) in [
        ("`conv1x1(lu)`", "conv1x1(lu)"),
        ("`conv1x1(dense)`", "conv1x1(dense)"),
        ("`conv1x1(orthogonal)`", "conv1x1(orthogonal)"),
        ("`invertible_conv`", "invertible_conv(2)"),
        ("`squeeze`", "squeeze(2)"),
        ("`unsqueeze`", "unsqueeze(2)"),
        ("`haar`", "haar"),
        ("`flatten`", "flatten"),
    ] {
        compare(row, &format!("struct A: Image<4, 4, 4> {{ {block}; }}"));
    }
    let unknown = facts("struct A: Vector<4> { additive_coupling(net = use Mine); }");
    assert!(unknown.bi_lipschitz.is_err());
    assert_eq!(facts("struct A: Vector<4> { scale(-1.0); }").log_det, LogDet::Zero);
}

fn facts(flow: &str) -> Facts {
    match &valid(flow).steps[0].kind {
        StepKind::Block(block) => block.facts(),
        _ => panic!("no block in {flow}"),
    }
}

fn compare(row: &str, flow: &str) {
    let (claims, facts) = (claims(row), facts(flow));
    let yes = |holds: bool| if holds { "yes" } else { "no" };
    let log_det = match facts.log_det {
        LogDet::Zero => "0",
        LogDet::Constant => "constant",
        LogDet::Varying => "varies",
    };
    assert_eq!(claims[0], yes(facts.analytic_inverse.is_ok()), "closed form of {flow}");
    assert!(claims[1].starts_with(log_det), "log-determinant of {flow}: {log_det}");
    let conditional = claims[2].starts_with("unless") && facts.bi_lipschitz.is_ok();
    assert!(conditional || claims[2] == yes(facts.bi_lipschitz.is_ok()), "bi-Lipschitz: {flow}");
    assert_eq!(claims[3], yes(facts.memory_saving.is_ok()), "memory of {flow}");
}
