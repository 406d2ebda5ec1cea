//! What a block records apart from its pass: fixed points, demands on weights, and random numbers.

use std::fmt;
use std::sync::Arc;

use flow_cuda::kernels::noise::{signs, term_counts};
use flow_cuda::{Loop, Op, Slot};

use super::Lowering;
use crate::engine::Derived;
use crate::{FlowError, Result, Scalar};

/// Turns of a loop between two looks at whether it is over: a look waits for the device.
const TURNS: usize = 4;

/// A row that stopped a pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) row: usize,
    /// The iteration at which it did, or the entry of the row.
    pub(crate) place: usize,
    /// The radius that was reached, or what the entry holds.
    pub(crate) value: f64,
}

/// The error of such a row.
#[derive(Clone)]
pub(crate) struct Stuck(Arc<dyn Fn(Failure) -> FlowError + Send + Sync>);

impl fmt::Debug for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stuck(..)")
    }
}

impl Stuck {
    /// The error of a status as [`count_open`](flow_cuda::kernels::contraction::count_open) writes
    /// it, where that tells of a row.
    pub(crate) fn error(&self, status: &[f32]) -> Option<FlowError> {
        let &[_, row, place, value] = status else { return None };
        (row >= 0.0).then(|| {
            let (row, place) = (row as usize, place as usize);
            (self.0)(Failure { row, place, value: f64::from(value) })
        })
    }
}

/// What must hold of a value that is derived from weights, where a plan goes from latents to data.
#[derive(Clone)]
pub(crate) struct Demand {
    pub(crate) value: Slot,
    check: Arc<dyn Fn(f64) -> Result<()> + Send + Sync>,
}

impl fmt::Debug for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Demand").field("value", &self.value).finish_non_exhaustive()
    }
}

impl Demand {
    pub(crate) fn check(&self, value: f32) -> Result<()> {
        (self.check)(f64::from(value))
    }
}

impl<E: Scalar> Lowering<E> {
    /// Fails where a pass would begin whose inverse of this block needs another derived value.
    pub(crate) fn demand(
        &mut self,
        value: &Derived,
        check: impl Fn(f64) -> Result<()> + Send + Sync + 'static,
    ) {
        let value = self.derived(value);
        self.demands.push(Demand { value, check: Arc::new(check) });
    }

    /// What `f` records, for another place than the end of the pass, and without keeping anything
    /// for a product.
    pub(crate) fn apart(&mut self, f: impl FnOnce(&mut Self) -> Result<()>) -> Result<Vec<Op>> {
        self.aside(false, f).map(|((), ops)| ops)
    }

    /// As [`apart`](Self::apart) with what `f` gives, for a product: what it keeps where `keeping` lasts
    /// for as long as scratch memory does.
    pub(crate) fn aside<R>(
        &mut self,
        keeping: bool,
        f: impl FnOnce(&mut Self) -> Result<R>,
    ) -> Result<(R, Vec<Op>)> {
        let before = std::mem::take(&mut self.ops);
        let modes = (self.keeping, self.briefly);
        (self.keeping, self.briefly) = (keeping, true);
        let done = f(self);
        (self.keeping, self.briefly) = modes;
        let ops = std::mem::replace(&mut self.ops, before);
        done.map(|done| (done, ops))
    }

    /// Repeats the ops until they write that no row is open; `stuck` tells of a row that gets nowhere.
    pub(crate) fn repeat(
        &mut self,
        mut ops: Vec<Op>,
        status: Slot,
        stuck: impl Fn(Failure) -> FlowError + Send + Sync + 'static,
    ) -> Vec<Op> {
        self.recording.repeat(&mut ops, Loop { status, turns: TURNS });
        self.stuck.push(Stuck(Arc::new(stuck)));
        ops
    }

    /// Records a look at the rows, which writes as the ops of a loop do: no row open, and one that must
    /// not be, of which `said` tells.
    pub(crate) fn look(
        &mut self,
        op: Op,
        status: Slot,
        said: impl Fn(Failure) -> FlowError + Send + Sync + 'static,
    ) {
        let mut ops = vec![op];
        self.recording.repeat(&mut ops, Loop { status, turns: 1 });
        self.stuck.push(Stuck(Arc::new(said)));
        self.ops.extend(ops);
    }

    /// Fills `out` with the signs that [`Pass::noise`](crate::Pass::noise) gives a trace's probes.
    pub(crate) fn signs(&self, out: Slot) -> Op {
        signs(out, self.places().noise, self.rows(), self.leaf)
    }

    /// Fills `out` with the numbers of terms that it gives the rows of a roulette.
    pub(crate) fn term_counts(&self, out: Slot, exact: usize, p: f64) -> Op {
        term_counts(out, self.places().noise, self.leaf, exact, p)
    }
}
