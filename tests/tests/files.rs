//! Weights in files: of the same flow, of others, of other programs.

use std::fs;
use std::path::PathBuf;

use dfdx::prelude::{Const, Cpu, Tensor, TensorFromVec};
use flow_core::io::{read_table, Import};
use flow_core::prelude::*;
use flow_core::train::evaluate;

flow! {
    struct Model: Vector<5> {
        standardize;
        'first: actnorm;
        'steps: repeat 2 {
            permute(shuffle(3));
            linear(lu);
            spline_coupling(bins = 5, net = mlp([8], relu, zero_init = false));
            affine_coupling(net = mlp([8], tanh, zero_init = false));
        }
    }

    /// The same blocks under another name.
    struct Renamed: Vector<5> {
        standardize;
        'first: actnorm;
        'steps: repeat 2 {
            permute(shuffle(3));
            linear(lu);
            spline_coupling(bins = 5, net = mlp([8], relu, zero_init = false));
            affine_coupling(net = mlp([8], tanh, zero_init = false));
        }
    }

    /// Another bound changes no shape, but what the weights mean.
    struct Wider: Vector<5> {
        standardize;
        'first: actnorm;
        'steps: repeat 2 {
            permute(shuffle(3));
            linear(lu);
            spline_coupling(bins = 5, bound = 4.0, net = mlp([8], relu, zero_init = false));
            affine_coupling(net = mlp([8], tanh, zero_init = false));
        }
    }

    #[base(mixture(2))]
    struct Mixed: Vector<5> {
        standardize;
        'first: actnorm;
    }
}

type Batch<E> = Tensor<(usize, Const<5>), E, Cpu>;

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("files").join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn batch<E: Scalar>(rows: usize) -> Batch<E> {
    let mut x = vec![E::zero(); rows * 5];
    Noise::seed(2).fill_normal(0, &mut x);
    x.iter_mut().for_each(|v| *v = E::of(3.0) * *v + E::one());
    Cpu::default().tensor_from_vec(x, (rows, Const))
}

fn model<E: Scalar>(seed: u64) -> Model<E> {
    let mut model = Model::<E>::build(&Cpu::default(), seed).unwrap();
    model.initialize(batch(50)).unwrap();
    model
}

fn weights<A: flow_core::Architecture<E>, E: Scalar>(flow: &Flow<A, E>) -> Vec<(String, Vec<E>)> {
    let all = flow.parameters().chain(flow.buffers());
    all.map(|tensor| (tensor.name.to_string(), tensor.values.to_vec())).collect()
}

fn round_trip<E: Scalar>() {
    let path = folder(E::NAME).join("model.safetensors");
    let saved = model::<E>(1);
    saved.save(&path).unwrap();
    let loaded = Model::<E>::load(&Cpu::default(), &path).unwrap();
    assert_eq!(weights(&loaded), weights(&saved));
    // `standardize` and the flag of `actnorm` came along, so this needs no initialisation.
    let log_prob = |flow: &Model<E>| flow.log_prob(batch(7)).unwrap().as_vec();
    assert_eq!(log_prob(&loaded), log_prob(&saved));

    // A file's permutation counts, not the one that was drawn when the flow was built.
    let mut other = Model::<E>::build(&Cpu::default(), 9).unwrap();
    let reversed = [4.0, 3.0, 2.0, 1.0, 0.0].map(E::of);
    other.set("steps.0.0.permutation", &reversed).unwrap();
    other.load_weights(&path).unwrap();
    assert_eq!(weights(&other), weights(&saved));
}

#[test]
fn weights_come_back_bit_by_bit() {
    round_trip::<f32>();
    round_trip::<f64>();
}

#[test]
fn a_flow_may_be_renamed_but_not_changed() {
    let path = folder("others").join("model.safetensors");
    model::<f32>(1).save(&path).unwrap();
    let cpu = Cpu::default();
    let renamed = Renamed::<f32>::load(&cpu, &path).unwrap();
    assert_eq!(weights(&renamed), weights(&model::<f32>(1)));

    let error = Wider::<f32>::load(&cpu, &path).err().unwrap().to_string();
    for line in [
        "the weights do not fit Wider",
        "the file is of Model, architecture ",
        "only in the file: steps.*.2: ",
        "only in the flow: steps.*.2: ",
    ] {
        assert!(error.contains(line), "{error}");
    }
    assert!(!error.contains("missing") && !error.contains("left over"), "{error}");

    let error = Mixed::<f32>::load(&cpu, &path).err().unwrap().to_string();
    for line in [
        "missing: `base.means` [2, 5]",
        "left over: `steps.1.2.net.0.weight` [8, 2]",
        "only in the file: steps.*.1: ",
    ] {
        assert!(error.contains(line), "{error}");
    }
}

