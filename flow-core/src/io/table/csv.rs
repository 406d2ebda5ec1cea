//! Tables as text.

use std::io::Write;
use std::path::Path;

use csv::QuoteStyle;

use super::{gzip, Table};
use crate::io::write_atomically;
use crate::{FlowError, Result};

pub(super) fn read(path: &Path) -> Result<Table> {
    let text = gzip::read(path)?;
    Lines { path, text: &text }.read()
}

/// What divides the cells of the first line that is not empty. A semicolon or tab there is no part
/// of a number or of a usual name; a comma may stand within a number.
fn delimiter(start: &[u8]) -> u8 {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let mut quoted = false;
    let outside = start
        .iter()
        .skip_while(|byte| matches!(byte, b'\n' | b'\r'))
        .filter(|&&byte| {
            quoted ^= byte == b'"';
            !quoted
        })
        .take_while(|byte| !matches!(byte, b'\n' | b'\r'));
    let outside: Vec<u8> = outside.copied().collect();
    [b';', b'\t'].into_iter().find(|divider| outside.contains(divider)).unwrap_or(b',')
}

/// Whether a first line of these cells is a row of the table. One word that is no number makes it a
/// line of names, as a number in the wrong form would also spoil the lines below.
fn numeric<'c>(cells: impl IntoIterator<Item = &'c str>) -> bool {
    cells.into_iter().all(|cell| cell.is_empty() || cell.parse::<f64>().is_ok())
}

/// The names of columns without names.
pub(super) fn counted(width: usize) -> impl Iterator<Item = String> {
    (0..width).map(|column| column.to_string())
}

struct Lines<'t> {
    path: &'t Path,
    text: &'t [u8],
}

impl Lines<'_> {
    fn read(&self) -> Result<Table> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .delimiter(delimiter(self.text))
            .from_reader(self.text);
        let mut columns: Vec<String> = Vec::new();
        let mut values = Vec::new();
        let mut record = csv::ByteRecord::new();
        loop {
            let more = reader.read_byte_record(&mut record);
            if !more.map_err(|error| FlowError::file(self.path, error))? {
                return Table::new(columns, values);
            }
            let start = record.position().map_or(0, csv::Position::byte);
            if columns.is_empty() {
                let cells = record.iter().map(|cell| self.word(start, cell));
                let cells = cells.collect::<Result<Vec<_>>>()?;
                if numeric(cells.iter().copied()) {
                    columns = counted(cells.len()).collect();
                } else {
                    columns = cells.into_iter().map(String::from).collect();
                    continue;
                }
            }
            if record.len() != columns.len() {
                let (found, want) = (record.len(), columns.len());
                return Err(self.bad(start, format!("{found} cells, expected {want}")));
            }
            for (cell, column) in record.iter().zip(&columns) {
                let cell = self.word(start, cell)?;
                values.push(
                    number(cell).map_err(|what| {
                        self.bad(start, format!("column `{column}` holds {what}"))
                    })?,
                );
            }
        }
    }

    fn word<'c>(&self, start: u64, cell: &'c [u8]) -> Result<&'c str> {
        std::str::from_utf8(cell).map_err(|_| {
            self.bad(
                start,
                "holds bytes that are no UTF-8 text\nhelp: save the table as UTF-8".into(),
            )
        })
    }

    fn bad(&self, start: u64, reason: String) -> FlowError {
        let (before, after) = self.text.split_at(start as usize);
        // A record's start is also that of the empty lines before it.
        let empty = after.iter().take_while(|byte| matches!(byte, b'\n' | b'\r'));
        let breaks = before.iter().chain(empty).filter(|&&byte| byte == b'\n').count();
        FlowError::Table { path: self.path.into(), line: breaks as u64 + 1, reason }
    }
}

/// What tables write where nothing was measured, beside nothing and NaN.
const MISSING: [&str; 6] = ["na", "n/a", "null", "none", "-", "?"];

