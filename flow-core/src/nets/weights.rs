//! The weight matrices of a net as its layers use them.

use std::borrow::Cow;

use super::NetOptions;
use crate::engine::{Builder, Derived, Parameter, Pass, Source, Start, State, Turned, Values};
use crate::lipschitz::limit::{Limit, Part};
use crate::lipschitz::norm::Map;
use crate::lipschitz::Slopes;
use crate::{Result, Scalar};

/// The weights of a net, from the numbers that are trained to the matrices that its layers multiply
/// with: masked and sorted, weight-normalised, brought from PyTorch's order of a kernel to that of the
/// patches, and scaled down where the net must keep a Lipschitz constant.
///
/// The chain is `parameter → shaped → scaled`, and a link that would change nothing is left out.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    options: NetOptions,
    list: Vec<Weight>,
    limit: Option<Limit>,
}

/// From so many rows and columns on, `gemm` copies the transpose of a matrix.
const WIDE: usize = 8;

/// A weight of which not every entry counts.
pub(crate) struct Mask<'a> {
    /// Whether the entry of `(output, input)` counts.
    pub(crate) kept: &'a dyn Fn(usize, usize) -> bool,
    /// The row of the matrix that each output has.
    pub(crate) rows: Vec<usize>,
    /// The column of the matrix that each input has.
    pub(crate) columns: Vec<usize>,
}

/// Which entries of a parameter count, and where its rows and columns stand in the matrix.
#[derive(Clone, Debug)]
struct Masked {
    kept: Vec<bool>,
    rows: Vec<usize>,
    columns: Vec<usize>,
    /// Each entry that counts and its place in the matrix, in the order of entries.
    list: Vec<(u32, u32)>,
}

/// One matrix `[outputs, kernel·kernel·inputs]`.
#[derive(Clone, Debug)]
struct Weight {
    /// `[outputs, inputs]` or `[outputs, inputs, kernel, kernel]`; the directions where the weight
    /// is normalised.
    parameter: Parameter,
    /// The length of each row, where the weight is normalised (Salimans and Kingma 2016, "Weight
    /// normalization", equation 2).
    length: Option<Parameter>,
    mask: Option<Masked>,
    map: Map,
    shaped: Option<Derived>,
    turned: Option<Turned>,
}

impl Weights {
    pub(crate) fn new(options: NetOptions) -> Self {
        Self { options, list: Vec::new(), limit: None }
    }

    /// Adds the weight of a layer under the open path, and returns its index. `start` gives the
    /// limit of a uniform start for each row, 0 where a row starts at zero.
    pub(crate) fn add<E: Scalar>(
        &mut self,
        builder: &mut Builder<E>,
        map: Map,
        start: impl Fn(usize) -> f64,
        mask: Option<Mask<'_>>,
    ) -> usize {
        let Map { outputs, inputs, window, image } = map;
        let taps = window.taps();
        let shape = match (image, window.kernel) {
            (false, _) => vec![outputs, inputs],
            (true, kernel) => vec![outputs, inputs, kernel, kernel],
        };
        let columns = inputs * taps;
        let normalised = self.options.weight_norm;
        let name = if normalised { "weight_v" } else { "weight" };
        let noise = builder.noise(name);
        let fan_in = 1.0 / (columns.max(1) as f64).sqrt();
        let numbers: Vec<E> = (0..outputs * columns)
            .map(|i| {
                // A direction needs a length: a row that starts at zero does so by its length.
                let limit = if normalised { fan_in } else { start(i / columns) };
                E::of((2.0 * noise.uniform(i as u64) - 1.0) * limit)
            })
            .collect();
        let mask = mask.map(|mask| {
            let entry = |i: usize| (mask.kept)(i / columns, i % columns);
            let kept: Vec<bool> = (0..outputs * columns).map(entry).collect();
            let Mask { rows, columns: places, .. } = mask;
            let small = |v: usize| u32::try_from(v).expect("a weight of less than 2³² numbers");
            let counting = kept.iter().enumerate().filter(|(_, &kept)| kept).map(|(i, _)| i);
            let place = |i: usize| rows[i / columns] * columns + places[i % columns];
            let list = counting.map(|i| (small(i), small(place(i)))).collect();
            Masked { kept, rows, columns: places, list }
        });
        let length = normalised.then(|| {
            let lengths = (0..outputs).map(|row| {
                let at = row * columns..(row + 1) * columns;
                let kept = |i: &usize| mask.as_ref().is_none_or(|mask| mask.kept[*i]);
                let squares = at.filter(kept).map(|i| numbers[i].as_f64().powi(2)).sum::<f64>();
                E::of(if start(row) == 0.0 { 0.0 } else { squares.sqrt() })
            });
            let lengths = Start::Values(lengths.collect());
            builder.parameter("weight_g", &[outputs], lengths)
        });
        let parameter = builder.parameter(name, &shape, Start::Values(numbers));
        let shaped =
            (normalised || mask.is_some() || taps > 1).then(|| builder.derived(parameter.len()));
        self.list.push(Weight { parameter, length, mask, map, shaped, turned: None });
        self.list.len() - 1
    }

