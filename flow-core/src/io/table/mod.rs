//! Tables of numbers, from and to CSV and NumPy files.

mod csv;
mod gzip;
mod npy;
mod rows;

use std::path::Path;

use crate::{FlowError, Noise, Result};

/// Rows of numbers under named columns.
///
/// Those that are [read](read_table) are finite. [`new`](Self::new) and
/// [`values_mut`](Self::values_mut) also take NaN and infinities, which
/// [`to_rows`](Self::to_rows) refuses.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    columns: Vec<String>,
    values: Vec<f64>,
}

impl Table {
    /// A table of `values`, row after row.
    ///
    /// # Errors
    /// [`FlowError::Length`] where the values are not whole rows.
    ///
    /// ```
    /// use flow_core::io::Table;
    /// let table = Table::new(["a", "b"], vec![1.0, 2.0, 3.0, 4.0])?;
    /// assert_eq!((table.rows(), table.width()), (2, 2));
    /// assert_eq!(table.row(1), [3.0, 4.0]);
    /// # Ok::<(), flow_core::FlowError>(())
    /// ```
    pub fn new(
        columns: impl IntoIterator<Item = impl Into<String>>,
        values: Vec<f64>,
    ) -> Result<Self> {
        let columns: Vec<String> = columns.into_iter().map(Into::into).collect();
        let found = values.len();
        let expected = match columns.len() {
            0 => 0,
            width => found.next_multiple_of(width),
        };
        if found != expected {
            return Err(FlowError::Length { what: "the table".into(), found, expected });
        }
        Ok(Self { columns, values })
    }

    /// The names of its columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Numbers in a row.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.values.len() / self.columns.len().max(1)
    }

    /// One row, counted from 0.
    ///
    /// # Panics
    /// Where there are not so many [`rows`](Self::rows).
    pub fn row(&self, row: usize) -> &[f64] {
        assert!(row < self.rows(), "row {row} of a table of {} rows", self.rows());
        &self.values[row * self.width()..][..self.width()]
    }

    /// All numbers, row after row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// All numbers, row after row, to change.
    pub fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// The same rows in a random order, the same one for equal seeds.
    pub fn shuffle(&mut self, seed: u64) {
        let order = Noise::seed(seed).named("shuffle").permutation(self.rows());
        self.values = order.iter().flat_map(|&row| self.row(row)).copied().collect();
    }

    /// Takes the last `rows` rows off, or all there are.
    pub fn split_off(&mut self, rows: usize) -> Self {
        let rows = rows.min(self.rows());
        let values = self.values.split_off(self.values.len() - rows * self.width());
        Self { columns: self.columns.clone(), values }
    }

    /// Mean and standard deviation (dividing by the number of rows) of each column.
    ///
    /// ```
    /// use flow_core::io::Table;
    /// let table = Table::new(["a"], vec![1.0, 3.0])?;
    /// assert_eq!(table.moments(), [(2.0, 1.0)]);
    /// # Ok::<(), flow_core::FlowError>(())
    /// ```
    pub fn moments(&self) -> Vec<(f64, f64)> {
        let rows = self.rows() as f64;
        let column = |c| self.values.iter().skip(c).step_by(self.width());
        let of = |c| {
            let mean = column(c).sum::<f64>() / rows;
            let spread = column(c).map(|v| (v - mean).powi(2)).sum::<f64>() / rows;
            (mean, spread.sqrt())
        };
        (0..self.width()).map(of).collect()
    }
}

/// Reads a table from a `.csv` or `.npy` file, or one of these that gzip made smaller (`.npy.gz`).
///
/// A CSV file may have a first line of names, of which at least one is no number; its cells are
/// divided by commas, or by semicolons or tabs where the first line has these. A NumPy array has one
/// or two dimensions and floats of 32 or 64 bits or integers of 8 to 64, those beyond 2⁵³ rounded;
/// its columns are named `0`, `1`, … as are those of a CSV file without names.
///
/// # Errors
/// [`FlowError::Table`] with the line of a CSV file that is ragged or holds anything but finite
/// numbers; [`FlowError::File`] for files that cannot be read, hold no rows, or are of another kind.
pub fn read_table(path: impl AsRef<Path>) -> Result<Table> {
    let path = path.as_ref();
    let table = match Format::of(path)? {
        Format::Csv => csv::read(path)?,
        Format::Npy => npy::read(path)?,
    };
    if table.rows() == 0 {
        return Err(FlowError::file(path, "holds no rows of numbers, expected at least one"));
    }
    Ok(table)
}

/// Writes a table to a `.csv` or `.npy` file; reading it gives the same finite numbers bit by bit,
/// and is an error where one is not finite or there are no rows.
///
/// Names of columns come back from a CSV file without the white space around them, and `0`, `1`, …
/// are left out of it. A NumPy array has no names.
///
/// # Errors
/// [`FlowError::File`] where the file cannot be written, or is named otherwise, and for a CSV file
/// whose names are all numbers or empty, but not `0`, `1`, …: such a first line would be read as a
/// row.
pub fn write_table(path: impl AsRef<Path>, table: &Table) -> Result<()> {
    let path = path.as_ref();
    if gzip::named(path) {
        return Err(FlowError::file(path, "is compressed by its name, expected .csv or .npy"));
    }
    match Format::of(path)? {
        Format::Csv => csv::write(path, table),
        Format::Npy => npy::write(path, table),
    }
}

