//! Conditioners: whether a net fits the block that it stands in.

use syn::Path;

use crate::architecture::{Architecture, Block, Net, NetKind, Resolved, Shape, Step, StepKind};
use crate::catalog::{self, Id, NetId, On};
use crate::report::{Place, Report};

pub(super) fn nets(flow: &Architecture, report: &Report) {
    visit(&flow.steps, &mut |block, input| {
        let Some(given) = block.arguments.get("net") else { return };
        let Resolved::Net(net) = &given.value else { return };
        match &net.kind {
            NetKind::BuiltIn { row, .. } if block.row.id.is_autoregressive() => {
                masked(block, row, net, report);
            }
            NetKind::BuiltIn { row, .. } => fits(row, net, input, report),
            NetKind::Use(path) => module(flow, block, path, input, report),
        }
        one_coefficient(block, net, report);
        attention(block, net, report);
    });
}

/// Visits each block where it stands, one iteration and every level, with its input.
pub(super) fn visit(steps: &[Step], f: &mut impl FnMut(&Block, &Shape)) {
    for step in steps {
        match &step.kind {
            StepKind::Block(block) => f(block, &step.input),
            StepKind::Repeat { body, .. } => visit(body, f),
            StepKind::Unrolled(iterations) => visit(&iterations[0], f),
            StepKind::Multiscale(levels) => visit(&levels[0].body, f),
            StepKind::Use(_) | StepKind::Hole => {}
        }
    }
}

/// Only a masked net keeps each output from seeing its own input.
fn masked(block: &Block, row: &catalog::Net, net: &Net, report: &Report) {
    if row.id != NetId::Made {
        let message = format!("`{}` in an autoregressive block", row.name);
        let help = format!("`{}` needs a masked net: `made([512, 512], relu)`", block.row.name);
        report.error(net.place, message, help);
    }
}

/// `mlp` for vectors, `conv` for images, `resnet` for both, `made` for autoregressive blocks.
fn fits(row: &catalog::Net, net: &Net, input: &Shape, report: &Report) {
    if row.id == NetId::Made {
        let message = "`made` outside an autoregressive block";
        report.error(net.place, message, "here a net sees all of its input: write `mlp(…)`");
        return;
    }
    let help = match (row.on, input) {
        (On::Vectors, Shape::Image(_)) => "on images write `conv([3, 1, 3], hidden = 128, relu)`",
        (On::Images, Shape::Vector(_)) => "on vectors write `mlp([128, 128], swish)`",
        _ => return,
    };
    report.error(net.place, format!("the net `{}` on {input}", row.name), help);
}

/// A module of the user's is sized by its types, which need numbers, and nothing is known of it.
fn module(flow: &Architecture, block: &Block, path: &Path, input: &Shape, report: &Report) {
    let place = Place::of(path);
    let name = block.row.name;
    if block.row.id.is_autoregressive() {
        let message = format!("a module of your own in `{name}`");
        report.error(place, message, "only `made(…)` has the masks: `made([512, 512], relu)`");
    } else if block.row.id == Id::Residual {
        let message = "a module of your own in `residual`";
        let help =
            "its Lipschitz bound must be certified: write `mlp(…)`, `conv(…)` or `resnet(…)`";
        report.error(place, message, help);
    } else if matches!(input, Shape::Image(_)) {
        let message = format!("a module of your own on {input}");
        let help = "on images write `conv([3, 1, 3], hidden = 128, relu)` or `resnet(…)`";
        report.error(place, message, help);
    } else if input.is_generic() || flow.header.context.size().is_some_and(|c| c.generic) {
        let message = format!("a module of your own on {input}, which depends on a parameter");
        let help = "a dfdx module is sized by its types: it needs numbers or named constants";
        report.error(place, message, help);
    }
}

/// The coefficient of a residual block is the bound of its net.
fn one_coefficient(block: &Block, net: &Net, report: &Report) {
    let NetKind::BuiltIn { arguments, .. } = &net.kind else { return };
    let Some(given) = arguments.get("lipschitz") else { return };
    if block.row.id == Id::Residual {
        let c = block.arguments.real("lipschitz");
        let message = "`lipschitz` on the net of a `residual`";
        let help = format!("leave it out: the block's own coefficient {c} bounds the net");
        report.error(given.place, message, help);
    }
}

/// Attention multiplies activations: no coefficient bounds it, and there is no Jacobian of it for
/// the log-determinant of a residual or continuous block.
fn attention(block: &Block, net: &Net, report: &Report) {
    let NetKind::BuiltIn { row, arguments } = &net.kind else { return };
    if row.id != NetId::ResNet || !arguments.flag("attention") {
        return;
    }
    if matches!(block.row.id, Id::Residual | Id::Ode) {
        let Some(given) = arguments.get("attention") else { return };
        let message = format!("attention in the net of `{}`", block.row.name);
        let help = match block.row.id {
            Id::Residual => "leave it out: no coefficient bounds a net with attention",
            _ => "leave it out: the Jacobian of a net with attention is not available",
        };
        report.error(given.place, message, help);
    } else if let Some(given) = arguments.get("lipschitz") {
        let message = "`lipschitz` on a net with attention, which has no bound";
        report.error(given.place, message, "leave `attention` or `lipschitz` out");
    }
}