    /// Limits the net's Lipschitz constant where the options ask for it: `parts` tell how it comes
    /// from the norms of the weights.
    pub(crate) fn limit<E: Scalar>(
        &mut self,
        builder: &mut Builder<E>,
        parts: Vec<Part>,
    ) -> Result<()> {
        if let Some(constant) = self.options.lipschitz {
            let maps = self.list.iter().map(|weight| weight.map).collect();
            self.limit = Some(Limit::new(builder, constant, parts, maps)?);
        }
        Ok(())
    }

    /// Has the engine keep the transposes of the matrices that are used. A narrow one is multiplied
    /// with as it lies.
    pub(crate) fn keep_turned<E: Scalar>(&mut self, builder: &mut Builder<E>) {
        for index in 0..self.list.len() {
            let (source, weight) = (self.source(index), &mut self.list[index]);
            let Map { outputs, inputs, window, .. } = weight.map;
            let scatters = weight.map.scatters();
            if scatters || (outputs >= WIDE && weight.columns() >= WIDE) {
                let sizes = if scatters {
                    [outputs, window.taps(), inputs]
                } else {
                    [outputs, 1, weight.columns()]
                };
                weight.turned = Some(builder.turned(source, sizes));
            }
        }
    }

    /// The transpose of [`used`](Self::used), where it is kept: `[taps·inputs, outputs]`, or
    /// `[inputs, taps·outputs]` with the last tap first where the layer [scatters](Map::scatters).
    pub(crate) fn turned<'a, E: Scalar>(
        &self,
        state: &'a State<E>,
        index: usize,
    ) -> Option<Cow<'a, [E]>> {
        let turned = self.list[index].turned.as_ref()?;
        Some(match turned.of(state) {
            Some(numbers) => Cow::Borrowed(numbers),
            None => {
                let matrix = self.used(state, index);
                let mut numbers = vec![E::zero(); matrix.len()];
                turned.write(matrix, &mut numbers);
                Cow::Owned(numbers)
            }
        })
    }

    /// Where a weight lies as its layer uses it.
    fn source(&self, index: usize) -> Source {
        match (&self.limit, &self.list[index].shaped) {
            (Some(limit), _) => Source::Derived(limit.scaled(index).clone()),
            (None, Some(shaped)) => Source::Derived(shaped.clone()),
            (None, None) => Source::Parameter(self.list[index].parameter.clone()),
        }
    }

    /// The constant that is kept, infinite where none is.
    pub(crate) fn lipschitz(&self) -> f64 {
        self.limit.as_ref().map_or(f64::INFINITY, Limit::constant)
    }

    /// A weight as its layer uses it.
    pub(crate) fn used<'a, E: Scalar>(&self, state: &'a State<E>, index: usize) -> &'a [E] {
        self.source(index).of(&state.values, &state.derived)
    }

    /// At most by what share of themselves the entries that are used may be off from those that the
    /// parameters define: normalised in f64 and then rounded; scaled by a factor that comes from
    /// rounded entries, and is kept a little smaller for that.
    pub(crate) fn rounding<E: Scalar>(&self, index: usize) -> f64 {
        let (weight, unit) = (&self.list[index], E::epsilon().as_f64());
        let lengths = (weight.columns() + 8) as f64 * f64::EPSILON;
        let normalised = if weight.length.is_some() { unit + lengths } else { 0.0 };
        let spread = self.list.iter().map(|w| w.map.spread()).fold(0.0, f64::max);
        let limited = (8.0 + 3.0 * spread) * (unit + lengths);
        normalised + if self.limit.is_some() { limited } else { 0.0 }
    }

    /// Where the gradient by that is added.
    pub(crate) fn gradient<'p, E: Scalar>(
        &self,
        pass: &'p mut Pass<'_, E>,
        index: usize,
    ) -> &'p mut [E] {
        match (&self.limit, &self.list[index].shaped) {
            (Some(limit), _) => pass.derived_gradient(limit.scaled(index)),
            (None, Some(shaped)) => pass.derived_gradient(shaped),
            (None, None) => pass.gradient(&self.list[index].parameter),
        }
    }

    /// Where its part in the gradient of a bound is added.
    pub(crate) fn slopes<'s, E: Scalar>(
        &self,
        slopes: &'s mut Slopes<E>,
        index: usize,
    ) -> &'s mut [E] {
        match (&self.limit, &self.list[index].shaped) {
            (Some(limit), _) => slopes.derived(limit.scaled(index)),
            (None, Some(shaped)) => slopes.derived(shaped),
            (None, None) => slopes.parameter(&self.list[index].parameter),
        }
    }

    pub(crate) fn prepare<E: Scalar>(&self, values: &Values<E>, derived: &mut [E]) {
        for weight in &self.list {
            weight.shape(values, derived);
        }
        if let Some(limit) = &self.limit {
            let shaped: Vec<Vec<E>> = self.list.iter().map(|w| w.read(values, derived)).collect();
            limit.prepare(&shaped, derived);
        }
    }

    pub(crate) fn finish<E: Scalar>(
        &self,
        state: &State<E>,
        derived_gradient: &[E],
        gradient: &mut [E],
    ) {
        let limited = self.limit.as_ref().map(|limit| {
            let read = |w: &Weight| w.read(&state.values, &state.derived);
            let shaped: Vec<Vec<E>> = self.list.iter().map(read).collect();
            limit.finish(&shaped, state, derived_gradient)
        });
        for (i, weight) in self.list.iter().enumerate() {
            match (&limited, &weight.shaped) {
                (Some(by_shaped), _) => weight.finish(&state.values, &by_shaped[i], gradient),
                (None, Some(shaped)) => {
                    weight.finish(&state.values, shaped.of(derived_gradient), gradient);
                }
                (None, None) => {}
            }
        }
    }
}

