//! Weights by name from files of other programs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::tensors::{bytes, narrowed, numbers, parse};
use crate::engine::Entry;
use crate::{Architecture, Backend, Flow, FlowError, Result, Scalar};

/// How [`Flow::import`] reads a file.
///
/// ```no_run
/// # use dfdx::prelude::*;
/// # use flow_core::prelude::*;
/// use flow_core::io::Import;
/// # flow! { struct Tiny: Vector<2> { affine_coupling(net = mlp([8], relu)); } }
/// let mut flow = Tiny::<f32>::build(&Cpu::default(), 0)?;
/// let options = Import::new()
///     .rename(|name| Some(name.replace("coupling.layers", "0.net")))
///     .rescale(|name, values| {
///         if name.ends_with("bias") {
///             values.iter_mut().for_each(|v| *v *= 0.5);
///         }
///     });
/// let imported = flow.import("theirs.safetensors", options)?;
/// println!("{imported}");
/// # Ok::<(), FlowError>(())
/// ```
#[derive(Default)]
pub struct Import<'a> {
    rename: Option<Box<dyn FnMut(&str) -> Option<String> + 'a>>,
    rescale: Option<Box<dyn FnMut(&str, &mut [f64]) + 'a>>,
    strict: bool,
}

impl<'a> Import<'a> {
    /// Every tensor under its own name, as it is.
    pub fn new() -> Self {
        Self::default()
    }

    /// Turns a name of the file into one of the flow; `None` leaves the tensor out.
    pub fn rename(mut self, rename: impl FnMut(&str) -> Option<String> + 'a) -> Self {
        self.rename = Some(Box::new(rename));
        self
    }

    /// Changes the numbers of a tensor, which comes under its name in the flow.
    pub fn rescale(mut self, rescale: impl FnMut(&str, &mut [f64]) + 'a) -> Self {
        self.rescale = Some(Box::new(rescale));
        self
    }

    /// Makes it an error if anything is missing, left over or of another shape.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }
}

impl fmt::Debug for Import<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import").field("strict", &self.strict).finish_non_exhaustive()
    }
}

/// What [`Flow::import`] did, tensor by tensor; all names but those left over are the flow's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Loaded into the flow.
    pub loaded: Vec<String>,
    /// In the flow, but not in the file: they keep their numbers.
    pub missing: Vec<String>,
    /// In the file, but not in the flow. Names are those after renaming.
    pub left_over: Vec<String>,
    /// In both, with another shape: name, shape in the file, shape in the flow.
    pub other_shape: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl Imported {
    /// Whether flow and file fit exactly.
    pub fn is_complete(&self) -> bool {
        self.differences().is_empty()
    }

    fn differences(&self) -> Vec<String> {
        let missing = self.missing.iter().map(|name| format!("missing: `{name}`"));
        let left_over = self.left_over.iter().map(|name| format!("left over: `{name}`"));
        let other = self.other_shape.iter().map(|(name, file, flow)| {
            format!("other shape: `{name}` is {file:?} in the file, {flow:?} in the flow")
        });
        missing.chain(left_over).chain(other).collect()
    }
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loaded {} tensors", self.loaded.len())?;
        self.differences().iter().try_for_each(|line| write!(f, "\n{line}"))
    }
}

