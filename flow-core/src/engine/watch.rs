//! What the guards of a flow's passes have seen.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::inverting::Exploded;
use crate::memory::{Explosion, GuardReport, Policy};
use crate::{Memory, Result};

/// The last report, and whether the inverse is trusted no longer.
#[derive(Debug)]
pub(crate) struct Watch {
    flow: &'static str,
    report: Mutex<Option<GuardReport>>,
    news: Mutex<Option<News>>,
    distrusts: AtomicBool,
}

/// Explosions since somebody last asked: a step of a training may have several passes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct News {
    /// The flow's name.
    pub(crate) flow: &'static str,
    /// The report of the first pass with an explosion.
    pub(crate) report: GuardReport,
    /// Blocks that were computed again, all passes together.
    pub(crate) recomputed: usize,
}

impl Watch {
    /// Of the flow of that name.
    pub(super) fn new(flow: &'static str) -> Self {
        let distrusts = AtomicBool::new(false);
        Self { flow, report: Mutex::default(), news: Mutex::default(), distrusts }
    }

    /// The memory of a pass that begins now.
    pub(crate) fn memory(&self, asked: Memory) -> Result<Memory> {
        let Some(guard) = asked.guard() else { return Ok(asked) };
        guard.check()?;
        let switches = guard.policy == Policy::SwitchToRecomputing && guard.watches();
        Ok(if switches && self.distrusts() { Memory::Recomputed } else { asked })
    }

    /// Whether an inverse has exploded under a policy that then recomputes for good.
    pub(crate) fn distrusts(&self) -> bool {
        self.distrusts.load(Ordering::Acquire)
    }

    pub(crate) fn distrust(&self, yes: bool) {
        self.distrusts.store(yes, Ordering::Release);
    }

    pub(crate) fn report(&self) -> Option<GuardReport> {
        lock(&self.report).clone()
    }

    /// The explosions since it was last asked, if there were any.
    pub(crate) fn news(&self) -> Option<News> {
        lock(&self.news).take()
    }

    /// Takes note of a pass: the explosions of all row groups, one group after the other.
    pub(crate) fn note(
        &self,
        leaves: &[String],
        policy: Policy,
        bytes: usize,
        groups: impl Iterator<Item = Exploded>,
    ) {
        let mut by_leaf: Vec<Exploded> = Vec::new();
        for found in groups {
            match by_leaf.iter_mut().find(|known| known.leaf == found.leaf) {
                None => by_leaf.push(found),
                Some(known) => {
                    known.rows += found.rows;
                    if found.error > known.error {
                        (known.row, known.error) = (found.row, found.error);
                    }
                    // In a group that had lost an input before, copies may be nearer.
                    if found.recomputed > known.recomputed {
                        (known.recomputed, known.copy) = (found.recomputed, found.copy);
                    }
                }
            }
        }
        by_leaf.sort_by_key(|found| Reverse(found.place));
        let switched = policy == Policy::SwitchToRecomputing && !by_leaf.is_empty();
        if switched {
            self.distrust(true);
        }
        let explosions = by_leaf.into_iter().map(|found| Explosion {
            block: leaves[found.leaf].clone(),
            sample: found.row,
            error: found.error,
            samples: found.rows,
            recomputed: found.recomputed,
            copy: leaves[found.copy].clone(),
        });
        let explosions = explosions.collect();
        let report = GuardReport { blocks: leaves.len(), explosions, switched, bytes };
        if !report.held() {
            let recomputed = report.recomputed();
            match &mut *lock(&self.news) {
                Some(news) => news.recomputed += recomputed,
                none => *none = Some(News { flow: self.flow, report: report.clone(), recomputed }),
            }
        }
        *lock(&self.report) = Some(report);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What it holds is replaced as a whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
