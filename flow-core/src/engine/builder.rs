//! Collects the parameters of a flow while its blocks are made.

use super::layout::{Buffer, BufferKind, Derived, Entry, Layout, Parameter, Role};
use super::state::{State, Values};
use super::turned::{Source, Turned};
use crate::{Block, Noise, Result, Scalar};

/// How a parameter starts.
pub enum Start<E> {
    /// All the same.
    Constant(f64),
    /// Uniform on (−limit, limit).
    Uniform(f64),
    /// Standard normal.
    Normal,
    /// These numbers, as many as the shape holds.
    Values(Vec<E>),
}

/// Hands out places for parameters, buffers and derived values, and starts them.
///
/// A block's constructor takes one. Names stand under the path of [`scope`](Self::scope)s that is
/// open; starting values are drawn from a stream of that name, so a block's start does not depend
/// on what stands before it.
pub struct Builder<E> {
    path: Vec<String>,
    noise: Noise,
    layout: Layout,
    parameters: Vec<E>,
    buffers: Vec<E>,
    derived: usize,
}

impl<E: Scalar> Builder<E> {
    /// A builder whose starting weights are those of `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            path: Vec::new(),
            noise: Noise::seed(seed),
            layout: Layout::default(),
            parameters: Vec::new(),
            buffers: Vec::new(),
            derived: 0,
        }
    }

    /// Makes a block under a path one longer.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn block<T: Block<E>>(
        &mut self,
        name: impl ToString,
        make: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let leaf = self.layout.leaves.len();
        let (path, made) = self.scope(name, |b| (b.path(), make(b)));
        let made = made?;
        if !T::COMPOSITE {
            self.layout.leaves.truncate(leaf);
            self.layout.leaves.push(path);
        }
        Ok(made)
    }

    /// Runs `make` under a path one longer, for parts of a block such as its net.
    pub fn scope<R>(&mut self, name: impl ToString, make: impl FnOnce(&mut Self) -> R) -> R {
        self.path.push(name.to_string());
        let made = make(self);
        self.path.pop();
        made
    }

    /// The path that is open: `steps.3.0`.
    pub fn path(&self) -> String {
        self.path.join(".")
    }

    /// The stream of starting weights under the open path.
    pub fn noise(&self, name: &str) -> Noise {
        self.noise.named(&self.full_name(name))
    }

    /// A trained tensor.
    ///
    /// # Panics
    /// Where `start` holds another number of values than `shape`: a bug of the block.
    pub fn parameter(&mut self, name: &str, shape: &[usize], start: Start<E>) -> Parameter {
        let len = shape.iter().product();
        let noise = self.noise(name);
        let begin = self.parameters.len();
        match start {
            Start::Constant(value) => {
                self.parameters.extend(std::iter::repeat_n(E::of(value), len));
            }
            Start::Uniform(limit) => self
                .parameters
                .extend((0..len).map(|i| E::of((2.0 * noise.uniform(i as u64) - 1.0) * limit))),
            Start::Normal => {
                self.parameters.extend((0..len).map(|i| E::of(noise.normal(i as u64))));
            }
            Start::Values(values) => {
                assert_eq!(values.len(), len, "starting values of {}", self.full_name(name));
                self.parameters.extend(values);
            }
        }
        let range = begin..begin + len;
        self.enter(name, shape, Role::Parameter, range.clone());
        Parameter(range)
    }

    /// A tensor that is saved with the weights but not trained.
    ///
    /// # Panics
    /// Where `start` gives another number of values than the shape holds: a bug of the block.
    pub fn buffer(
        &mut self,
        name: &str,
        shape: &[usize],
        kind: BufferKind,
        start: impl IntoIterator<Item = E>,
    ) -> Buffer {
        let begin = self.buffers.len();
        self.buffers.extend(start);
        let range = begin..self.buffers.len();
        assert_eq!(
            range.len(),
            shape.iter().product::<usize>(),
            "start of {}",
            self.full_name(name)
        );
        self.enter(name, shape, Role::Buffer(kind), range.clone());
        Buffer(range)
    }

    /// Room for `len` numbers that [`Block::prepare`] computes from the weights.
    pub fn derived(&mut self, len: usize) -> Derived {
        let begin = self.derived;
        self.derived += len;
        Derived(begin..self.derived)
    }

    /// Room for the transpose of a matrix `[rows, taps, columns]`, which is kept up to date.
    pub(crate) fn turned(&mut self, source: Source, sizes: [usize; 3]) -> Turned {
        let start = self.layout.turned.last().map_or(0, Turned::end);
        let turned = Turned::new(source, sizes, start);
        self.layout.turned.push(turned.clone());
        turned
    }

    pub(crate) fn finish(self) -> (Layout, State<E>) {
        let values = Values { parameters: self.parameters, buffers: self.buffers };
        let derived = vec![E::zero(); self.derived];
        (self.layout, State { values, derived, turned: Vec::new(), version: 0 })
    }

    fn enter(&mut self, name: &str, shape: &[usize], role: Role, range: std::ops::Range<usize>) {
        let name = self.full_name(name);
        self.layout.entries.push(Entry { name, shape: shape.to_vec(), role, range });
    }

    fn full_name(&self, name: &str) -> String {
        self.path.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".")
    }
}
