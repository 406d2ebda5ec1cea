//! A flow's weights in a file of their own.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use super::tensors::{bytes, narrowed, numbers, parse};
use super::{fingerprint, write_atomically};
use crate::engine::{BufferKind, Role};
use crate::{Architecture, Backend, Flow, FlowError, Named, Result, Scalar};

/// The number of this format: one more for each change that older versions cannot read.
const FORMAT: u32 = 1;

/// The key of the description in a file's metadata. It is the only one, as the order of several
/// would differ from file to file.
const KEY: &str = "flow";

/// Whose weights a file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    format: u32,
    name: String,
    fingerprint: String,
    scalar: String,
    /// One line for each item, to say what differs.
    items: Vec<String>,
}

impl Description {
    fn of<A: Architecture<E>, E: Scalar, B: Backend>(flow: &Flow<A, E, B>) -> Self {
        Self {
            format: FORMAT,
            name: A::NAME.into(),
            fingerprint: fingerprint::of::<A, E>(flow.layout()),
            scalar: E::NAME.into(),
            items: A::ITEMS
                .iter()
                .map(|i| {
                    format!("{}: {}, {} × {} → {}", i.path, i.text, i.count, i.input, i.output)
                })
                .collect(),
        }
    }
}

impl<A: Architecture<E>, E: Scalar, B: Backend> Flow<A, E, B> {
    /// Writes parameters and buffers to a safetensors file, with the flow's
    /// [`fingerprint`](Self::fingerprint). Equal weights give equal files.
    ///
    /// Numbers are written exactly: in the flow's own type, permutations and flags as integers. The
    /// file is complete or not there. What is frozen is a choice of training and not saved.
    ///
    /// # Errors
    /// [`FlowError::File`] where the file cannot be written.
    ///
    /// ```no_run
    /// # use dfdx::prelude::*;
    /// # use flow_core::prelude::*;
    /// # flow! { struct Tiny: Vector<2> { linear(diagonal); } }
    /// let cpu = Cpu::default();
    /// let flow = Tiny::<f32>::build(&cpu, 0)?;
    /// flow.save("tiny.safetensors")?;
    /// let mut same = Tiny::<f32>::build(&cpu, 1)?;
    /// same.load_weights("tiny.safetensors")?;
    /// # Ok::<(), FlowError>(())
    /// ```
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let failed = |error: String| FlowError::file(path, error);
        let description = serde_json::to_string(&Description::of(self))
            .map_err(|error| failed(error.to_string()))?;
        let metadata = HashMap::from([(KEY.to_string(), description)]);
        let tensors = self.parameters().chain(self.buffers()).map(|t| (t.name, Written(t)));
        let file = safetensors::serialize(tensors, Some(metadata))
            .map_err(|error| failed(error.to_string()))?;
        write_atomically(path, |to| to.write_all(&file))
    }

    /// A flow with the weights of a file that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// As [`load_weights`](Self::load_weights).
    pub fn load(device: &B, path: impl AsRef<Path>) -> Result<Self> {
        let mut flow = Self::build(device, 0)?;
        flow.load_weights(path)?;
        Ok(flow)
    }

    /// Replaces all weights by those of a file that [`save`](Self::save) wrote, or none.
    ///
    /// The file may have been written by a flow of the other type: `f32` to `f64` is exact, `f64`
    /// to `f32` takes the nearest number. The flow's name may have changed since, its blocks not.
    ///
    /// # Errors
    /// [`FlowError::File`] where the file is missing, cut off or not of this kind;
    /// [`FlowError::WeightsDiffer`] with every difference where it belongs to another flow.
    pub fn load_weights(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = bytes(path)?;
        let file = parse(path, &bytes)?;
        let theirs = description(path, &bytes)?;
        let ours = Description::of(self);
        let mut differences = Vec::new();
        if theirs.fingerprint != ours.fingerprint {
            differences.push(format!(
                "the file is of {}, architecture {}; the flow is {}, architecture {}",
                theirs.name, theirs.fingerprint, ours.name, ours.fingerprint
            ));
            differ(&theirs.items, &ours.items, &mut differences);
        }
        let loaded = self.whole(&file, &mut differences);
        if !differences.is_empty() {
            return Err(FlowError::WeightsDiffer {
                path: path.into(),
                flow: A::NAME.into(),
                differences,
            });
        }
        self.replace(loaded)
    }

    /// Every entry of the layout with its numbers in the file, noting what does not fit.
    fn whole(
        &self,
        file: &SafeTensors<'_>,
        differences: &mut Vec<String>,
    ) -> Vec<(crate::Entry, Vec<E>)> {
        let mut theirs: BTreeMap<&str, _> = file.iter().collect();
        let mut loaded = Vec::new();
        for entry in &self.layout().entries {
            let Some(view) = theirs.remove(entry.name.as_str()) else {
                differences.push(format!("missing: `{}` {:?}", entry.name, entry.shape));
                continue;
            };
            if view.shape() != entry.shape {
                differences.push(format!(
                    "other shape: `{}` is {:?} in the file, {:?} in the flow",
                    entry.name,
                    view.shape(),
                    entry.shape
                ));
                continue;
            }
            match numbers(&view).and_then(|values| narrowed(entry, &values)) {
                Ok(values) => loaded.push((entry.clone(), values)),
                Err(reason) => differences.push(format!("`{}` {reason}", entry.name)),
            }
        }
        let left_over = theirs.into_iter();
        differences.extend(left_over.map(|(n, v)| format!("left over: `{n}` {:?}", v.shape())));
        loaded
    }
}

