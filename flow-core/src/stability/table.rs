//! A report as text.

use std::fmt;

use super::report::{Certified, Method, Report};
use super::{SingularValue, Spread};

/// Lines of cells; the first cell of a line stands left, the others right.
struct Table(Vec<Vec<String>>);

impl Table {
    fn new(head: [&str; 7]) -> Self {
        Self(vec![head.map(String::from).to_vec()])
    }

    fn spread(&mut self, name: &str, spread: &Spread, share: &dyn Fn(&Spread) -> [String; 4]) {
        let [a, b, c, d] = share(spread);
        let row = spread.worst_row().map_or("–".into(), |row| row.to_string());
        let lost = match spread.non_finite {
            0 => "0".into(),
            count => format!("{count} ({:.1} %)", 100.0 * spread.share_non_finite()),
        };
        self.0.push(vec![name.into(), a, b, c, d, row, lost]);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for line in &self.0 {
            let mut text = String::new();
            for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
                match column {
                    0 => text.push_str(&format!("{cell:<width$}")),
                    _ => text.push_str(&format!("  {cell:>width$}")),
                }
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

/// Three digits, in the shortest usual form.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if value.is_nan() => "–".into(),
        0.0 => "0".into(),
        _ if size.is_infinite() || !(1e-3..1e4).contains(&size) => format!("{value:.2e}"),
        _ => {
            let digits = (2.0 - size.log10().floor()).clamp(0.0, 5.0) as usize;
            format!("{value:.digits$}")
        }
    }
}

/// Mean, median, 99 % and the largest number.
fn upper(spread: &Spread) -> [String; 4] {
    match &spread.finite {
        Some(f) => [f.mean, f.median(), f.at(0.99), f.largest()].map(number),
        None => std::array::from_fn(|_| "–".into()),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flow, event, scalar, rows, .. } = self;
        writeln!(f, "stability of {flow} on {rows} rows of {event} in {scalar}\n")?;
        let mut table = Table::new([
            "reconstruction",
            "mean",
            "median",
            "99 %",
            "largest",
            "row",
            "not finite",
        ]);
        let ways = [("data → latent → data", &self.data), ("latent → data → latent", &self.latent)];
        for (name, way) in ways {
            table.spread(name, way.once(), &upper);
            if let (Some(last), true) = (way.passes.last(), way.passes.len() > 1) {
                table.spread(&format!("  after {} times", way.passes.len()), last, &upper);
            }
        }
        writeln!(f, "{table}")?;

        let jacobian = &self.jacobian;
        let of = jacobian.largest.rows;
        let how = match jacobian.method {
            Method::Full => "Jacobian, all singular values".into(),
            Method::Lanczos(steps) => format!("Jacobian, {steps} Lanczos steps"),
        };
        let head = format!("{how}, {of} rows");
        let mut table =
            Table::new([&head, "mean", "median", "99 %", "largest", "row", "not finite"]);
        table.spread("largest singular value", &jacobian.largest, &upper);
        table.spread("condition number", &jacobian.condition, &upper);
        if let Some(log_det) = &jacobian.log_det {
            table.spread("log-determinant, numeric less analytic", log_det, &upper);
        }
        write!(f, "{table}")?;
        if let Some(finite) = &jacobian.smallest.finite {
            let (value, row) = (number(finite.smallest()), finite.smallest_row);
            writeln!(f, "the smallest singular value is {value}, on row {row}")?;
        }
        if jacobian.unresolved > 0 {
            let count = jacobian.unresolved;
            writeln!(f, "{count} condition numbers are beyond the precision of {scalar}")?;
        }

        let (forward, inverse) = match &self.certified {
            Some(Certified { ln_forward, ln_inverse, .. }) => {
                (bound(*ln_forward), bound(*ln_inverse))
            }
            None => (String::new(), String::new()),
        };
        let certified = if self.certified.is_some() { "certified ≤" } else { "" };
        let lines = vec![
            vec!["amplification".into(), "observed ≥".into(), certified.into()],
            vec!["forward".into(), lower(&self.observed.forward), forward],
            vec!["inverse".into(), lower(&self.observed.inverse), inverse],
        ];
        write!(f, "\n{}", Table(lines))?;
        if let Some(certified) = &self.certified {
            writeln!(f, "certified bounds hold {}", certified.scope)?;
        }
        for (name, way) in ways {
            if let Some(failure) = &way.failure {
                writeln!(f, "{name} failed on {failure}")?;
            }
        }
        Ok(())
    }
}

fn lower(largest: &Option<SingularValue>) -> String {
    largest.as_ref().map_or("–".into(), |value| number(value.lower_bound()))
}

/// A bound from its logarithm, which may be too large for a number.
fn bound(logarithm: Option<f64>) -> String {
    match logarithm {
        None => "none".into(),
        Some(ln) if ln < 700.0 => number(ln.exp()),
        Some(ln) => format!("1e{:.0}", (ln / std::f64::consts::LN_10).ceil()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (1.234_56, "1.23"),
            (0.012_345, "0.0123"),
            (999.9, "1000"),
            (1.5e-7, "1.50e-7"),
            (-12_345.0, "-1.23e4"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(number(value), text, "{value}");
        }
        assert_eq!(bound(Some(2f64.ln())), "2.00");
        assert_eq!(bound(Some(10_000.0)), "1e4343");
        assert_eq!(bound(None), "none");
    }
}
