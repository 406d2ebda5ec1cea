//! Files that were cut, or whose bytes were changed: each is read or refused, and no reader panics.

use std::fs;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use dfdx::prelude::{Const, Cpu, Tensor, TensorFromVec};
use flow_core::io::{read_table, write_table, Import, Table};
use flow_core::prelude::*;
use flow_core::stability::Report;

flow! {
    /// Whatever a file can hold: buffers of integers and of flags, weights that are factored.
    struct Small: Vector<3> {
        standardize;
        actnorm;
        permute(shuffle(1));
        linear(lu);
        linear(dense);
        affine_coupling(net = mlp([2], relu));
        residual(lipschitz = 0.5, net = mlp([2], elu));
    }
}

fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("damaged");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn numbers<E: Scalar>() -> Vec<E> {
    let mut numbers = vec![E::zero(); 8 * 3];
    Noise::seed(4).fill_normal(0, &mut numbers);
    numbers
}

fn rows<E: Scalar>() -> Rows<E> {
    Rows::new(numbers(), 3).unwrap()
}

fn batch() -> Tensor<(usize, Const<3>), f32, Cpu> {
    Cpu::default().tensor_from_vec(numbers(), (8, Const))
}

fn small() -> Small<f32> {
    let mut flow = Small::<f32>::build(&Cpu::default(), 0).unwrap();
    flow.initialize(batch()).unwrap();
    flow
}

/// The bytes with each one in turn damaged, in one of eleven ways: replaced, cut off, left out, doubled.
fn damages(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> + '_ {
    (0..bytes.len()).map(move |at| {
        let (before, after) = (&bytes[..at], &bytes[at + 1..]);
        let with = |middle: &[u8]| [before, middle, after].concat();
        let byte = bytes[at];
        let damaged = match at % 11 {
            0 => before.to_vec(),
            1 => with(&[]),
            2 => with(&[byte, byte]),
            3 => with(&[byte ^ 1]),
            4 => with(&[byte ^ 128]),
            5 => with(&[0]),
            6 => with(&[255]),
            7 => with(b"9"),
            8 => with(b"-"),
            9 => with(b"e"),
            _ => with(b"\""),
        };
        (at, damaged)
    })
}

/// Reads each damaged file and counts those that are refused. Errors must have words.
fn damage(path: &Path, mut read: impl FnMut(&Path) -> Result<(), FlowError>) {
    let bytes = fs::read(path).unwrap();
    read(path).expect("the whole file");
    let damaged =
        path.with_file_name(format!("damaged-{}", path.file_name().unwrap().to_str().unwrap()));
    let (mut refused, mut panics) = (0, Vec::new());
    for (at, other) in damages(&bytes) {
        fs::write(&damaged, &other).unwrap();
        match catch_unwind(AssertUnwindSafe(|| read(&damaged))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                refused += 1;
                assert!(error.to_string().len() > 20, "{error}");
            }
            Err(_) => panics.push(at),
        }
    }
    assert!(panics.is_empty(), "{}: panics where bytes {panics:?} are damaged", path.display());
    assert!(refused > bytes.len() / 10, "{}: only {refused} refused", path.display());
}

#[test]
fn weights() {
    let path = folder().join("small.safetensors");
    small().save(&path).unwrap();
    let mut flow = small();
    let x = batch();
    damage(&path, |path| {
        flow.load_weights(path)?;
        // Weights that were taken can be run, whatever they are.
        let _ = flow.log_prob(x.clone());
        Ok(())
    });
    let mut flow = small();
    damage(&path, |path| flow.import(path, Import::new()).map(drop));
}

#[test]
fn checkpoints() {
    let path = folder().join("run.safetensors");
    let trainer = |path: &Path| {
        Trainer::new(Adam::new(1e-3)).steps(3).batch_size(4).average(0.9).silent().checkpoint(path)
    };
    trainer(&path).fit(&mut small(), &rows()).unwrap();
    let flow = small();
    damage(&path, |path| trainer(path).steps(4).resume().fit(&mut flow.clone(), &rows()).map(drop));
}

#[test]
fn tables() {
    let table = Table::new(["a", "b"], vec![1.5, -2.0, 3.25e10, 4.0]).unwrap();
    for name in ["table.csv", "table.npy"] {
        let path = folder().join(name);
        write_table(&path, &table).unwrap();
        damage(&path, |path| read_table(path).map(drop));
    }
}

#[test]
fn reports() {
    let report = flow_core::stability::report(&small(), &rows()).unwrap();
    let path = folder().join("report.json");
    fs::write(&path, report.to_json().unwrap()).unwrap();
    damage(&path, |path| {
        let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let report = Report::from_json(&text)?;
        let _ = report.to_string();
        Ok(())
    });
}
