//! How many numbers a block trains: for its line in the rustdoc, and to see that they fit a machine.

use crate::architecture::{Arguments, Block, Keep, Net, NetKind, Shape};
use crate::catalog::{Id, NetId};
use crate::dim::Dim;

/// `None` where only rustc, or only the user's own block, knows. Counts that overflow end at the most
/// that there is.
pub(crate) fn count(block: &Block, input: &Shape, context: Option<&Dim>) -> Option<u64> {
    let d = input.features()?.value?;
    let square = d.saturating_mul(d);
    let arguments = &block.arguments;
    let context = match context {
        Some(context) => context.value?,
        None => 0,
    };
    match block.row.id {
        Id::Standardize
        | Id::Permute
        | Id::Squeeze
        | Id::Unsqueeze
        | Id::Haar
        | Id::Flatten
        | Id::Tanh
        | Id::Sigmoid
        | Id::Logit
        | Id::NormalCdf
        | Id::LeakyRelu
        | Id::Softplus
        | Id::Scale => Some(0),
        Id::ActNorm => Some(d.saturating_mul(2)),
        Id::Linear | Id::Conv1x1 => {
            let form = arguments.choice("form");
            match form.name {
                "diagonal" => Some(d),
                "dense" | "orthogonal" => Some(square),
                "householder" => Some(form.arguments.count("count").value?.saturating_mul(d)),
                _ => Some(square.saturating_mul(2).saturating_add(d)),
            }
        }
        Id::InvertibleConv => {
            let k = arguments.count("kernel").value?;
            let features = k.saturating_mul(k).saturating_mul(d);
            Some(features.saturating_mul(features))
        }
        Id::AdditiveCoupling | Id::AffineCoupling | Id::SplineCoupling => {
            let keep = block.keep?;
            let (kept, moved) = parts(d, keep);
            let each = each(block)?;
            let outputs = moved.saturating_mul(each);
            let net = net(arguments.net(), input, kept.saturating_add(context), outputs)?;
            Some(net.saturating_add(hats(arguments, moved)?))
        }
        Id::DualAffineCoupling => {
            let (h, rest) = (d / 2, d - d / 2);
            let one = |kept: u64, moved: u64| {
                let outputs = moved.saturating_mul(2);
                let net = net(arguments.net(), input, kept.saturating_add(context), outputs)?;
                Some(net.saturating_add(hats(arguments, moved)?))
            };
            Some(one(rest, h)?.saturating_add(one(h, rest)?))
        }
        Id::MaskedAutoregressive | Id::InverseAutoregressive => {
            let outputs = d.saturating_mul(each(block)?);
            net(arguments.net(), input, d.saturating_add(context), outputs)
        }
        Id::Residual => net(arguments.net(), input, d.saturating_add(context), d),
        Id::Ode => net(arguments.net(), input, d.saturating_add(context).saturating_add(1), d),
        Id::SplineActivation => {
            let knots = arguments.count("bins").value?.saturating_add(1);
            Some(knots.saturating_mul(3).saturating_add(1).saturating_mul(d))
        }
        Id::Planar => Some(d.saturating_mul(2).saturating_add(1)),
        Id::Radial => Some(d.saturating_add(2)),
        Id::Sylvester => {
            let rank = arguments.count("rank").value?;
            let square = rank.saturating_mul(rank).saturating_mul(2);
            Some(rank.saturating_mul(d).saturating_add(square).saturating_add(rank))
        }
    }
}

fn parts(d: u64, keep: Keep) -> (u64, u64) {
    let half = d / 2;
    match keep {
        Keep::First | Keep::Odd => (half, d - half),
        Keep::Second | Keep::Even => (d - half, half),
        // A checkerboard's net sees and gives all channels.
        Keep::CheckerEven | Keep::CheckerOdd => (d, d),
    }
}

/// Numbers a transformed feature takes from the net.
fn each(block: &Block) -> Option<u64> {
    match block.row.id {
        Id::AdditiveCoupling => Some(1),
        Id::SplineCoupling => spline(&block.arguments),
        Id::MaskedAutoregressive | Id::InverseAutoregressive => {
            let transform = block.arguments.choice("transform");
            match transform.name {
                "spline" => spline(&transform.arguments),
                _ => Some(2),
            }
        }
        _ => Some(2),
    }
}

fn spline(arguments: &Arguments) -> Option<u64> {
    Some(arguments.count("bins").value?.saturating_mul(3).saturating_sub(1))
}

/// The weights of Mexican-hat scales, beside the net.
fn hats(arguments: &Arguments, moved: u64) -> Option<u64> {
    if arguments.get("scale").is_none() {
        return Some(0);
    }
    let scale = arguments.choice("scale");
    match scale.name {
        "mexican_hat" => {
            let hats = scale.arguments.count("m").value?;
            Some(hats.saturating_mul(moved).saturating_mul(2))
        }
        _ => Some(0),
    }
}

fn net(net: &Net, input: &Shape, inputs: u64, outputs: u64) -> Option<u64> {
    let NetKind::BuiltIn { row, arguments } = &net.kind else { return None };
    // A normalised weight has a length for each output beside its directions.
    let beside = if arguments.flag("weight_norm") { 2 } else { 1 };
    let layer = |inputs: u64, outputs: u64, kernel: u64| {
        let weights = kernel.saturating_mul(kernel).saturating_mul(inputs).saturating_mul(outputs);
        weights.saturating_add(outputs.saturating_mul(beside))
    };
    match row.id {
        NetId::Mlp | NetId::Made => {
            let mut widths = vec![inputs];
            for hidden in arguments.counts("hidden") {
                widths.push(hidden.value?);
            }
            widths.push(outputs);
            Some(sum(widths.windows(2).map(|pair| layer(pair[0], pair[1], 1))))
        }
        NetId::Conv => {
            let kernels = arguments.counts("kernels");
            let hidden = arguments.count("hidden").value?;
            let last = kernels.len().checked_sub(1)?;
            let layers = kernels.iter().enumerate().map(|(index, kernel)| {
                let from = if index == 0 { inputs } else { hidden };
                let to = if index == last { outputs } else { hidden };
                Some(layer(from, to, kernel.value?))
            });
            layers.collect::<Option<Vec<u64>>>().map(|layers| sum(layers.into_iter()))
        }
        NetId::ResNet => {
            let (blocks, hidden) =
                (arguments.count("blocks").value?, arguments.count("hidden").value?);
            let kernel = if matches!(input, Shape::Image(_)) { 3 } else { 1 };
            let mut block = layer(hidden, hidden, kernel).saturating_mul(2);
            if arguments.flag("attention") {
                let between = (hidden / 4).max(1);
                let gates = layer(hidden, between, 1).saturating_add(layer(between, hidden, 1));
                block = block.saturating_add(gates);
            }
            let inner = block.saturating_mul(blocks);
            Some(sum([layer(inputs, hidden, 1), inner, layer(hidden, outputs, 1)].into_iter()))
        }
    }
}

fn sum(layers: impl Iterator<Item = u64>) -> u64 {
    layers.fold(0, u64::saturating_add)
}