/// A finite number, or what stands there instead.
fn number(cell: &str) -> Result<f64, String> {
    const WANTED: &str = "expected a finite number";
    match cell.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) if cell.bytes().any(|byte| byte.is_ascii_digit()) => {
            Err(format!("{cell}, beyond the range of f64"))
        }
        Ok(_) => Err(format!("{cell}, {WANTED}\nhelp: remove or impute such rows first")),
        Err(_) if cell.is_empty() => {
            Err(format!("nothing, {WANTED}\nhelp: remove or impute rows with missing cells first"))
        }
        Err(_) if cell.replacen(',', ".", 1).parse::<f64>().is_ok() => {
            Err(format!("`{cell}`, {WANTED}\nhelp: write decimals with a point"))
        }
        Err(_) if MISSING.iter().any(|word| cell.eq_ignore_ascii_case(word)) => {
            Err(format!("`{cell}`, {WANTED}\nhelp: remove or impute rows with missing cells first"))
        }
        Err(_) if cell.split_ascii_whitespace().count() > 1 => {
            Err(format!("`{cell}`, {WANTED}\nhelp: divide cells by commas, semicolons or tabs"))
        }
        Err(_) => Err(format!("`{cell}`, {WANTED}\nhelp: leave the column out, or write numbers")),
    }
}