/// What the file says of itself.
fn description(path: &Path, bytes: &[u8]) -> Result<Description> {
    let foreign = |reason: &str| {
        let help = "help: flow.import reads weights by name from any safetensors file";
        FlowError::file(path, format!("{reason}\n{help}"))
    };
    let metadata = SafeTensors::read_metadata(bytes).ok();
    let metadata = metadata.as_ref().and_then(|(_, metadata)| metadata.metadata().as_ref());
    let Some(text) = metadata.and_then(|metadata| metadata.get(KEY)) else {
        return Err(foreign("holds tensors, but was not written by a flow's `save`"));
    };
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    match serde_json::from_str(text) {
        Ok(Format { format: FORMAT }) => {}
        Ok(Format { format }) => {
            let reason = format!("is of format {format}, this version reads {FORMAT}");
            return Err(foreign(&reason));
        }
        Err(error) => return Err(foreign(&format!("has a description that is none: {error}"))),
    }
    serde_json::from_str(text)
        .map_err(|error| foreign(&format!("has a description that is none: {error}")))
}

/// Notes the items that stand in one of two lists only.
fn differ(theirs: &[String], ours: &[String], differences: &mut Vec<String>) {
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|item| !those.contains(item)).cloned().collect()
    };
    for item in only(theirs, ours) {
        differences.push(format!("only in the file: {item}"));
    }
    for item in only(ours, theirs) {
        differences.push(format!("only in the flow: {item}"));
    }
}

/// A tensor as it is written.
struct Written<'f, E>(Named<'f, E>);

