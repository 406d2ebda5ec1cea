//! Rational-quadratic splines, one for each number, side by side.

use pulp::{Arch, Simd, WithSimd};

use crate::spline_lines::{keep, take, Line, Lines};
use crate::{Element, LANES};

/// Monotone rational-quadratic splines on [−bound, bound], and the identity outside (Durkan et al.
/// 2019, "Neural Spline Flows", eq. 4 to 8).
///
/// Each has `bins` logits of widths, `bins` of heights and those of the `bins − 1` inner slopes. A width is
/// `2·bound·(least + (1 − bins·least)·softmax)`, and so is a height; an inner slope is
/// `least + ln(1 + e^v)`, and both at the ends are 1.
///
/// [`forward`](Self::forward) and [`inverse`](Self::inverse) leave in `parameters` what the products
/// start from, on buffers of the same length: shares instead of logits, and those of 16 splines in turns.
///
/// `ln f'` is within a few roundings of its terms, all else within those of a knot, a sum of sizes.
///
/// ```
/// let splines = flow_kernels::Splines { bins: 2, bound: 1.0, least: 1e-3 };
/// let (mut values, mut logs) = ([0.5, 7.0, 0.0], [0.0; 3]);
/// let mut parameters = [0.0, 1.0, 0.5, 0.5, 2.0].repeat(3);
/// splines.forward(&mut values, &mut parameters, &mut logs);
/// assert!(values[0] > 0.5 && values[1] == 7.0 && logs[1] == 0.0);
///
/// let mut parameters = [0.0, 1.0, 0.5, 0.5, 2.0].repeat(3);
/// splines.inverse(&mut values, &mut parameters, &mut logs);
/// assert!((values[0] - 0.5_f64).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Splines {
    /// Bins of each, at least 1.
    pub bins: usize,
    /// Half of the width of what bends, above 0.
    pub bound: f64,
    /// The least width and height of a bin as a share of the whole, and the least slope.
    pub least: f64,
}

/// Which way a spline goes.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Way {
    Forward,
    Inverse,
}

impl Splines {
    /// Numbers that make one of them.
    pub const fn parameters(&self) -> usize {
        (3 * self.bins).saturating_sub(1)
    }

    /// Values become `f(x)`, and `logs` their `ln f'(x)`.
    ///
    /// # Panics
    /// Where there are no bins, or buffers are not of as many splines.
    pub fn forward<E: Element>(&self, values: &mut [E], parameters: &mut [E], logs: &mut [E]) {
        self.check(values.len(), parameters.len(), logs.len());
        E::splines(self, Way::Forward, values, parameters, logs);
    }

    /// Values become the `x` with `f(x)` equal to them, and `logs` their `ln f'(x)`.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn inverse<E: Element>(&self, values: &mut [E], parameters: &mut [E], logs: &mut [E]) {
        self.check(values.len(), parameters.len(), logs.len());
        E::splines(self, Way::Inverse, values, parameters, logs);
    }

    /// The product of `forward` at `x`, with the gradient by `f(x)` and that by `ln f'(x)`: `gradient`
    /// becomes that by `x`, and `parameters` that by the logits.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn forward_vjp<E: Element>(
        &self,
        x: &[E],
        parameters: &mut [E],
        gradient: &mut [E],
        by_logs: &[E],
    ) {
        self.check_product(x, parameters, gradient, by_logs);
        E::spline_products(self, Way::Forward, x, parameters, gradient, by_logs);
    }

    /// The product of `inverse`, where `x` came out of it: with the gradient by `x` and that by
    /// `−ln f'(x)`, `gradient` becomes that by `f(x)`, and `parameters` that by the logits.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn inverse_vjp<E: Element>(
        &self,
        x: &[E],
        parameters: &mut [E],
        gradient: &mut [E],
        by_logs: &[E],
    ) {
        self.check_product(x, parameters, gradient, by_logs);
        E::spline_products(self, Way::Inverse, x, parameters, gradient, by_logs);
    }

    fn check(&self, values: usize, parameters: usize, logs: usize) {
        assert!(self.bins > 0, "a spline has a bin");
        assert_eq!(parameters, values * self.parameters(), "parameters of {values} splines");
        assert_eq!(logs, values, "logarithms of slopes beside values");
    }

    fn check_product<E>(&self, x: &[E], parameters: &[E], gradient: &[E], by_logs: &[E]) {
        self.check(x.len(), parameters.len(), by_logs.len());
        assert_eq!(gradient.len(), x.len(), "gradients beside values");
    }
}

#[inline(always)]
pub(crate) fn run<E: Element>(
    splines: &Splines,
    way: Way,
    values: &mut [E],
    parameters: &mut [E],
    logs: &mut [E],
) {
    let arch = Arch::new();
    match way {
        Way::Forward => arch.dispatch(Apply::<false, E>(splines, values, parameters, logs)),
        Way::Inverse => arch.dispatch(Apply::<true, E>(splines, values, parameters, logs)),
    }
}

#[inline(always)]
pub(crate) fn run_products<E: Element>(
    splines: &Splines,
    way: Way,
    x: &[E],
    parameters: &mut [E],
    gradient: &mut [E],
    by_logs: &[E],
) {
    let arch = Arch::new();
    match way {
        Way::Forward => {
            arch.dispatch(Product::<false, E>(splines, x, parameters, gradient, by_logs));
        }
        Way::Inverse => {
            arch.dispatch(Product::<true, E>(splines, x, parameters, gradient, by_logs));
        }
    }
}

struct Apply<'a, const BACK: bool, E>(&'a Splines, &'a mut [E], &'a mut [E], &'a mut [E]);

impl<const BACK: bool, E: Element> WithSimd for Apply<'_, BACK, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self(splines, values, parameters, logs) = self;
        let mut lines = Lines::new(splines);
        let parameters = parameters.chunks_mut(LANES * splines.parameters());
        let parts = values.chunks_mut(LANES).zip(logs.chunks_mut(LANES)).zip(parameters);
        for ((values, logs), parameters) in parts {
            lines.read(parameters, values.len());
            let (mut line, mut log): (Line<E>, Line<E>) = (take(values), [E::default(); LANES]);
            lines.shares::<S>();
            lines.apply::<S, BACK>(&mut line, &mut log);
            lines.keep(parameters, values.len());
            keep(&line, values);
            keep(&log, logs);
        }
    }
}

struct Product<'a, const BACK: bool, E>(&'a Splines, &'a [E], &'a mut [E], &'a mut [E], &'a [E]);

impl<const BACK: bool, E: Element> WithSimd for Product<'_, BACK, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self(splines, x, parameters, gradient, by_logs) = self;
        let mut lines = Lines::new(splines);
        let parameters = parameters.chunks_mut(LANES * splines.parameters());
        let parts = x.chunks(LANES).zip(gradient.chunks_mut(LANES)).zip(by_logs.chunks(LANES));
        for (((x, gradient), by_logs), parameters) in parts.zip(parameters) {
            lines.read_kept(parameters, x.len());
            let mut line = take(gradient);
            lines.product::<S, BACK>(&take(x), &mut line, &take(by_logs));
            lines.write(parameters, x.len());
            keep(&line, gradient);
        }
    }
}

#[cfg(test)]
#[path = "spline_tests.rs"]
mod tests;
