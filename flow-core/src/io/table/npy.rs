//! Tables as NumPy arrays.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read};
use std::path::Path;

use npyz::{DType, NpyFile, Order, TypeChar, WriterBuilder};

use super::{csv, gzip, Table};
use crate::io::write_atomically;
use crate::{FlowError, Result};

pub(super) fn read(path: &Path) -> Result<Table> {
    let unreadable =
        |error: std::io::Error| FlowError::file(path, format_args!("cannot be read: {error}"));
    let bad = |reason: String| FlowError::file(path, reason);
    let (mut file, length): (Box<dyn BufRead>, u64) = if gzip::named(path) {
        let bytes = gzip::read(path)?;
        let length = bytes.len() as u64;
        (Box::new(Cursor::new(bytes)), length)
    } else {
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        (Box::new(BufReader::with_capacity(1 << 16, file)), length)
    };
    if !countable(file.fill_buf().map_err(unreadable)?) {
        return Err(bad("is cut off: its header asks for more numbers than can be".into()));
    }
    let array =
        NpyFile::new(file).map_err(|error| bad(format!("is not a NumPy array: {error}")))?;

    let (rows, width) = match *array.shape() {
        [rows] => (rows, 1),
        [rows, width] => (rows, width),
        ref shape => {
            return Err(bad(format!("is an array of shape {shape:?}, expected rows and columns")))
        }
    };
    let DType::Plain(kind) = array.dtype() else {
        return Err(bad("is an array of records, expected plain numbers".into()));
    };
    // Which needs no names of columns, however many its header asks for.
    if rows == 0 || width == 0 {
        return Table::new([""; 0], Vec::new());
    }
    // Before anything is allocated: a damaged header can ask for any size.
    let cut_off = || bad(format!("is cut off: {length} bytes for {rows} × {width} numbers"));
    let wanted = rows.checked_mul(width).and_then(|n| n.checked_mul(kind.size_field()));
    if wanted.is_none_or(|wanted| wanted > length) {
        return Err(cut_off());
    }
    let by_columns = array.order() == Order::Fortran && width > 1;
    let values =
        numbers(array, kind.type_char(), kind.size_field()).map_err(|error| {
            match error.kind() {
                ErrorKind::UnexpectedEof => cut_off(),
                _ => bad(error.to_string()),
            }
        })?;

    let (rows, width) = (rows as usize, width as usize);
    let values = match by_columns {
        true => (0..rows * width).map(|i| values[i % width * rows + i / width]).collect(),
        false => values,
    };
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        let (row, column, value) = (at / width, at % width, values[at]);
        return Err(bad(format!(
            "row {row}, column {column} (counted from 0) holds {value}, expected a finite number\
             \nhelp: remove or impute such rows first"
        )));
    }
    Table::new(csv::counted(width), values)
}

/// Whether the sides that a header names can be multiplied, which npyz does without looking.
fn countable(start: &[u8]) -> bool {
    let header = start.get(10..).unwrap_or_default().split(|&byte| byte == b'\n').next();
    let digits = header.unwrap_or_default().split(|byte| !byte.is_ascii_digit());
    let sides = digits.filter(|run| !run.is_empty()).map(|run| {
        run.iter().try_fold(0u64, |n, digit| n.checked_mul(10)?.checked_add((digit - b'0').into()))
    });
    sides.into_iter().try_fold(1u64, |all, side| all.checked_mul(side?.max(1))).is_some()
}

fn numbers<R: Read>(array: NpyFile<R>, kind: TypeChar, bytes: u64) -> std::io::Result<Vec<f64>> {
    macro_rules! read {
        ($type:ty) => {
            array
                .data::<$type>()
                .map_err(std::io::Error::other)?
                .map(|v| v.map(|v| v as f64))
                .collect()
        };
    }
    match (kind, bytes) {
        (TypeChar::Float, 8) => read!(f64),
        (TypeChar::Float, 4) => read!(f32),
        (TypeChar::Int, 8) => read!(i64),
        (TypeChar::Int, 4) => read!(i32),
        (TypeChar::Int, 2) => read!(i16),
        (TypeChar::Int, 1) => read!(i8),
        (TypeChar::Uint, 8) => read!(u64),
        (TypeChar::Uint, 4) => read!(u32),
        (TypeChar::Uint, 2) => read!(u16),
        (TypeChar::Uint, 1) => read!(u8),
        _ => {
            let found = array.dtype().descr();
            let reason = format!(
                "holds elements of type {found}, expected floats of 32 or 64 bits or integers of 8 \
                 to 64\nhelp: save it as `array.astype(\"float64\")`"
            );
            Err(std::io::Error::other(reason))
        }
    }
}

