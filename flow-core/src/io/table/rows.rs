//! Tables as rows of a flow, and back.

use super::Table;
use crate::{FlowError, Result, Rows, Scalar};

impl Table {
    /// The rows in the type of a flow, as its trainer takes them.
    ///
    /// # Errors
    /// Those of [`Rows::new`], or the first number that is beyond the range of the type.
    pub fn to_rows<E: Scalar>(&self) -> Result<Rows<E>> {
        let numbers: Vec<E> = self.values.iter().map(|&value| E::of(value)).collect();
        let beyond = |(value, number): (&f64, &E)| value.is_finite() && !number.is_finite();
        if let Some(i) = self.values.iter().zip(&numbers).position(beyond) {
            let (row, column) = (i / self.width(), &self.columns[i % self.width()]);
            return Err(FlowError::option(
                format_args!("column `{column}` of row {row}"),
                format_args!("{:e}", self.values[i]),
                format_args!(
                    "a number of {}\nhelp: rescale the column, or take Rows and a flow of f64",
                    E::NAME
                ),
            ));
        }
        Rows::new(numbers, self.width())
    }

    /// A table of rows, such as a flow's samples, without their context.
    ///
    /// ```
    /// use flow_core::io::Table;
    /// use flow_core::prelude::*;
    /// let rows = Rows::from_rows([[1.0_f32, 2.0], [3.0, 4.0]])?;
    /// let table = Table::from_rows(["height", "weight"], &rows)?;
    /// assert_eq!(table.row(1), [3.0, 4.0]);
    /// # Ok::<(), FlowError>(())
    /// ```
    ///
    /// # Errors
    /// Another number of columns than numbers in a row.
    pub fn from_rows<E: Scalar>(
        columns: impl IntoIterator<Item = impl Into<String>>,
        rows: &Rows<E>,
    ) -> Result<Self> {
        let columns: Vec<String> = columns.into_iter().map(Into::into).collect();
        let (found, expected) = (columns.len(), rows.width());
        if found != expected {
            let wanted = format_args!("{expected}, as a row has numbers");
            return Err(FlowError::option("the number of columns", found, wanted));
        }
        Self::new(columns, rows.values().iter().map(|value| value.as_f64()).collect())
    }

    /// The columns of these names, in this order: what is modelled, or what it is given.
    ///
    /// ```
    /// use flow_core::io::Table;
    /// let table = Table::new(["x", "y", "angle"], vec![1.0, 2.0, 0.5, 3.0, 4.0, 0.7])?;
    /// let points = table.select(["y", "x"])?.to_rows::<f32>()?;
    /// let data = points.given_rows(&table.select(["angle"])?.to_rows()?)?;
    /// assert_eq!((data.values(), data.context_values()), (&[2.0, 1.0, 4.0, 3.0][..], &[0.5, 0.7][..]));
    /// # Ok::<(), flow_core::FlowError>(())
    /// ```
    ///
    /// # Errors
    /// A name that no column has, or two have.
    pub fn select(&self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self> {
        let names: Vec<String> = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
        let mut places = Vec::with_capacity(names.len());
        for name in &names {
            let mut found = (0..self.width()).filter(|&column| self.columns[column] == *name);
            match (found.next(), found.next()) {
                (Some(place), None) => places.push(place),
                (first, _) => {
                    let found = if first.is_some() { "more than one" } else { "none" };
                    let all = self.columns.join("`, `");
                    return Err(FlowError::option(
                        format_args!("the column named `{name}`"),
                        found,
                        format_args!("one of `{all}`"),
                    ));
                }
            }
        }
        let rows = 0..self.rows();
        let values = rows.flat_map(|row| places.iter().map(move |&place| self.row(row)[place]));
        Self::new(names, values.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table::new(["a", "b", "a"], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap()
    }

    #[test]
    fn columns_are_taken_by_name_once() {
        let error = |name: &str| table().select([name]).unwrap_err().to_string();
        let want = "the column named `c` is none, expected one of `a`, `b`, `a`";
        assert_eq!(error("c"), want);
        assert!(error("a").starts_with("the column named `a` is more than one"));
        let twice = table().select(["b", "b"]).unwrap();
        assert_eq!(twice.values(), [2.0, 2.0, 5.0, 5.0]);
        assert_eq!(table().select([""; 0]).unwrap().width(), 0);
    }

    #[test]
    fn rows_come_back_as_a_table() {
        let rows = table().to_rows::<f32>().unwrap();
        assert_eq!(Table::from_rows(["a", "b", "a"], &rows), Ok(table()));
        let error = Table::from_rows(["a"], &rows).unwrap_err().to_string();
        assert_eq!(error, "the number of columns is 1, expected 3, as a row has numbers");
    }

    #[test]
    fn numbers_beyond_single_precision_are_named() {
        let large = Table::new(["a", "b"], vec![1.0, 2.0, 3.0, -1e39]).unwrap();
        let error = large.to_rows::<f32>().unwrap_err().to_string();
        assert!(
            error.starts_with("column `b` of row 1 is -1e39, expected a number of f32"),
            "{error}"
        );
        assert_eq!(large.to_rows::<f64>().unwrap().values(), large.values());
        let missing = Table::new(["a"], vec![f64::NAN]).unwrap();
        let error = missing.to_rows::<f32>().unwrap_err().to_string();
        assert!(error.starts_with("row 0 of the data holds NaN"), "{error}");
        assert!(Table::new([""; 0], vec![]).unwrap().to_rows::<f32>().is_err());
    }
}
