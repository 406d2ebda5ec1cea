//! Pictures of what a flow has learned, as PNG files: densities over a plane, points, curves of a
//! training's history, and images side by side.
//!
//! They need no display, no system fonts and no libraries beyond this crate.

mod canvas;
mod chart;
mod colours;
mod curves;
mod density;
mod heat;
mod images;
mod panels;
mod scatter;
mod scatters;

pub use chart::Window;
pub use curves::{curves, Curve};
pub use density::density_map;
pub use heat::{heat_map, Heat};
pub use images::images;
pub use panels::{panels, Column, PanelRow};
pub use scatter::{clouds, scatter, Cloud};
pub use scatters::{scatters, Scatter};