impl Weight {
    /// The matrix before it is scaled.
    fn read<E: Scalar>(&self, values: &Values<E>, derived: &[E]) -> Vec<E> {
        match &self.shaped {
            Some(shaped) => shaped.of(derived).to_vec(),
            None => values.parameter(&self.parameter).to_vec(),
        }
    }

    /// Numbers of an output.
    fn columns(&self) -> usize {
        self.map.inputs * self.map.window.taps()
    }

    /// Where an entry of the parameter stands in the matrix: kernels are `[inputs, taps]` in the
    /// parameter and `[taps, inputs]` in a row. No kernel has a mask.
    fn place(&self, row: usize, column: usize) -> usize {
        let (inputs, taps, columns) = (self.map.inputs, self.map.window.taps(), self.columns());
        match &self.mask {
            Some(mask) => mask.rows[row] * columns + mask.columns[column],
            None => row * columns + column % taps * inputs + column / taps,
        }
    }

    fn kept(&self, entry: usize) -> bool {
        self.mask.as_ref().is_none_or(|mask| mask.kept[entry])
    }

    /// The norm of what counts of a row, relative to its largest entry, so that no square over- or
    /// underflows.
    fn norm<E: Scalar>(&self, values: &Values<E>, row: usize) -> f64 {
        let columns = self.columns();
        let numbers = values.parameter(&self.parameter);
        let kept = (row * columns..(row + 1) * columns).filter(|&i| self.kept(i));
        let kept = kept.map(|i| numbers[i].as_f64());
        let largest =
            kept.clone().fold(0.0, |most: f64, v| if v.abs() <= most { most } else { v.abs() });
        if largest == 0.0 {
            // A row without a direction is zero, whatever its length.
            return E::min_positive_value().as_f64();
        }
        largest * kept.map(|v| (v / largest) * (v / largest)).sum::<f64>().sqrt()
    }

