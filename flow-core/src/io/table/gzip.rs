//! Files with and without compression.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::{FlowError, Result};

/// Whether a file is compressed, by its name.
pub(super) fn named(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
}

/// All of a file's bytes, as they were before gzip where its name ends in `.gz`.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| match named(path) {
        true => MultiGzDecoder::new(file).read_to_end(&mut bytes),
        false => file.read_to_end(&mut bytes),
    });
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(FlowError::file(path, format_args!("cannot be read: {error}"))),
    }
}