pub(super) fn write(path: &Path, table: &Table) -> Result<()> {
    // As a reader sees them.
    let names = || table.columns().iter().map(|name| name.trim_ascii());
    let unnamed = names().eq(counted(table.width()));
    if !unnamed && numeric(names()) {
        let names = names().collect::<Vec<_>>().join(", ");
        return Err(FlowError::file(
            path,
            format_args!(
                "would begin with column names that are all numbers, as a row is: {names}\
                 \nhelp: name one of them by a word, all by their places from 0, or write .npy"
            ),
        ));
    }
    // A reader would take the first two for dividers, and the third for a mark of the encoding.
    let quote = names().any(|name| name.contains([';', '\t', '\u{feff}']));
    let style = if quote { QuoteStyle::Always } else { QuoteStyle::Necessary };
    write_atomically(path, |file| {
        if !unnamed {
            let mut writer = csv::WriterBuilder::new().quote_style(style).from_writer(&mut *file);
            writer.write_record(names())?;
            writer.flush()?;
        }
        for row in 0..table.rows() {
            for (c, value) in table.row(row).iter().enumerate() {
                let divider = if c == 0 { "" } else { "," };
                // `Debug` is the shortest text that reads as the same number.
                write!(file, "{divider}{value:?}")?;
            }
            writeln!(file)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: impl AsRef<[u8]>) -> Result<Table> {
        Lines { path: Path::new("t.csv"), text: text.as_ref() }.read()
    }

    #[test]
    fn names_are_found_where_there_are_some() {
        let table = parse("a,b\n1,2\n3,4\n").unwrap();
        assert_eq!(table, Table::new(["a", "b"], vec![1.0, 2.0, 3.0, 4.0]).unwrap());
        let table = parse("1,2\n3,4").unwrap();
        assert_eq!(table, Table::new(["0", "1"], vec![1.0, 2.0, 3.0, 4.0]).unwrap());
    }

    #[test]
    fn the_usual_dialects_are_read() {
        let want = Table::new(["a", "b c"], vec![1.0, -2e3]).unwrap();
        for text in [
            "a,b c\r\n1,-2e3\r\n",
            "\u{feff}a,b c\n1,-2000\n",
            "\"a\",\"b c\"\n\"1\",\"-2000.0\"\n",
            "a;b c\n1;-2000\n",
            "a\tb c\n1\t-2000\n",
            " a , b c \n\n 1 , -2000 \n\n",
        ] {
            assert_eq!(parse(text).as_ref(), Ok(&want), "{text:?}");
        }
        let table = parse("\u{feff}1,2\n").unwrap();
        assert_eq!(table.row(0), [1.0, 2.0]);
        assert_eq!(parse("\"a;b\",c\n1,2\n").unwrap().columns(), ["a;b", "c"]);
        assert_eq!(parse("\"a\nb\";c\n1;2\n").unwrap().columns(), ["a\nb", "c"]);
        for blank in ["\n", "\r\n\n", "\u{feff}\n"] {
            assert_eq!(parse(format!("{blank}a;b c\n1;-2000\n")).as_ref(), Ok(&want), "{blank:?}");
        }
    }

    fn there_and_back(name: &str, names: &[&str]) -> Result<Table> {
        let path = crate::io::testing::folder(name).join("t.csv");
        let values = (0..2 * names.len()).map(|i| i as f64 - 0.5).collect();
        write(&path, &Table::new(names.to_vec(), values)?)?;
        read(&path)
    }

    #[test]
    fn names_come_back_with_the_rows() {
        for names in [
            &["0", "1", "2"][..],
            &["0"],
            &["1", "0", "x"],
            &["", "a"],
            &["nan", "a"],
            &["a;b", "c"],
            &["a\tb", "c"],
            &["\u{feff}a", "c"],
            &["a;b"],
            &["a\nb;c", "d"],
            &["a\"b;", "\"", "a\r\nb"],
        ] {
            let table = there_and_back("csv-names", names).unwrap();
            assert_eq!(table.rows(), 2, "{names:?}");
            assert_eq!(table.columns(), names);
        }
    }

    #[test]
    fn names_that_would_not_come_back_are_refused() {
        for names in [&["1", "0"][..], &["00"], &["nan"], &["inf", "-1e3"], &["", "7"]] {
            let error = there_and_back("csv-numbers", names).unwrap_err().to_string();
            assert!(error.contains("column names that are all numbers"), "{error}");
        }
        assert!(there_and_back("csv-numbers", &[" 2"]).is_err());
        let table = there_and_back("csv-numbers", &[" a", "\tb;\n"]).unwrap();
        assert_eq!(table.columns(), ["a", "b;"]);
    }

    #[test]
    fn bad_lines_are_named() {
        for (text, line, want) in [
            ("a,b\n1,2\n3\n", 3, "1 cells, expected 2"),
            ("a,b\n1,2,3\n", 2, "3 cells, expected 2"),
            ("a,b\r\n1,2\r\n\r\n\r\n3,x\r\n", 5, "column `b` holds `x`, expected a finite number\nhelp: leave the column out, or write numbers"),
            ("a,b\n1,2\n\n3,x", 4, "column `b` holds `x`, expected a finite number\nhelp: leave the column out, or write numbers"),
            ("1,2\n3,NaN\n", 2, "column `1` holds NaN, expected a finite number\nhelp: remove or impute such rows first"),
            ("a\n-inf\n", 2, "column `a` holds -inf, expected a finite number\nhelp: remove or impute such rows first"),
            ("a,b\n1,\n", 2, "column `b` holds nothing, expected a finite number\nhelp: remove or impute rows with missing cells first"),
            ("a,b\n1e999,1\n", 2, "column `a` holds 1e999, beyond the range of f64"),
            ("a;b\n1,5;2\n", 2, "column `a` holds `1,5`, expected a finite number\nhelp: write decimals with a point"),
            ("a b\n1 2\n", 2, "column `a b` holds `1 2`, expected a finite number\nhelp: divide cells by commas, semicolons or tabs"),
            ("a,b\n1,NA\n", 2, "column `b` holds `NA`, expected a finite number\nhelp: remove or impute rows with missing cells first"),
            ("a,\"b\nb\"\n1,?\n", 3, "column `b\nb` holds `?`, expected a finite number\nhelp: remove or impute rows with missing cells first"),
        ] {
            let path = "t.csv".into();
            let want = FlowError::Table { path, line, reason: want.into() };
            assert_eq!(parse(text), Err(want), "{text:?}");
        }
        let error = parse(b"a,b\n1,\xff\xfe\n").unwrap_err();
        assert!(error.to_string().starts_with("t.csv, line 2: holds bytes"), "{error}");
    }

    #[test]
    fn a_file_without_rows_is_an_error() {
        let folder = crate::io::testing::folder("csv-empty");
        for (name, text) in [("empty.csv", ""), ("names.csv", "a,b\n"), ("blank.csv", "\n\n")] {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            let want = FlowError::file(&path, "holds no rows of numbers, expected at least one");
            assert_eq!(crate::io::read_table(&path), Err(want));
        }
    }
}