enum Format {
    Csv,
    Npy,
}

impl Format {
    fn of(path: &Path) -> Result<Self> {
        let name = if gzip::named(path) { path.with_extension("") } else { path.into() };
        let extension = name.extension().map(|e| e.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("csv" | "tsv" | "txt") => Ok(Self::Csv),
            Some("npy") => Ok(Self::Npy),
            _ => Err(FlowError::file(path, "is not a table by its name, expected .csv or .npy")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::folder;

    #[test]
    fn numbers_come_back_bit_by_bit() {
        let folder = folder("tables");
        let values = vec![0.1, -1e300, 5e-324, 1.0 / 3.0, 0.0, -0.0, 1e15, 123456.789];
        for columns in [vec!["a"], vec!["a", "b, with \"quotes\""], vec!["1", "2", "x", "y"]] {
            let table = Table::new(columns, values.clone()).unwrap();
            let [csv, npy] = ["t.csv", "t.npy"].map(|name| folder.join(name));
            write_table(&csv, &table).unwrap();
            let same = read_table(&csv).unwrap();
            assert_eq!(same, table);
            let bits = |t: &Table| t.values().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&same), bits(&table));
            write_table(&npy, &table).unwrap();
            assert_eq!(bits(&read_table(&npy).unwrap()), bits(&table));
        }
    }

    #[test]
    fn compressed_tables_are_read_as_they_were() {
        use std::io::Write;
        let folder = folder("compressed");
        let table = Table::new(["a", "b"], vec![1.0, 2.5, -3.0, 4.0]).unwrap();
        for name in ["t.csv", "t.npy"] {
            let plain = folder.join(name);
            write_table(&plain, &table).unwrap();
            let bytes = std::fs::read(&plain).unwrap();
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            encoder.write_all(&bytes).unwrap();
            let small = encoder.finish().unwrap();
            let path = folder.join(format!("{name}.gz"));
            std::fs::write(&path, &small).unwrap();
            assert_eq!(read_table(&path), read_table(&plain));
            std::fs::write(&path, &small[..small.len() - 9]).unwrap();
            let error = read_table(&path).unwrap_err().to_string();
            assert!(error.contains("t.") && error.contains("cannot be read"), "{error}");
            let error = write_table(&path, &table).unwrap_err().to_string();
            assert!(error.contains("is compressed by its name"), "{error}");
        }
    }

    #[test]
    fn a_shuffle_moves_whole_rows() {
        let values: Vec<f64> = (0..100).flat_map(|i| [f64::from(i), f64::from(-i)]).collect();
        let mut table = Table::new(["a", "b"], values.clone()).unwrap();
        table.shuffle(3);
        assert_ne!(table.values(), values);
        let mut rows: Vec<_> =
            (0..100).map(|i| (table.row(i)[0] as i64, table.row(i)[1] as i64)).collect();
        assert!(rows.iter().all(|(a, b)| a + b == 0));
        rows.sort_unstable();
        assert!(rows.iter().enumerate().all(|(i, row)| row.0 == i as i64));
        let mut again = Table::new(["a", "b"], values).unwrap();
        again.shuffle(3);
        assert_eq!(again, table);
        let last = table.split_off(10);
        assert_eq!((table.rows(), last.rows()), (90, 10));
        assert_eq!(last.row(9), again.row(99));
        assert_eq!(table.split_off(1000).rows(), 90);
    }

    #[test]
    fn a_table_is_whole_rows() {
        let error = Table::new(["a", "b"], vec![1.0; 3]).unwrap_err();
        assert_eq!(error.to_string(), "the table has 3 numbers, expected 4");
        let error = Table::new(Vec::<String>::new(), vec![1.0]).unwrap_err();
        assert_eq!(error.to_string(), "the table has 1 numbers, expected 0");
        assert_eq!(Table::new(Vec::<String>::new(), vec![]).unwrap().rows(), 0);
    }

    #[test]
    #[should_panic(expected = "row 9223372036854775808 of a table of 2 rows")]
    fn a_row_that_is_not_there_is_no_other_row() {
        Table::new(["a", "b"], vec![1.0; 4]).unwrap().row(1 << 63);
    }

    #[test]
    fn other_files_are_refused_by_name() {
        let error = read_table("data.parquet").unwrap_err();
        let want = "data.parquet: is not a table by its name, expected .csv or .npy";
        assert_eq!(error.to_string(), want);
        let error = read_table("none/data.csv").unwrap_err();
        assert!(error.to_string().starts_with("none/data.csv: cannot be read"), "{error}");
    }
}