pub(super) fn write(path: &Path, table: &Table) -> Result<()> {
    write_atomically(path, |file| {
        let shape = [table.rows() as u64, table.width() as u64];
        let mut writer =
            npyz::WriteOptions::new().default_dtype().shape(&shape).writer(file).begin_nd()?;
        writer.extend(table.values())?;
        writer.finish()
    })
}

#[cfg(test)]
mod tests {
    use crate::io::read_table;
    use crate::io::testing::folder;

    /// A file of version 1.0 with this header and data.
    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut header = header.to_string();
        while !(header.len() + 11).is_multiple_of(64) {
            header.push(' ');
        }
        header.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn header(descr: &str, order: &str, shape: &str) -> String {
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}")
    }

    #[test]
    fn arrays_of_every_type_and_order_are_read() {
        let path = folder("npy").join("a.npy");
        let f4: Vec<u8> =
            [1f32, 2.0, 3.0, 4.5, 5.0, 6.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let big: Vec<u8> = [1i16, -2].iter().flat_map(|v| v.to_be_bytes()).collect();
        for (header, data, width, want) in [
            (header("<f4", "False", "(2, 3)"), f4.clone(), 3, vec![1.0, 2.0, 3.0, 4.5, 5.0, 6.0]),
            (header("<f4", "True", "(2, 3)"), f4.clone(), 3, vec![1.0, 3.0, 5.0, 2.0, 4.5, 6.0]),
            (header("<f4", "True", "(6,)"), f4, 1, vec![1.0, 2.0, 3.0, 4.5, 5.0, 6.0]),
            (header(">i2", "False", "(1, 2)"), big, 2, vec![1.0, -2.0]),
            (header("|u1", "False", "(2,)"), vec![7, 255], 1, vec![7.0, 255.0]),
        ] {
            std::fs::write(&path, file(&header, &data)).unwrap();
            let table = read_table(&path).unwrap();
            assert_eq!((table.width(), table.values()), (width, &want[..]), "{header}");
        }
    }

    #[test]
    fn damaged_and_foreign_arrays_are_errors() {
        let path = folder("npy-bad").join("a.npy");
        let nan: Vec<u8> = [1.0, f64::NAN].iter().flat_map(|v: &f64| v.to_le_bytes()).collect();
        for (bytes, want) in [
            (b"junk".to_vec(), "is not a NumPy array"),
            (Vec::new(), "is not a NumPy array"),
            (file(&header("<f8", "False", "(2, 3)"), &[0; 7]), "is cut off"),
            (file(&header("<f8", "False", "(9223372036854775807, 3)"), &[]), "is cut off"),
            (
                file(&header("<f8", "False", "(2, 1, 1)"), &[0; 16]),
                "is an array of shape [2, 1, 1]",
            ),
            (file(&header("<f8", "False", "()"), &[0; 8]), "is an array of shape []"),
            (file(&header("<c16", "False", "(1,)"), &[0; 16]), "holds elements of type '<c16'"),
            (file(&header("|S4", "False", "(1,)"), &[0; 4]), "holds elements of type '|S4'"),
            (
                file(&header("<f2", "False", "(1,)"), &[0; 2]),
                "holds elements of type '<f2', expected floats of 32 or 64 bits or integers of 8",
            ),
            (file(&header("|b1", "False", "(2,)"), &[0; 2]), "holds elements of type '|b1'"),
            (
                file(&header("<f8", "False", "(1, 2)"), &nan),
                "row 0, column 1 (counted from 0) holds NaN",
            ),
            (file(&header("<f8", "False", "(0, 2)"), &[]), "holds no rows"),
            (file(&header("<f8", "False", "(2, 0)"), &[]), "holds no rows"),
            (file(&header("<f8", "False", "(0, 1000000000000)"), &[]), "holds no rows"),
            (file(&header("<f8", "True", "(1000000000000, 0)"), &[]), "holds no rows"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = read_table(&path).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{}: {want}", path.display())), "{error}");
        }
    }
}
