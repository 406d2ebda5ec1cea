//! Named numbers and notes in a safetensors file.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::str::FromStr;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::io::write_atomically;
use crate::{FlowError, Result, Scalar};

/// Collects what is written.
#[derive(Default)]
pub(super) struct Writer {
    tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
    notes: HashMap<String, String>,
}

impl Writer {
    pub(super) fn numbers<E: Scalar>(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        values: &[E],
    ) {
        let (kind, bytes) = match dtype::<E>() {
            Dtype::F32 => (
                Dtype::F32,
                values.iter().flat_map(|v| (v.as_f64() as f32).to_le_bytes()).collect(),
            ),
            kind => (kind, values.iter().flat_map(|v| v.as_f64().to_le_bytes()).collect()),
        };
        self.tensors.push((name.into(), kind, shape.to_vec(), bytes));
    }

    pub(super) fn flat<E: Scalar>(&mut self, name: impl Into<String>, values: &[E]) {
        self.numbers(name, &[values.len()], values);
    }

    /// A note; floating point numbers are read back exactly.
    pub(super) fn note(&mut self, name: &str, value: impl ToString) {
        self.notes.insert(name.into(), value.to_string());
    }

    /// Writes a file beside `path`, then puts it in its place: whenever the program ends, `path`
    /// holds all of the old or all of the new.
    pub(super) fn write(self, path: &Path) -> Result<()> {
        let failed = |error: &dyn ToString| FlowError::file(path, error.to_string());
        let views = self.tensors.iter().map(|(name, kind, shape, bytes)| {
            TensorView::new(*kind, shape.clone(), bytes).map(|view| (name, view))
        });
        let views = views.collect::<Result<Vec<_>, _>>().map_err(|error| failed(&error))?;
        let bytes = safetensors::serialize(views, Some(self.notes)).map_err(|e| failed(&e))?;
        write_atomically(path, |file| file.write_all(&bytes))
    }
}

fn dtype<E: Scalar>() -> Dtype {
    if E::NAME == f32::NAME {
        Dtype::F32
    } else {
        Dtype::F64
    }
}

/// What was read.
pub(super) struct Reader<'b> {
    path: &'b Path,
    tensors: SafeTensors<'b>,
    notes: HashMap<String, String>,
}

impl<'b> Reader<'b> {
    pub(super) fn new(path: &'b Path, bytes: &'b [u8]) -> Result<Self> {
        let failed = |error| FlowError::file(path, format!("not a checkpoint: {error}"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(failed)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(failed)?;
        Ok(Self { path, tensors, notes: header.metadata().clone().unwrap_or_default() })
    }

    pub(super) fn wrong(&self, reason: impl ToString) -> FlowError {
        FlowError::file(self.path, reason)
    }

    pub(super) fn note<T: FromStr>(&self, name: &str) -> Result<T> {
        self.optional(name)?.ok_or_else(|| self.wrong(format!("not a checkpoint: no `{name}`")))
    }

    pub(super) fn optional<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.notes.get(name) else {
            return Ok(None);
        };
        let wrong = |_| self.wrong(format!("`{name}` is `{text}`, which cannot be read"));
        text.parse().map(Some).map_err(wrong)
    }

    pub(super) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.tensor(name).ok().map(|view| view.shape().to_vec())
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.tensors.names()
    }

    pub(super) fn numbers<E: Scalar>(&self, name: &str) -> Result<Vec<E>> {
        let missing = |_| self.wrong(format!("not a checkpoint: no tensor `{name}`"));
        let view = self.tensors.tensor(name).map_err(missing)?;
        if view.dtype() != dtype::<E>() {
            let (found, expected) = (view.dtype(), E::NAME);
            return Err(self.wrong(format!("`{name}` holds {found:?}, expected {expected}")));
        }
        let bytes = view.data();
        Ok(match view.dtype() {
            Dtype::F32 => chunks(bytes).map(|b| E::of(f32::from_le_bytes(b).into())).collect(),
            _ => chunks(bytes).map(|b| E::of(f64::from_le_bytes(b))).collect(),
        })
    }

    /// As [`numbers`](Self::numbers), where there must be `len` of them.
    pub(super) fn flat<E: Scalar>(&self, name: &str, len: usize) -> Result<Vec<E>> {
        let numbers = self.numbers(name)?;
        if numbers.len() != len {
            let found = numbers.len();
            return Err(self.wrong(format!("`{name}` has {found} numbers, expected {len}")));
        }
        Ok(numbers)
    }
}

fn chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    bytes.chunks_exact(N).map(|chunk| std::array::from_fn(|i| chunk[i]))
}
