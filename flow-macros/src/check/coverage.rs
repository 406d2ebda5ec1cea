//! Features that nothing transforms.

use crate::architecture::{Architecture, Block, Keep, Shape, Step, StepKind};
use crate::catalog::Id;
use crate::dim::Dim;
use crate::report::Report;

/// Element moves that the simulation may spend; beyond it stays silent.
const WORK: u64 = 4_000_000;

/// In a flow with two or more couplings every feature is transformed by something. The elements
/// are followed through permutations, squeezes and halves; where that is not possible (a shuffle,
/// a multi-scale part, a size that only rustc knows) the rule stays silent rather than guess.
pub(super) fn coverage(flow: &Architecture, report: &Report) {
    let event = &flow.header.event;
    let sizes: Vec<Option<u64>> = event.dims().iter().map(|dim| dim.value).collect();
    let untouched = match (event, sizes.as_slice()) {
        (Shape::Vector(_), [Some(n)]) => follow(&flow.steps, [*n, 1, 1]),
        (Shape::Image(_), [Some(c), Some(h), Some(w)]) => follow(&flow.steps, [*c, *h, *w]),
        (Shape::Vector(_), [None]) => any_size(&flow.steps),
        _ => None,
    };
    let Some(untouched) = untouched else { return };
    let Some(last) = last_coupling(&flow.steps) else { return };
    let told = last.arguments.get("keep").map(|keep| keep.place);
    let help = if told.is_none() && permuted(&flow.steps) {
        "couplings without `keep` take turns, which `permute` undoes: write `keep = first` in each, or leave `permute` out"
    } else {
        "let `keep` alternate, or put `permute(reverse);` or `linear(lu);` between the couplings"
    };
    report.error(
        told.unwrap_or(last.place),
        format!("{} never transformed: every coupling keeps {}", untouched.name, untouched.it),
        help,
    );
}

/// A feature that stays untouched at every size from 4 to 9 is one at any size.
fn any_size(steps: &[Step]) -> Option<Untouched> {
    let found: Option<Vec<Untouched>> = (4..10).map(|n| follow(steps, [n, 1, 1])).collect();
    let first = found?.into_iter().next()?;
    Some(Untouched { name: format!("feature {} is", first.first), it: "it", ..first })
}

struct Untouched {
    first: u64,
    name: String,
    it: &'static str,
}

fn follow(steps: &[Step], dims: [u64; 3]) -> Option<Untouched> {
    let count = dims.iter().try_fold(1_u64, |all, dim| all.checked_mul(*dim))?;
    if count > WORK / 8 {
        return None;
    }
    let mut elements = Elements {
        dims,
        origin: (0..count).collect(),
        touched: vec![false; usize::try_from(count).ok()?],
        couplings: 0,
        work: 0,
    };
    elements.run(steps)?;
    if elements.couplings < 2 {
        return None;
    }
    describe(&elements.touched, dims)
}

fn describe(touched: &[bool], [channels, h, w]: [u64; 3]) -> Option<Untouched> {
    let pixels = h * w;
    let first = touched.iter().position(|touched| !touched)? as u64;
    let channel = |c: &u64| {
        let range = (c * pixels) as usize..((c + 1) * pixels) as usize;
        touched[range].iter().all(|touched| !touched)
    };
    let whole: Vec<String> = (0..channels).filter(channel).map(|c| c.to_string()).collect();
    let what = if pixels == 1 { "feature" } else { "channel" };
    let (name, it) = match whole.as_slice() {
        [] => {
            let (c, pixel) = (first / pixels, first % pixels);
            (format!("channel {c} at row {}, column {} is", pixel / w, pixel % w), "it")
        }
        [one] => (format!("{what} {one} is"), "it"),
        [some @ .., last] if some.len() < 4 => {
            (format!("{what}s {} and {last} are", some.join(", ")), "them")
        }
        [a, b, rest @ ..] => (format!("{what}s {a}, {b} and {} more are", rest.len()), "them"),
    };
    Some(Untouched { first, name, it })
}

/// Where each element came from, as it moves through the flow.
struct Elements {
    /// Channels, height, width; a vector has one pixel.
    dims: [u64; 3],
    /// By position, channels first.
    origin: Vec<u64>,
    /// By origin.
    touched: Vec<bool>,
    couplings: u64,
    work: u64,
}

/// `None`: the elements cannot be followed further.
type Followed = Option<()>;

impl Elements {
    fn run(&mut self, steps: &[Step]) -> Followed {
        for step in steps {
            if matches!(step.output, Shape::Unknown) {
                return None;
            }
            match &step.kind {
                StepKind::Block(block) => self.block(block)?,
                StepKind::Use(_) => {
                    self.touched.fill(true);
                    self.reshape(&step.output)?;
                }
                StepKind::Repeat { count, body, .. } => self.repeat(count, body)?,
                StepKind::Unrolled(iterations) => {
                    for body in iterations {
                        self.run(body)?;
                    }
                }
                StepKind::Multiscale(_) | StepKind::Hole => return None,
            }
        }
        Some(())
    }

