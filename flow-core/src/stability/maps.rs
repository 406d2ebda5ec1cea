//! A flow of the plane at every point of a window.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::extremes::full;
use super::probe::{distances, forward_probe, probe};
use crate::engine::Direction;
use crate::plot::{heat_map, Heat, Window};
use crate::{Architecture, FlowError, Invertible, NormalizingFlow, Result, Rows, Vector};

/// A number for each cell of a window on the plane, row by row from below: what a flow does outside
/// its data.
///
/// ```
/// use dfdx::prelude::*;
/// use flow_core::plot::Window;
/// use flow_core::prelude::*;
/// use flow_core::stability::PlaneMap;
///
/// flow! { struct Tiny: Vector<2> { linear(lu); } }
///
/// let flow = Tiny::<f32>::build(&Cpu::default(), 0)?;
/// let map = PlaneMap::reconstruction_error(&flow, Window::square(8.0), 20)?;
/// assert_eq!((map.values.len(), map.non_finite()), (400, 0));
/// assert!(map.largest() < 1e-4);
/// # Ok::<(), FlowError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PlaneMap {
    /// What the numbers are.
    pub quantity: Quantity,
    /// The part of the plane.
    pub window: Window,
    /// Cells each way.
    pub cells: usize,
    /// The number at each cell's middle; NaN or infinite where the flow fails.
    pub values: Vec<f64>,
}

/// What a [`PlaneMap`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quantity {
    /// exp(log p(x)); 0 outside the support.
    Density,
    /// ‖x − F⁻¹(F(x))‖.
    ReconstructionError,
    /// The largest over the smallest singular value of the forward direction's Jacobian.
    ConditionNumber,
}

impl PlaneMap {
    /// The density at each cell.
    ///
    /// # Errors
    /// An empty window, no cells or too many, or a block that is not initialised.
    pub fn density<F>(flow: &F, window: Window, cells: usize) -> Result<Self>
    where
        F: NormalizingFlow + ?Sized,
        F::Architecture: Architecture<F::Scalar, Event = Vector<2>>,
    {
        let (points, of) = grid(window, cells)?;
        let probe = forward_probe(flow, &points)?;
        let log_density = probe.send(Direction::LogProb, points.values(), &of)?.log_det;
        let values = log_density.iter().map(|v| crate::Scalar::as_f64(*v).exp()).collect();
        Ok(Self { quantity: Quantity::Density, window, cells, values })
    }

    /// The distance of each cell's middle to its reconstruction.
    ///
    /// # Errors
    /// As [`density`](Self::density).
    pub fn reconstruction_error<F>(flow: &F, window: Window, cells: usize) -> Result<Self>
    where
        F: NormalizingFlow + ?Sized,
        F::Architecture: Architecture<F::Scalar, Event = Vector<2>> + Invertible,
    {
        let (points, of) = grid(window, cells)?;
        let probe = probe(flow, &points)?;
        let z = probe.send(Direction::Forward, points.values(), &of)?.values;
        let y = probe.send(Direction::Inverse, &z, &of)?.values;
        let values = distances(points.values(), &y, 2);
        Ok(Self { quantity: Quantity::ReconstructionError, window, cells, values })
    }

    /// The condition number of the Jacobian at each cell's middle.
    ///
    /// # Errors
    /// As [`density`](Self::density).
    pub fn condition_number<F>(flow: &F, window: Window, cells: usize) -> Result<Self>
    where
        F: NormalizingFlow + ?Sized,
        F::Architecture: Architecture<F::Scalar, Event = Vector<2>> + Invertible,
    {
        let (points, of) = grid(window, cells)?;
        let probe = probe(flow, &points)?;
        let extremes = full(&probe, Direction::Forward, points.values(), &of)?;
        let values = extremes.iter().map(|e| e.largest / e.smallest).collect();
        Ok(Self { quantity: Quantity::ConditionNumber, window, cells, values })
    }

    /// Cells whose number is NaN or infinite.
    pub fn non_finite(&self) -> usize {
        self.values.iter().filter(|v| !v.is_finite()).count()
    }

    /// The largest finite number; NaN where there is none.
    pub fn largest(&self) -> f64 {
        self.values.iter().copied().filter(|v| v.is_finite()).fold(f64::NAN, f64::max)
    }

    /// Draws the map with its scale: a density by itself, an error or a condition number by its
    /// logarithm. Cells that are not finite have a colour that no number has.
    ///
    /// # Errors
    /// [`FlowError::File`] where the picture cannot be written as a `.png` file.
    pub fn draw(&self, path: impl AsRef<Path>, title: &str) -> Result<()> {
        let heat = match self.quantity {
            Quantity::Density => Heat::Linear,
            Quantity::ReconstructionError | Quantity::ConditionNumber => Heat::Logarithmic,
        };
        heat_map(path, title, self.window, heat, self.cells, &self.values)
    }
}

/// The middles of the cells of a window.
fn grid<E: crate::Scalar>(window: Window, cells: usize) -> Result<(Rows<E>, Vec<usize>)> {
    if cells == 0 {
        return Err(FlowError::option("cells", 0, "at least 1"));
    }
    window.check()?;
    Ok((Rows::new(window.middles(cells)?, 2)?, (0..cells * cells).collect()))
}

#[cfg(test)]
mod tests {
    use dfdx::prelude::Cpu;

    use super::*;
    use crate::prelude::*;

    flow! { struct OneWay: Vector<2> { planar; } }

    #[test]
    fn a_flow_without_inverse_has_a_density() {
        let flow = OneWay::<f64>::build(&Cpu::default(), 0).unwrap();
        let window = Window::square(2.0);
        let map = PlaneMap::density(&flow, window, 5).unwrap();
        let points: Vec<f64> = window.middles(5).unwrap();
        let want = flow.log_prob(Rows::new(points, 2).unwrap().x::<Vector<2>>().unwrap()).unwrap();
        assert_eq!(map.values, want.as_vec().iter().map(|p| p.exp()).collect::<Vec<_>>());
        for cells in [1 << 32, 1 << 31, usize::MAX] {
            let error = PlaneMap::density(&flow, window, cells).unwrap_err().to_string();
            assert!(error.starts_with("cells is "), "{error}");
        }
    }
}