impl<E: Scalar> View for Written<'_, E> {
    fn dtype(&self) -> Dtype {
        match self.0.role {
            Role::Buffer(BufferKind::Integer) => Dtype::I64,
            _ if E::NAME == f64::NAME => Dtype::F64,
            _ => Dtype::F32,
        }
    }

    fn shape(&self) -> &[usize] {
        self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = self.0.values.iter().map(|value| value.as_f64());
        match self.dtype() {
            Dtype::I64 => values.flat_map(|value| (value as i64).to_le_bytes()).collect(),
            Dtype::F64 => values.flat_map(f64::to_le_bytes).collect(),
            // Exact: they come from an `f32`.
            _ => values.flat_map(|value| (value as f32).to_le_bytes()).collect(),
        }
    }

    fn data_len(&self) -> usize {
        self.0.values.len() * self.dtype().bitsize() / 8
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::io::testing::{folder, Tiny};
    use crate::Cpu;

    fn tiny<const D: usize, E: Scalar>(seed: u64) -> Flow<Tiny<D>, E> {
        Flow::build(&Cpu::default(), seed).unwrap()
    }

    fn contents<const D: usize, E: Scalar>(flow: &Flow<Tiny<D>, E>) -> Vec<Vec<E>> {
        flow.parameters().chain(flow.buffers()).map(|tensor| tensor.values.to_vec()).collect()
    }

    fn round_trip<E: Scalar>(other: fn(E) -> f64) {
        let folder = folder(&format!("weights-{}", E::NAME));
        let path = folder.join("a.safetensors");
        let mut flow = tiny::<3, E>(1);
        let awkward = [E::of(1.0 / 3.0), E::min_positive_value() / E::of(8.0), -E::max_value()];
        flow.set("0.offset", &awkward).unwrap();
        flow.set("0.permutation", &[2.0, 0.0, 1.0].map(E::of)).unwrap();
        flow.set("0.initialized", &[E::one()]).unwrap();
        flow.save(&path).unwrap();
        let same = Flow::<Tiny<3>, E>::load(&Cpu::default(), &path).unwrap();
        assert_eq!(contents(&same), contents(&flow));
        assert_ne!(contents(&tiny::<3, E>(0)), contents(&flow));
        let first = fs::read(&path).unwrap();
        same.save(&path).unwrap();
        assert!(first == fs::read(&path).unwrap(), "equal weights, equal files");
        let tensors = SafeTensors::deserialize(&first).unwrap();
        assert_eq!(tensors.tensor("0.permutation").unwrap().dtype(), Dtype::I64);
        assert_eq!(numbers(&tensors.tensor("0.offset").unwrap()).unwrap(), awkward.map(other));
    }

    #[test]
    fn weights_come_back_bit_by_bit() {
        round_trip::<f32>(f64::from);
        round_trip::<f64>(|value| value);
    }

    #[test]
    fn the_other_type_is_converted() {
        let path = folder("weights-types").join("a.safetensors");
        let single = tiny::<3, f32>(1);
        single.save(&path).unwrap();
        let mut double = tiny::<3, f64>(2);
        double.load_weights(&path).unwrap();
        let widened: Vec<Vec<f64>> = contents(&single)
            .into_iter()
            .map(|values| values.into_iter().map(f64::from).collect())
            .collect();
        assert_eq!(contents(&double), widened);

        double.set("0.log_scale", &[0.1, 1e-50, 0.0]).unwrap();
        double.save(&path).unwrap();
        let mut single = tiny::<3, f32>(2);
        single.load_weights(&path).unwrap();
        assert_eq!(contents(&single)[0], [0.1f32, 0.0, 0.0]);

        double.set("0.log_scale", &[1e300, 0.0, 0.0]).unwrap();
        double.save(&path).unwrap();
        let error = single.load_weights(&path).unwrap_err().to_string();
        assert!(error.contains("`0.log_scale` holds 1e300, beyond the range of f32"), "{error}");
        assert_eq!(contents(&single)[0], [0.1f32, 0.0, 0.0]);
    }

    #[test]
    fn another_flow_is_refused_with_its_differences() {
        let path = folder("weights-other").join("a.safetensors");
        tiny::<3, f32>(1).save(&path).unwrap();
        let mut other = tiny::<4, f32>(2);
        let before = contents(&other);
        let Err(FlowError::WeightsDiffer { differences, flow, .. }) = other.load_weights(&path)
        else {
            panic!("weights of another flow were accepted");
        };
        assert_eq!(flow, "Tiny");
        assert!(differences[0].starts_with("the file is of Tiny, architecture "));
        let want = [
            "only in the file: 0: tiny, 1 × Vector<3> → Vector<3>",
            "only in the flow: 0: tiny, 1 × Vector<4> → Vector<4>",
            "other shape: `0.log_scale` is [3] in the file, [4] in the flow",
            "other shape: `0.permutation` is [3] in the file, [4] in the flow",
            "other shape: `0.offset` is [1, 3] in the file, [1, 4] in the flow",
        ];
        assert_eq!(differences[1..], want);
        assert_eq!(contents(&other), before);
    }

    #[test]
    fn a_cut_file_is_refused_wherever_it_ends() {
        let path = folder("weights-cut").join("a.safetensors");
        let flow = tiny::<3, f64>(1);
        flow.save(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        let mut other = tiny::<3, f64>(2);
        let before = contents(&other);
        for length in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
            fs::write(&path, &whole[..length]).unwrap();
            let error = other.load_weights(&path).unwrap_err();
            assert!(matches!(&error, FlowError::File { path: at, .. } if *at == path), "{error}");
        }
        assert_eq!(contents(&other), before);
        fs::write(&path, &whole).unwrap();
        other.load_weights(&path).unwrap();
        assert_eq!(contents(&other), contents(&flow));
    }

    #[test]
    fn foreign_files_are_refused() {
        let folder = folder("weights-foreign");
        let mut flow = tiny::<3, f32>(1);
        let before = contents(&flow);
        let data: Vec<u8> = [0f32; 3].iter().flat_map(|value| value.to_le_bytes()).collect();
        let view = || safetensors::tensor::TensorView::new(Dtype::F32, vec![3], &data).unwrap();
        let with = |metadata: Option<&str>| {
            let metadata =
                metadata.map(|text| HashMap::from([(KEY.to_string(), text.to_string())]));
            safetensors::serialize([("0.log_scale", view())], metadata).unwrap()
        };
        let ours = Description::of(&flow);
        let short = serde_json::to_string(&ours).unwrap();
        let newer = serde_json::to_string(&Description { format: 7, ..ours }).unwrap();
        for (file, want) in [
            (
                b"PK\x03\x04 a zip archive of some length".to_vec(),
                "is not a whole safetensors file",
            ),
            (with(None), "holds tensors, but was not written by a flow's `save`"),
            (with(Some("{}")), "has a description that is none"),
            (with(Some(&newer)), "is of format 7, this version reads 1"),
            (with(Some(&short)), "the weights do not fit Tiny\nmissing: `0.permutation` [3]"),
        ] {
            let path = folder.join("a.safetensors");
            fs::write(&path, file).unwrap();
            let error = flow.load_weights(&path).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{}: {want}", path.display())), "{error}");
        }
        let error = flow.load_weights(folder.join("none")).unwrap_err().to_string();
        assert!(error.contains("none: cannot be read: "), "{error}");
        assert_eq!(contents(&flow), before);
    }

    #[test]
    fn what_the_blocks_refuse_changes_nothing() {
        let path = folder("weights-invalid").join("a.safetensors");
        let flow = tiny::<3, f32>(1);
        flow.save(&path).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        // The permutation comes first: [2, 1, 0] in 64-bit integers, made to [1, 1, 0].
        let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let at = (start..).find(|&at| bytes[at..at + 9] == [2, 0, 0, 0, 0, 0, 0, 0, 1]).unwrap();
        bytes[at] = 1;
        fs::write(&path, bytes).unwrap();
        let mut other = tiny::<3, f32>(2);
        let before = contents(&other);
        let error = other.load_weights(&path).unwrap_err();
        assert!(matches!(error, FlowError::Block { .. }), "{error}");
        assert_eq!(contents(&other), before);
    }
}