    fn shape<E: Scalar>(&self, values: &Values<E>, derived: &mut [E]) {
        let Some(shaped) = &self.shaped else { return };
        let columns = self.columns();
        let out = shaped.of_mut(derived);
        let numbers = values.parameter(&self.parameter);
        if let (Some(mask), None) = (&self.mask, &self.length) {
            // What does not count has been zero from the start.
            return mask.list.iter().for_each(|&(i, at)| out[at as usize] = numbers[i as usize]);
        }
        for row in 0..self.map.outputs {
            let length = self
                .length
                .as_ref()
                .map(|length| (values.parameter(length)[row].as_f64(), self.norm(values, row)));
            for column in 0..columns {
                let i = row * columns + column;
                out[self.place(row, column)] = match length {
                    _ if !self.kept(i) => E::zero(),
                    Some((length, norm)) => E::of(length * (numbers[i].as_f64() / norm)),
                    None => numbers[i],
                };
            }
        }
    }

    /// Carries the gradient by the matrix on to the parameters. With `W = g·v/‖v‖` that by `g` is
    /// `⟨G, v⟩/‖v‖`, and that by `v` is `g/‖v‖·(G − v·⟨G, v⟩/‖v‖²)`.
    fn finish<E: Scalar>(&self, values: &Values<E>, by_matrix: &[E], gradient: &mut [E]) {
        let columns = self.columns();
        let numbers = values.parameter(&self.parameter);
        if let (Some(mask), None) = (&self.mask, &self.length) {
            let by_parameter = self.parameter.of_mut(gradient);
            let all = mask.list.iter();
            return all.for_each(|&(i, at)| by_parameter[i as usize] += by_matrix[at as usize]);
        }
        for row in 0..self.map.outputs {
            let start = row * columns;
            let entries = (0..columns).filter(|column| self.kept(start + column));
            let (mut stretch, mut along) = (E::one(), E::zero());
            if let Some(length) = &self.length {
                let norm = E::of(self.norm(values, row));
                stretch = values.parameter(length)[row] / norm;
                let product =
                    entries.clone().map(|i| by_matrix[self.place(row, i)] * numbers[start + i]);
                let by_length = product.sum::<E>() / norm;
                length.of_mut(gradient)[row] += by_length;
                along = by_length / norm;
            }
            let by_parameter = self.parameter.of_mut(gradient);
            for i in entries {
                let by_entry = by_matrix[self.place(row, i)] - along * numbers[start + i];
                by_parameter[start + i] += stretch * by_entry;
            }
        }
    }
}

#[cfg(feature = "cuda")]
#[path = "weights_lowering.rs"]
mod lowering;
