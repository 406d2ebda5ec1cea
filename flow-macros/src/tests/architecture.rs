//! What the front end makes of valid flows: shapes, paths, sides.

use super::valid;
use crate::architecture::{Keep, Step, StepKind};
use crate::catalog::{Default, BLOCKS, NETS};

/// One line a block: path, what passes, shape after it.
fn lines(text: &str) -> Vec<String> {
    let flow = valid(&text.replace("NET", "net = mlp([8], relu)"));
    let mut lines = Vec::new();
    append(&flow.steps, "", &mut lines);
    lines.push(flow.latent.to_string());
    lines
}

fn append(steps: &[Step], prefix: &str, lines: &mut Vec<String>) {
    for step in steps {
        let path = format!("{prefix}{}", step.segment());
        match &step.kind {
            StepKind::Block(block) => {
                let keep = block.keep.map_or("", Keep::name);
                lines.push(format!("{path} {}{keep} {}", block.row.name, step.output));
            }
            StepKind::Use(block) => lines.push(format!("{path} {} {}", block.text, step.output)),
            StepKind::Repeat { count, body } => append(body, &format!("{path}.{count}*."), lines),
            StepKind::Unrolled(iterations) => {
                for (index, body) in iterations.iter().enumerate() {
                    append(body, &format!("{path}.{index}."), lines);
                }
            }
            StepKind::Multiscale(levels) => {
                for (index, level) in levels.iter().enumerate() {
                    append(&level.body, &format!("{path}.{index}."), lines);
                }
            }
            StepKind::Hole => unreachable!("a valid flow has no holes"),
        }
    }
}

#[test]
fn labels_count_among_their_siblings() {
    let lines = lines("struct A: Vector<3> { 'scale: actnorm; linear(lu); 'mix: repeat 2 { 'turn: linear(lu); affine_coupling(NET); } }");
    assert_eq!(
        lines,
        [
            "scale actnorm Vector<3>",
            "1 linear Vector<3>",
            "mix.2*.turn linear Vector<3>",
            "mix.2*.1 affine_couplingfirst Vector<3>",
            "Vector<3>",
        ]
    );
}

#[test]
fn couplings_alternate_as_they_stand_in_the_text() {
    let lines = lines(
        "struct A: Vector<6> { affine_coupling(NET); repeat 3 { spline_coupling(NET); }
         additive_coupling(keep = odd, NET); affine_coupling(NET); multiscale 2 { affine_coupling(NET); }
         affine_coupling(NET); }",
    );
    let sides: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(
        sides,
        [
            "affine_couplingfirst",
            "spline_couplingsecond",
            "additive_couplingodd",
            "affine_couplingfirst",
            "affine_couplingsecond",
            "affine_couplingsecond",
            "affine_couplingfirst",
        ]
    );
}

#[test]
fn shapes_of_a_multiscale_image_flow() {
    let lines = lines(
        "struct Glow: Image<3, 32, 32> { multiscale 3 { squeeze(2); repeat 16 { actnorm; conv1x1(lu); } } linear(lu); }",
    );
    assert_eq!(
        lines,
        [
            "0.0.0 squeeze Image<12, 16, 16>",
            "0.0.1.16*.0 actnorm Image<12, 16, 16>",
            "0.0.1.16*.1 conv1x1 Image<12, 16, 16>",
            "0.1.0 squeeze Image<24, 8, 8>",
            "0.1.1.16*.0 actnorm Image<24, 8, 8>",
            "0.1.1.16*.1 conv1x1 Image<24, 8, 8>",
            "0.2.0 squeeze Image<48, 4, 4>",
            "0.2.1.16*.0 actnorm Image<48, 4, 4>",
            "0.2.1.16*.1 conv1x1 Image<48, 4, 4>",
            "1 linear Vector<3072>",
            "Vector<3072>",
        ]
    );
}

#[test]
fn shapes_that_change() {
    assert_eq!(
        lines("struct A: Image<1, 8, 8> { repeat 2 { squeeze(2); } unsqueeze(2); haar; invertible_conv(kernel = 2); flatten; }"),
        [
            "0.0.0 squeeze Image<4, 4, 4>",
            "0.1.0 squeeze Image<16, 2, 2>",
            "1 unsqueeze Image<4, 4, 4>",
            "2 haar Image<16, 2, 2>",
            "3 invertible_conv Image<64, 1, 1>",
            "4 flatten Vector<64>",
            "Vector<64>",
        ]
    );
    assert_eq!(
        lines("struct A: Vector<9> { multiscale 2 (keep = 2/3) { actnorm; } }"),
        ["0.0.0 actnorm Vector<9>", "0.1.0 actnorm Vector<6>", "Vector<9>"]
    );
    assert_eq!(
        lines("struct A: Vector<4> { use a::Fold(2, \"x\") -> Image<1, 2, 2>; use Other; }"),
        [
            "0 use a::Fold(2, \"x\") -> Image<1, 2, 2> Image<1, 2, 2>",
            "1 use Other Image<1, 2, 2>",
            "Image<1, 2, 2>",
        ]
    );
}

