//! What each block does to the shape, and what it needs of it: one function per rule.

use quote::quote;
use syn::Ident;

use super::shapes::Placer;
use crate::architecture::{Arguments, Block, Keep, NetKind, Resolved, Shape};
use crate::catalog::{Id, Kind, On};
use crate::dim::Dim;

/// `None` where a rule is broken; the error is reported.
pub(super) fn shape(placer: &mut Placer<'_>, block: &Block, input: &Shape) -> Option<Shape> {
    let (Shape::Vector(_) | Shape::Image(_)) = input else {
        return block.row.keeps_shape.then_some(Shape::Unknown);
    };
    takes(placer, block, input)?;
    if !block.row.keeps_shape && input.is_generic() {
        needs_numbers(placer, &block.name, input);
        return None;
    }
    match (block.row.id, input) {
        (Id::Squeeze, Shape::Image(dims)) => {
            squeeze(placer, block, dims, block.arguments.count("factor"))
        }
        (Id::InvertibleConv, Shape::Image(dims)) => {
            squeeze(placer, block, dims, block.arguments.count("kernel"))
        }
        (Id::Haar, Shape::Image(dims)) => {
            squeeze(placer, block, dims, &Dim::number(2, block.place))
        }
        (Id::Unsqueeze, Shape::Image(dims)) => {
            unsqueeze(placer, block, dims, block.arguments.count("factor"))
        }
        (Id::Flatten, _) => input.elements().map(Shape::Vector),
        _ => {
            splits(placer, block, input)?;
            rank(placer, block, input)?;
            Some(input.clone())
        }
    }
}

/// A block of vectors stands on a vector, a block of images on an image.
fn takes(placer: &Placer<'_>, block: &Block, input: &Shape) -> Option<()> {
    let name = block.row.name;
    let (wants, help) = match (block.row.on, input) {
        (On::Vectors, Shape::Image(_)) => {
            let help = match block.row.id {
                Id::Linear => "on images write `conv1x1(lu)`, or `flatten;` in front".into(),
                _ => format!("write `flatten;` in front of `{name}`"),
            };
            ("a vector", help)
        }
        (On::Images, Shape::Vector(_)) => {
            let help = match block.row.id {
                Id::Conv1x1 => "on vectors write `linear(lu)`",
                Id::Flatten => "a vector is flat already: leave it out",
                _ => "an image is declared `Image<channels, height, width>`, and lasts until `flatten` or `multiscale`",
            };
            ("an image", help.to_owned())
        }
        _ => return Some(()),
    };
    let message = format!("`{name}` takes {wants}, found {input}");
    placer.report.error(block.place, message, help);
    None
}

/// Stable Rust has no arithmetic on const parameters in types.
pub(super) fn needs_numbers(placer: &Placer<'_>, name: &Ident, input: &Shape) {
    placer.report.error(
        name,
        format!("`{name}` changes the shape of {input}, which depends on a parameter"),
        "blocks that change the shape need numbers or named constants",
    );
}

/// k×k pixels become k² channels.
fn squeeze(placer: &mut Placer<'_>, block: &Block, dims: &[Dim; 3], k: &Dim) -> Option<Shape> {
    let [c, h, w] = dims;
    for (side, size) in [("height", h), ("width", w)] {
        divides(placer, block, size, k, side)?;
    }
    let channels = c.times(k).and_then(|c| c.times(k));
    let (Some(channels), Some(h), Some(w)) = (channels, h.over(k), w.over(k)) else {
        return overflow(placer, block);
    };
    Some(Shape::Image([channels, h, w]))
}

/// k² channels become k×k pixels.
fn unsqueeze(placer: &mut Placer<'_>, block: &Block, dims: &[Dim; 3], k: &Dim) -> Option<Shape> {
    let [c, h, w] = dims;
    let Some(square) = k.times(k) else { return overflow(placer, block) };
    divides(placer, block, c, &square, "number of channels")?;
    let (Some(channels), Some(h), Some(w)) = (c.over(&square), h.times(k), w.times(k)) else {
        return overflow(placer, block);
    };
    Some(Shape::Image([channels, h, w]))
}

fn overflow(placer: &Placer<'_>, block: &Block) -> Option<Shape> {
    placer.report.error(block.place, "the shape overflows", "choose a smaller factor");
    None
}

