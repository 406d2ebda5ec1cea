//! The GPU that tests run on.

use flow_core::cuda::{Either, Emulated, Gpu};

/// A card, or the emulated one.
pub type Chosen = Either<Gpu, Emulated>;

/// The card whose number the environment's `FLOW_GPU` is, waiting for each kernel, or the emulated
/// one. None where that was not built, after saying so.
///
/// # Panics
/// Where there is no such card.
pub fn chosen() -> Option<Chosen> {
    if let Ok(number) = std::env::var("FLOW_GPU") {
        let number = number.parse().expect("FLOW_GPU is the number of a card");
        let gpu = Gpu::new(number).unwrap_or_else(|error| panic!("{error}"));
        return Some(Either::First(gpu.checked()));
    }
    let emulated = Emulated::new().inspect_err(|error| eprintln!("NOT TESTED: {error}"));
    emulated.ok().map(Either::Second)
}