#[test]
fn named_constants_stay_names() {
    let text = "struct A: Image<C, SIDE, sizes::W> { squeeze(2); flatten; }";
    assert_eq!(
        lines(text),
        [
            "0 squeeze Image<(C * 2) * 2, SIDE / 2, sizes::W / 2>",
            "1 flatten Vector<(((C * 2) * 2) * (SIDE / 2)) * (sizes::W / 2)>",
            "Vector<(((C * 2) * 2) * (SIDE / 2)) * (sizes::W / 2)>",
        ]
    );
    let assertions: Vec<String> =
        valid(text).assertions.iter().map(|assertion| assertion.message.clone()).collect();
    assert_eq!(
        assertions,
        [
            "a dimension of 0",
            "a dimension of 0",
            "a dimension of 0",
            "`squeeze(2)` needs a height divisible by 2, found SIDE",
            "`squeeze(2)` needs a width divisible by 2, found sizes::W",
        ]
    );
    let generic = valid("struct A<const D: usize>: Vector<D> { multiscale 2 { affine_coupling(net = mlp([8], relu)); } }");
    assert!(generic.assertions.iter().all(|assertion| assertion.generic));
    let messages: Vec<&str> =
        generic.assertions.iter().map(|assertion| assertion.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "a dimension of 0",
            "`affine_coupling` has nothing to split in one feature",
            "level 0 keeps 1/2 of its features, which is no whole number",
            "`affine_coupling` has nothing to split in one feature",
        ]
    );
}

/// Every default of the catalog can be read, and every accessor finds what it looks for.
#[test]
fn every_row_of_the_catalog_works() {
    for block in BLOCKS {
        let arguments = match block.name {
            "permute" => "(shuffle(1))",
            "linear" | "conv1x1" => "(lu)",
            "invertible_conv" => "(kernel = 2)",
            "masked_autoregressive" => "(affine, net = made([8], relu))",
            "inverse_autoregressive" => "(spline(bins = 4), net = made([8], relu))",
            "residual" => "(lipschitz = 0.5, NET)",
            "squeeze" | "unsqueeze" => "(2)",
            "scale" | "sylvester" => "(2)",
            _ if block.arguments.iter().any(|argument| argument.name == "net") => "(NET)",
            _ => "",
        };
        let vectors = format!("struct A: Vector<4> {{ {}{arguments}; }}", block.name);
        let images = format!("struct A: Image<4, 4, 4> {{ {}{arguments}; }}", block.name);
        let (text, net) = match block.on {
            crate::catalog::On::Images => (images, "net = conv([3], hidden = 8, relu)"),
            _ => (vectors, "net = mlp([8], relu)"),
        };
        let flow = valid(&text.replace("NET", net));
        let StepKind::Block(made) = &flow.steps[0].kind else { panic!("a block") };
        made.facts();
        let counted = crate::parameters::count(made, &flow.steps[0].input, None);
        assert!(counted.is_some(), "parameters of {}", block.name);
        for argument in block.arguments {
            if let Default::Required | Default::Value(_) = argument.default {
                assert!(made.arguments.get(argument.name).is_some(), "{}", argument.name);
            }
        }
    }
    let names: Vec<&str> = NETS.iter().map(|net| net.name).collect();
    assert_eq!(names, ["mlp", "conv", "resnet", "made"]);
}

#[test]
fn parameters_are_counted() {
    let count = |item: &str| {
        let flow = valid(&format!("struct A: Vector<5> given Vector<2> {{ {item}; }}"));
        let StepKind::Block(block) = &flow.steps[0].kind else { panic!("a block") };
        crate::parameters::count(block, &flow.steps[0].input, flow.header.context.size())
    };
    assert_eq!(count("actnorm"), Some(10));
    assert_eq!(count("linear(lu)"), Some(55));
    assert_eq!(count("linear(householder(2))"), Some(10));
    assert_eq!(count("spline_activation(bins = 3)"), Some(5 * 13));
    assert_eq!(count("sylvester(2)"), Some(2 * 5 + 2 * 4 + 2));
    // 2 features pass, 2 numbers of context, 3 transformed features of two numbers each.
    let affine = (4 * 16 + 16) + (16 * 6 + 6);
    assert_eq!(count("affine_coupling(keep = first, net = mlp([16], relu))"), Some(affine));
    let spline = (5 * 16 + 16) + (16 * 46 + 46);
    assert_eq!(count("spline_coupling(keep = second, net = mlp([16], relu))"), Some(spline));
    let resnet = (4 * 9 + 9) + 2 * 2 * (9 * 9 + 9) + (9 * 3 + 3);
    let net = |options| format!("net = resnet(blocks = 2, hidden = 9, relu{options})");
    let additive = |options| format!("additive_coupling(keep = first, {})", net(options));
    assert_eq!(count(&additive("")), Some(resnet));
    let gates = 2 * ((9 * 2 + 2) + (2 * 9 + 9));
    assert_eq!(count(&additive(", attention = true")), Some(resnet + gates));
    assert_eq!(count("affine_coupling(net = use Mine)"), None);
}

#[test]
fn an_item_reads_as_a_person_writes_it() {
    for text in [
        "use Turn(-0.3, a - b, [-1])",
        "affine_coupling(scale = sigmoid(0.1, 2.0, shift = -0.5), net = mlp([7], relu))",
        "use other::Block -> Vector<5>",
    ] {
        let flow = valid(&format!("struct A: Vector<5> {{ {text}; }}"));
        let read = match &flow.steps[0].kind {
            StepKind::Block(block) => &block.text,
            StepKind::Use(block) => &block.text,
            _ => panic!("a block"),
        };
        assert_eq!(read, text);
    }
}