fn divides(placer: &mut Placer<'_>, block: &Block, size: &Dim, by: &Dim, what: &str) -> Option<()> {
    let text = &block.text;
    let message = format!("`{text}` needs a {what} divisible by {by}, found {size}");
    match (size.value, by.value) {
        (Some(size), Some(by)) if by == 0 || size % by != 0 => {
            let help = format!(
                "pad or crop the data to a multiple, for example {}, or take fewer levels",
                size.next_multiple_of(by.max(1))
            );
            placer.report.error(block.place, message, help);
            None
        }
        (Some(_), Some(_)) => Some(()),
        _ => {
            let generic = size.generic || by.generic;
            placer.assert(quote!((#size) % (#by) == 0), message, generic, block.place);
            Some(())
        }
    }
}

/// A coupling needs something on either side.
fn splits(placer: &mut Placer<'_>, block: &Block, input: &Shape) -> Option<()> {
    if !block.row.id.is_coupling() && block.row.id != Id::DualAffineCoupling {
        return Some(());
    }
    let keep = block.keep.unwrap_or(Keep::First);
    side(placer, block, keep, input)?;
    let parted = match input {
        Shape::Image([_, h, w]) if keep.is_checkerboard() => h.times(w)?,
        _ => input.features()?.clone(),
    };
    let name = block.row.name;
    match parted.value {
        Some(count) if count < 2 => {
            let help = match input {
                Shape::Image(_) => "a coupling needs two channels: write `squeeze(2);` in front, or `keep = checker_even`",
                _ => "a coupling needs two features; one alone is served by `actnorm` or `linear(diagonal)`",
            };
            let message = format!("`{name}` has nothing to split in {input}");
            placer.report.error(block.place, message, help);
            None
        }
        Some(_) => Some(()),
        None => {
            placer.at_least(&parted, 2, format!("`{name}` has nothing to split in one feature"));
            Some(())
        }
    }
}

/// A Sylvester flow has orthogonal directions, of which there are as many as features.
fn rank(placer: &mut Placer<'_>, block: &Block, input: &Shape) -> Option<()> {
    if block.row.id != Id::Sylvester {
        return Some(());
    }
    let (rank, features) = (block.arguments.count("rank"), input.features()?);
    let message = format!("`sylvester` of rank {rank} on {input}");
    match (rank.value, features.value) {
        (Some(known), Some(most)) if known > most => {
            let help = format!("the rank is at most the number of features, {most}");
            placer.report.error(rank.place, message, help);
            None
        }
        (Some(_), Some(_)) => Some(()),
        _ => {
            let generic = rank.generic || features.generic;
            placer.assert(quote!((#rank) <= (#features)), message, generic, rank.place);
            Some(())
        }
    }
}

/// Checkerboards are for images, even and odd features for vectors.
fn side(placer: &Placer<'_>, block: &Block, keep: Keep, input: &Shape) -> Option<()> {
    let help = match (keep, input) {
        (Keep::CheckerEven | Keep::CheckerOdd, Shape::Vector(_)) => {
            "on vectors a coupling keeps `first`, `second`, `even` or `odd`"
        }
        (Keep::Even | Keep::Odd, Shape::Image(_)) => {
            "on images a coupling keeps `first`, `second`, `checker_even` or `checker_odd`"
        }
        _ => return Some(()),
    };
    let place = block.arguments.get("keep").map_or(block.place, |given| given.place);
    let message = format!("`keep = {}` on {input}", keep.name());
    placer.report.error(place, message, help);
    None
}

/// Counts that only rustc knows are asserted to be in range.
pub(super) fn constants(placer: &mut Placer<'_>, block: &Block) {
    of_arguments(placer, &block.arguments);
}

fn of_arguments(placer: &mut Placer<'_>, arguments: &Arguments) {
    for (row, given) in &arguments.0 {
        let least = match row.kind {
            Kind::Count(least) => least,
            _ => 1,
        };
        let message = format!("`{}` must be at least {least}", row.name);
        match &given.value {
            Resolved::Count(count) if least > 0 => placer.at_least(count, least, message),
            Resolved::Counts(counts) => {
                for count in counts {
                    placer.at_least(count, least, message.clone());
                    odd(placer, row.name, count);
                }
            }
            Resolved::Choice(choice) => of_arguments(placer, &choice.arguments),
            Resolved::Net(net) => {
                if let NetKind::BuiltIn { arguments, .. } = &net.kind {
                    of_arguments(placer, arguments);
                }
            }
            _ => {}
        }
    }
}

/// A kernel of even size has no middle, so that zero padding would shift the image.
fn odd(placer: &mut Placer<'_>, name: &str, size: &Dim) {
    if name != "kernels" {
        return;
    }
    match size.value {
        Some(known) if known % 2 == 0 => {
            let message = format!("a convolution with a kernel of even size {known}");
            let help = format!(
                "kernels are odd, so that they have a middle: {} or {}",
                known - 1,
                known + 1
            );
            placer.report.error(size.place, message, help);
        }
        Some(_) => {}
        None => {
            let message = "a convolution with a kernel of even size".to_owned();
            placer.assert(quote!((#size) % 2 == 1), message, size.generic, size.place);
        }
    }
}