#[test]
fn the_fingerprint_is_the_same_on_every_machine() {
    let (single, double) = (model::<f32>(1), model::<f64>(2));
    assert_eq!(single.fingerprint(), double.fingerprint());
    // Weights that were saved by an earlier version must still be read by this one.
    assert_eq!(single.fingerprint(), "8297108efdcf6ea292049e46c820dc3c");
}

#[test]
fn a_damaged_file_leaves_the_weights() {
    let path = folder("damaged").join("model.safetensors");
    model::<f32>(1).save(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    let mut other = model::<f32>(2);
    let before = weights(&other);
    for length in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = other.load_weights(&path).unwrap_err();
        let named = matches!(&error, FlowError::File { path: at, .. } if *at == path);
        assert!(named, "{length} bytes: {error}");
    }
    // A permutation that is none.
    let mut bytes = whole.clone();
    let integers = safetensors::SafeTensors::deserialize(&whole).unwrap();
    let data = integers.tensor("steps.1.0.permutation").unwrap().data().to_vec();
    let at = bytes.windows(data.len()).position(|part| part == data).unwrap();
    bytes[at..at + 8].copy_from_slice(&data[8..16]);
    fs::write(&path, &bytes).unwrap();
    let error = other.load_weights(&path).unwrap_err().to_string();
    assert!(error.contains("steps.1.0"), "{error}");
    // One that points outside.
    bytes[at..at + 8].copy_from_slice(&77i64.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    other.load_weights(&path).unwrap_err();
    assert_eq!(weights(&other), before);
}

#[test]
fn weights_of_another_program_are_imported_by_name() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/actnorm_vector.safetensors");
    let mut flow = Golden::<f64>::build(&Cpu::default(), 0).unwrap();
    let report = flow.import(golden, Import::new()).unwrap();
    assert_eq!(report.loaded, ["0.log_scale", "0.shift"]);
    assert!(report.missing.is_empty(), "{report}");
    assert!(report.left_over.contains(&"input.x".to_string()), "{report}");
    // Initialised by the import.
    flow.log_prob(batch(3)).unwrap();

    let own = |name: &str| name.starts_with(char::is_numeric).then(|| name.to_string());
    flow.import(golden, Import::new().rename(own).strict()).unwrap();

    let mut conditioned = model::<f32>(1);
    let before = weights(&conditioned);
    let error = conditioned.import(golden, Import::new().strict()).unwrap_err();
    assert!(matches!(error, FlowError::WeightsDiffer { .. }), "{error}");
    assert_eq!(weights(&conditioned), before);
}

flow! {
    struct Golden: Vector<5> {
        actnorm;
    }
}

#[test]
fn a_table_becomes_rows_of_a_flow() {
    let path = folder("table").join("data.csv");
    let lines = (0..40).map(|i| format!("{i},{},1e-2,{},{}\n", i * i, i % 7, -i));
    fs::write(&path, String::from("a,b,c,d,e\n") + &lines.collect::<String>()).unwrap();
    let rows: Rows<f32> = read_table(&path).unwrap().to_rows().unwrap();
    assert_eq!((rows.len(), rows.width()), (40, 5));
    assert!(evaluate(&model::<f32>(1), &rows).unwrap().mean.is_finite());

    fs::write(&path, "a\n1e300\n").unwrap();
    let error = read_table(&path).unwrap().to_rows::<f32>().unwrap_err().to_string();
    assert!(error.starts_with("column `a` of row 0 is 1e300, expected a number of f32"), "{error}");
}

#[test]
fn a_summary_says_what_the_blocks_are() {
    let summary = model::<f32>(1).summary();
    let lines: Vec<&str> = summary.lines().collect();
    assert_eq!(lines[0], "Model: Vector<5>, normal base, f32");
    let row = |start: &str| {
        let line = lines.iter().find(|line| line.starts_with(start)).unwrap();
        line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect::<Vec<_>>()
    };
    assert_eq!(row("first"), ["first", "actnorm", "Vector<5>", "10", "constant", "∞", "∞"]);
    let permute = ["steps.*.0", "permute(shuffle(3)) × 2", "Vector<5>", "0", "0", "1", "1"];
    assert_eq!(row("steps.*.0"), permute);
    assert_eq!(model::<f32>(1).parameter_count(), 1060);
    assert_eq!(row("total")[2], "1,060");
}

#[test]
fn the_total_bound_of_levels_counts_what_leaves_first() {
    flow! {
        struct Levels: Vector<4> { multiscale 2 { scale(0.5); } }
    }
    let summary = Levels::<f32>::build(&Cpu::default(), 0).unwrap().summary();
    let total = summary.lines().find(|line| line.starts_with("total")).unwrap();
    let bounds: Vec<&str> = total.split_whitespace().rev().take(2).collect();
    // Half of the row is halved once, the other half twice.
    assert_eq!(bounds, ["4", "0.5"], "{summary}");
}