impl<A: Architecture<E>, E: Scalar, B: Backend> Flow<A, E, B> {
    /// Loads parameters and buffers by name from any safetensors file: floating point numbers of
    /// 16, 32 or 64 bits, integers and booleans. Sides of length 1 do not count in a shape.
    ///
    /// An `initialized` flag that the file lacks is set where it has another tensor of that block,
    /// since trained weights need no initialisation from data.
    ///
    /// # Errors
    /// [`FlowError::File`] where the file cannot be read, two names become one, or numbers do not
    /// fit; with [`strict`](Import::strict) also [`FlowError::WeightsDiffer`]. Then nothing has
    /// changed.
    pub fn import(&mut self, path: impl AsRef<Path>, options: Import<'_>) -> Result<Imported> {
        let path = path.as_ref();
        let Import { mut rename, mut rescale, strict } = options;
        let bytes = bytes(path)?;
        let file = parse(path, &bytes)?;

        let mut theirs = BTreeMap::new();
        let mut names: Vec<_> = file.names();
        names.sort_unstable();
        for name in names {
            let renamed = match &mut rename {
                Some(rename) => rename(name),
                None => Some(name.to_string()),
            };
            let Some(renamed) = renamed else { continue };
            if let Some(other) = theirs.insert(renamed.clone(), name) {
                let reason = format!("`{other}` and `{name}` are both renamed to `{renamed}`");
                return Err(FlowError::file(path, reason));
            }
        }

        let mut report = Imported::default();
        let mut loaded = Vec::new();
        for entry in &self.layout().entries {
            let Some(name) = theirs.remove(&entry.name) else {
                report.missing.push(entry.name.clone());
                continue;
            };
            let found = |reason: String| FlowError::file(path, format!("`{name}` {reason}"));
            let view = file.tensor(name).map_err(|error| found(error.to_string()))?;
            if long_sides(view.shape()) != long_sides(&entry.shape) {
                let shapes = (view.shape().to_vec(), entry.shape.clone());
                report.other_shape.push((entry.name.clone(), shapes.0, shapes.1));
                continue;
            }
            let mut values = numbers(&view).map_err(found)?;
            if let Some(rescale) = &mut rescale {
                rescale(&entry.name, &mut values);
            }
            loaded.push((entry.clone(), narrowed(entry, &values).map_err(found)?));
            report.loaded.push(entry.name.clone());
        }
        report.left_over = theirs.into_keys().collect();
        loaded.extend(self.flags(&mut report));

        if strict && !report.is_complete() {
            return Err(FlowError::WeightsDiffer {
                path: path.into(),
                flow: A::NAME.into(),
                differences: report.differences(),
            });
        }
        self.replace(loaded)?;
        Ok(report)
    }

    /// The missing flags of blocks that got weights, set, and no longer missing.
    fn flags(&self, report: &mut Imported) -> Vec<(Entry, Vec<E>)> {
        let mut set = Vec::new();
        let Imported { loaded, missing, .. } = report;
        missing.retain(|name| {
            let Some(block) = name.strip_suffix("initialized") else { return true };
            let whole_word = block.is_empty() || block.ends_with('.');
            let weights = whole_word && loaded.iter().any(|other| other.starts_with(block));
            let entry = self.layout().find(name).filter(|_| weights);
            set.extend(entry.map(|entry| (entry.clone(), vec![E::one(); entry.range.len()])));
            entry.is_none()
        });
        set
    }
}