    fn repeat(&mut self, count: &Dim, body: &[Step]) -> Followed {
        for _ in 0..count.value.unwrap_or(u64::MAX) {
            self.work += self.origin.len() as u64;
            let before = (self.origin.clone(), self.touched.clone());
            let couplings = self.couplings;
            self.run(body)?;
            if (&before.0, &before.1) == (&self.origin, &self.touched) {
                // Every further iteration is alike.
                self.couplings += self.couplings - couplings;
                break;
            }
        }
        Some(())
    }

    fn reshape(&mut self, shape: &Shape) -> Followed {
        self.dims = match shape {
            Shape::Image([c, h, w]) => [c.value?, h.value?, w.value?],
            _ => [self.origin.len() as u64, 1, 1],
        };
        Some(())
    }

    fn block(&mut self, block: &Block) -> Followed {
        self.work += self.origin.len() as u64;
        if self.work > WORK {
            return None;
        }
        let [c, h, w] = self.dims;
        match block.row.id {
            Id::Permute => self.permute(block),
            Id::Squeeze => self.squeeze(block.arguments.count("factor").value?),
            Id::Unsqueeze => self.unsqueeze(block.arguments.count("factor").value?),
            Id::Haar => self.squeeze_and_mix(2),
            Id::InvertibleConv => self.squeeze_and_mix(block.arguments.count("kernel").value?),
            Id::Flatten => {
                self.dims = [c * h * w, 1, 1];
                Some(())
            }
            Id::Linear if block.arguments.choice("form").name == "diagonal" => Some(()),
            Id::Linear => {
                self.touched.fill(true);
                Some(())
            }
            id if id.transforms_all() => {
                self.touched.fill(true);
                Some(())
            }
            _ => {
                if let Some(keep) = block.keep {
                    self.couple(keep);
                }
                Some(())
            }
        }
    }

    fn couple(&mut self, keep: Keep) {
        self.couplings += 1;
        let [channels, h, w] = self.dims;
        for (position, origin) in self.origin.iter().enumerate() {
            let position = position as u64;
            let (channel, row, column) = (position / (h * w), position / w % h, position % w);
            let kept = match keep {
                Keep::First => channel < channels / 2,
                Keep::Second => channel >= channels / 2,
                Keep::Even => channel % 2 == 0,
                Keep::Odd => channel % 2 == 1,
                Keep::CheckerEven => (row + column) % 2 == 0,
                Keep::CheckerOdd => (row + column) % 2 == 1,
            };
            if !kept {
                self.touched[*origin as usize] = true;
            }
        }
    }

    fn permute(&mut self, block: &Block) -> Followed {
        let [channels, h, w] = self.dims;
        let order = block.arguments.choice("order");
        let roll = match order.name {
            "reverse" => None,
            "roll" => Some(order.arguments.count("by").value? % channels),
            // Which permutation a seed gives is the runtime's to say.
            _ => return None,
        };
        self.gather(self.dims, |channel, row, column| {
            let from = match roll {
                None => channels - 1 - channel,
                Some(by) => (channel + by) % channels,
            };
            (from * h + row) * w + column
        });
        Some(())
    }

    /// Output channel c·k² + dy·k + dx.
    fn squeeze(&mut self, k: u64) -> Followed {
        let [c, h, w] = self.dims;
        let dims = [c.checked_mul(k.checked_mul(k)?)?, h / k, w / k];
        self.gather(dims, |channel, row, column| {
            let (from, dy, dx) = (channel / (k * k), channel / k % k, channel % k);
            (from * h + row * k + dy) * w + column * k + dx
        });
        Some(())
    }

    fn unsqueeze(&mut self, k: u64) -> Followed {
        let [c, h, w] = self.dims;
        let dims = [c / k.checked_mul(k)?, h.checked_mul(k)?, w.checked_mul(k)?];
        self.gather(dims, |channel, row, column| {
            let from = channel * k * k + row % k * k + column % k;
            (from * h + row / k) * w + column / k
        });
        Some(())
    }

    fn squeeze_and_mix(&mut self, k: u64) -> Followed {
        self.touched.fill(true);
        self.squeeze(k)
    }

    fn gather(&mut self, dims: [u64; 3], from: impl Fn(u64, u64, u64) -> u64) {
        let [channels, h, w] = dims;
        let mut origin = Vec::with_capacity(self.origin.len());
        for channel in 0..channels {
            for row in 0..h {
                for column in 0..w {
                    origin.push(self.origin[from(channel, row, column) as usize]);
                }
            }
        }
        self.origin = origin;
        self.dims = dims;
    }
}

fn last_coupling(steps: &[Step]) -> Option<&Block> {
    steps.iter().rev().find_map(|step| match &step.kind {
        StepKind::Block(block) => block.keep.map(|_| block.as_ref()),
        StepKind::Repeat { body, .. } => last_coupling(body),
        StepKind::Unrolled(iterations) => last_coupling(iterations.last()?),
        _ => None,
    })
}

fn permuted(steps: &[Step]) -> bool {
    steps.iter().any(|step| match &step.kind {
        StepKind::Block(block) => matches!(block.row.id, Id::Permute),
        StepKind::Repeat { body, .. } => permuted(body),
        StepKind::Unrolled(iterations) => iterations.iter().any(|body| permuted(body)),
        _ => false,
    })
}
