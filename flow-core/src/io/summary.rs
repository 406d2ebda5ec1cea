//! A flow as a table of text.

use crate::base::Base;
use crate::{Architecture, Backend, Context, Event, Facts, Flow, Item, LogDet, Scalar};

/// Longer texts of a block are cut.
const WIDEST_BLOCK: usize = 72;

const HEADS: [&str; 7] =
    ["item", "block", "shape", "parameters", "log-det", "forward ≤", "inverse ≤"];

impl<A: Architecture<E>, E: Scalar, B: Backend> Flow<A, E, B> {
    /// A table of the blocks: shapes, parameters, kind of log-determinant, and Lipschitz bounds that
    /// hold at every weight (∞ where there is none).
    ///
    /// ```
    /// # use dfdx::prelude::*;
    /// # use flow_core::prelude::*;
    /// flow! {
    ///     struct Tiny: Vector<2> {
    ///         permute(reverse);
    ///         affine_coupling(scale = tanh(1.0), net = mlp([8], relu));
    ///     }
    /// }
    /// let flow = Tiny::<f32>::build(&Cpu::default(), 0)?;
    /// println!("{}", flow.summary());
    /// # Ok::<(), FlowError>(())
    /// ```
    pub fn summary(&self) -> String {
        let mut rows = vec![HEADS.map(String::from)];
        rows.extend(A::ITEMS.iter().map(|item| self.row(item)));
        let base = self.numbers_under("base");
        if base > 0 {
            rows.push([
                "base".into(),
                A::Base::name(),
                A::Latent::SHAPE.to_string(),
                grouped(base),
                String::new(),
                String::new(),
                String::new(),
            ]);
        }
        // Not the items' product: what leaves at a level is beside the blocks of those after it.
        let all = self.blocks().facts();
        let shape = arrow(A::Event::SHAPE, A::Latent::SHAPE);
        rows.push(line(["total".into(), String::new(), shape], self.parameter_count(), &all));

        let given = match A::Context::SIZE {
            0 => String::new(),
            size => format!(" given Vector<{size}>"),
        };
        let (event, base) = (A::Event::SHAPE, A::Base::name());
        let head = format!("{}: {event}{given}, {base} base, {}", A::NAME, E::NAME);
        let frozen: usize =
            self.parameters().filter(|entry| entry.frozen).map(|entry| entry.values.len()).sum();
        let tail = match frozen {
            0 => String::new(),
            count => format!("{} of the parameters are frozen\n", grouped(count)),
        };
        format!("{head}\n{}{tail}fingerprint {}", aligned(&rows), self.fingerprint())
    }

    fn row(&self, item: &Item) -> [String; 7] {
        let mut text: String = item.text.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.chars().count() > WIDEST_BLOCK {
            text = text.chars().take(WIDEST_BLOCK - 1).chain(['…']).collect();
        }
        if item.count > 1 {
            text.push_str(&format!(" × {}", item.count));
        }
        let head = [item.path.into(), text, arrow(item.input, item.output)];
        line(head, self.numbers_under(item.path), &item.facts)
    }

    /// Numbers in the parameters whose names begin with `path`, in which `*` stands for one part.
    fn numbers_under(&self, path: &str) -> usize {
        let under = |name: &str| {
            let mut parts = name.split('.');
            path.split('.').all(|want| parts.next().is_some_and(|part| want == "*" || want == part))
        };
        self.layout().parameters().filter(|e| under(&e.name)).map(|e| e.range.len()).sum()
    }
}

fn line([item, block, shape]: [String; 3], parameters: usize, facts: &Facts) -> [String; 7] {
    let log_det = match facts.log_det {
        LogDet::Zero => "0",
        LogDet::Constant => "constant",
        LogDet::Varying => "varying",
    };
    let [forward, inverse] = [facts.forward, facts.inverse].map(bound);
    [item, block, shape, grouped(parameters), log_det.into(), forward, inverse]
}

fn arrow(input: crate::Shape, output: crate::Shape) -> String {
    if input.same(output) {
        input.to_string()
    } else {
        format!("{input} → {output}")
    }
}

/// Four digits, rounded up: it is a bound.
fn bound(value: f64) -> String {
    if !value.is_finite() {
        return "∞".into();
    }
    let unit = 10f64.powf(value.abs().log10().floor() - 3.0);
    let up = (value / unit - 1e-9).ceil() * unit;
    match up {
        _ if value == 0.0 => "0".into(),
        up if (1e-3..1e5).contains(&up) => {
            let text = format!("{up:.6}");
            text.trim_end_matches('0').trim_end_matches('.').into()
        }
        up => format!("{up:.3e}"),
    }
}

/// Digits in groups of three.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Columns of equal width, a rule below the head and above the last line.
fn aligned(rows: &[[String; 7]]) -> String {
    let wide = |text: &String| text.chars().count();
    let widths: [usize; 7] =
        std::array::from_fn(|c| rows.iter().map(|row| wide(&row[c])).max().unwrap_or(0));
    let rule = "─".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1));
    let mut text = String::new();
    for (i, row) in rows.iter().enumerate() {
        if i == 1 || i + 1 == rows.len() {
            text.push_str(&rule);
            text.push('\n');
        }
        let cells = row.iter().enumerate().map(|(c, cell)| match c {
            3 | 5 | 6 => format!("{cell:>width$}", width = widths[c]),
            _ => format!("{cell:<width$}", width = widths[c]),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::Tiny;
    use crate::Cpu;

    #[test]
    fn a_summary_has_a_line_for_each_item() {
        let mut flow = Flow::<Tiny<3>, f32>::build(&Cpu::default(), 0).unwrap();
        flow.freeze("0.log_scale").unwrap();
        let want = "\
Tiny: Vector<3>, normal base, f32
item   block  shape      parameters  log-det   forward ≤  inverse ≤
───────────────────────────────────────────────────────────────────
0      tiny   Vector<3>           3  constant        1.5          1
───────────────────────────────────────────────────────────────────
total         Vector<3>           3  constant        1.5          1
3 of the parameters are frozen
fingerprint ";
        let summary = flow.summary();
        assert_eq!(summary.strip_suffix(&flow.fingerprint()), Some(want), "{summary}");
    }

    #[test]
    fn bounds_are_rounded_up_and_short() {
        for (value, want) in [
            (1.0, "1"),
            (0.9, "0.9"),
            (1.90001, "1.901"),
            (7.389_056_098, "7.39"),
            (2f64.powi(40), "1.100e12"),
            (f64::INFINITY, "∞"),
            (123_456.0, "1.235e5"),
            (0.000_5, "5.000e-4"),
        ] {
            assert_eq!(bound(value), want, "{value}");
        }
    }

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!([0, 12, 1234, 1_234_567].map(grouped), ["0", "12", "1,234", "1,234,567"]);
    }
}