fn long_sides(shape: &[usize]) -> Vec<usize> {
    shape.iter().copied().filter(|&side| side != 1).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use safetensors::tensor::TensorView;
    use safetensors::Dtype;

    use super::*;
    use crate::io::testing::{folder, Tiny};
    use crate::Cpu;

    fn write(folder: &str, tensors: &[(&str, &[usize], &[f64])]) -> PathBuf {
        let path = super::super::testing::folder(folder).join("a.safetensors");
        let bytes: Vec<Vec<u8>> =
            tensors.iter().map(|t| t.2.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
        let views = tensors.iter().zip(&bytes).map(|(&(name, shape, _), bytes)| {
            (name, TensorView::new(Dtype::F64, shape.to_vec(), bytes).unwrap())
        });
        let file = safetensors::serialize(views, None).unwrap();
        std::fs::write(&path, file).unwrap();
        path
    }

    fn tiny() -> Flow<Tiny<3>, f32> {
        Flow::build(&Cpu::default(), 0).unwrap()
    }

    fn values(flow: &Flow<Tiny<3>, f32>, name: &str) -> Vec<f32> {
        let all = flow.parameters().chain(flow.buffers());
        all.into_iter().find(|tensor| tensor.name == name).unwrap().values.to_vec()
    }

    #[test]
    fn names_and_numbers_can_be_changed_on_the_way() {
        let path = write(
            "import-names",
            &[
                ("module.s", &[3, 1], &[1.0, 2.0, 3.0]),
                ("module.order", &[3], &[1.0, 2.0, 0.0]),
                ("optimizer.step", &[], &[7.0]),
                ("extra", &[2], &[0.0, 0.0]),
            ],
        );
        let mut flow = tiny();
        let options = Import::new()
            .rename(|name| match name {
                "module.s" => Some("0.log_scale".into()),
                "module.order" => Some("0.permutation".into()),
                "optimizer.step" => None,
                other => Some(other.into()),
            })
            .rescale(|name, values| {
                if name == "0.log_scale" {
                    values.iter_mut().for_each(|v| *v = v.ln());
                }
            });
        let report = flow.import(&path, options).unwrap();
        assert_eq!(report.loaded, ["0.log_scale", "0.permutation"]);
        assert_eq!(report.missing, ["0.offset"]);
        assert_eq!(report.left_over, ["extra"]);
        assert!(!report.is_complete());
        let want = "loaded 2 tensors\nmissing: `0.offset`\nleft over: `extra`";
        assert_eq!(report.to_string(), want);
        assert_eq!(values(&flow, "0.log_scale"), [0.0, 2f32.ln(), 3f32.ln()]);
        assert_eq!(values(&flow, "0.permutation"), [1.0, 2.0, 0.0]);
        assert_eq!(values(&flow, "0.offset"), [0.1; 3]);
        assert_eq!(values(&flow, "0.initialized"), [1.0], "trained weights need no first batch");
    }

    #[test]
    fn a_block_that_gets_no_weights_stays_uninitialised() {
        let path = write("import-none", &[("else", &[1], &[0.0])]);
        let mut flow = tiny();
        let report = flow.import(&path, Import::new()).unwrap();
        assert!(report.missing.contains(&"0.initialized".to_string()), "{report}");
        assert_eq!(values(&flow, "0.initialized"), [0.0]);

        let path = write(
            "import-flag",
            &[("0.initialized", &[1], &[0.0]), ("0.log_scale", &[3], &[0.0; 3])],
        );
        flow.import(&path, Import::new()).unwrap();
        assert_eq!(values(&flow, "0.initialized"), [0.0], "the file's own flag counts");
    }

    #[test]
    fn strict_changes_nothing_unless_all_fits() {
        let tensors: [(&str, &[usize], &[f64]); 3] = [
            ("0.log_scale", &[3], &[7.0; 3]),
            ("0.permutation", &[3], &[0.0, 1.0, 2.0]),
            ("0.offset", &[4], &[0.0; 4]),
        ];
        let path = write("import-strict", &tensors);
        let mut flow = tiny();
        let before = values(&flow, "0.log_scale");
        let error = flow.import(&path, Import::new().strict()).unwrap_err();
        let want = "other shape: `0.offset` is [4] in the file, [1, 3] in the flow";
        assert!(
            error.to_string().ends_with(&format!("the weights do not fit Tiny\n{want}")),
            "{error}"
        );
        assert_eq!(values(&flow, "0.log_scale"), before);

        let mut tensors = tensors;
        tensors[2] = ("0.offset", &[3], &[0.5; 3]);
        let path = write("import-strict", &tensors);
        assert!(flow.import(&path, Import::new().strict()).unwrap().is_complete());
        assert_eq!(values(&flow, "0.offset"), [0.5; 3]);
    }

    #[test]
    fn numbers_that_do_not_fit_are_errors() {
        let mut flow = tiny();
        for (tensor, want) in [
            (
                ("0.permutation", &[3usize][..], &[0.5, 1.0, 2.0][..]),
                "`0.permutation` holds 0.5, expected integers",
            ),
            (
                ("0.log_scale", &[3], &[0.0, -1e39, 0.0]),
                "`0.log_scale` holds -1e39, beyond the range of f32",
            ),
        ] {
            let path = write("import-numbers", &[("0.offset", &[3], &[9.0; 3]), tensor]);
            assert_eq!(flow.import(&path, Import::new()), Err(FlowError::file(path, want)));
            assert_eq!(values(&flow, "0.offset"), [0.1; 3]);
        }
        let path = write("import-numbers", &[("a", &[3], &[9.0; 3]), ("b", &[3], &[9.0; 3])]);
        let options = Import::new().rename(|_| Some("0.offset".into()));
        let want = FlowError::file(&path, "`a` and `b` are both renamed to `0.offset`");
        assert_eq!(flow.import(&path, options), Err(want));
        let path = folder("import-foreign").join("a");
        std::fs::write(&path, b"weights").unwrap();
        assert!(matches!(flow.import(&path, Import::new()), Err(FlowError::File { .. })));
    }
}
