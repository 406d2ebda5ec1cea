//! The bar that a run shows on a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Time between two drawings: formatting each step's numbers would take memory each time.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Progress {
    bar: ProgressBar,
    drawn: Instant,
    rows: u64,
}

impl Progress {
    pub(super) fn new(silent: bool, step: u64, total: Option<u64>) -> Self {
        let bar = match (silent, total) {
            (true, _) => ProgressBar::hidden(),
            (false, Some(total)) => ProgressBar::new(total),
            (false, None) => ProgressBar::no_length(),
        };
        let template = match total {
            Some(_) => "{elapsed} [{bar:30}] {pos}/{len} {msg}, {eta} left",
            None => "{elapsed} {pos} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_position(step);
        Self { bar, drawn: Instant::now(), rows: 0 }
    }

    pub(super) fn step(&mut self, step: u64, loss: f64, rows: usize) {
        self.rows += rows as u64;
        let since = self.drawn.elapsed();
        if self.bar.is_hidden() || since < PAUSE {
            return;
        }
        let speed = self.rows as f64 / since.as_secs_f64();
        self.bar.set_message(format!("loss {loss:.4}, {speed:.0} rows/s"));
        self.bar.set_position(step);
        self.drawn = Instant::now();
        self.rows = 0;
    }

    pub(super) fn note(&self, text: &str) {
        self.bar.println(text);
    }

    pub(super) fn finish(&self, step: u64) {
        self.bar.set_position(step);
        self.bar.abandon();
    }
}
