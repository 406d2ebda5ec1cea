//! The data after each block.

use std::cell::RefCell;

use super::probe::forward_probe;
use super::svd;
use crate::engine::to_channels_first;
use crate::{Architecture, Item, NormalizingFlow, Result, Rows, Scalar};

/// What a block makes of some rows on their way from data to latents.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage<E> {
    /// The block's path, such as `steps.3.1`.
    pub path: String,
    /// The block as it stands in the source.
    pub block: &'static str,
    /// The rows behind it: of fewer numbers than the data where a `multiscale` has factored some
    /// out before. An image's numbers are its channels one after the other, but for blocks of a flow
    /// that stands after `use`: there all channels of a pixel are side by side.
    pub rows: Rows<E>,
    /// The block's own log-determinant at each row, in nats.
    pub log_det: Vec<E>,
}

impl<E: Scalar> Stage<E> {
    /// The variance over the rows, as its mean over all numbers of a row; NaN where one of them is
    /// not finite.
    pub fn variance(&self) -> f64 {
        let (width, rows) = (self.rows.width(), self.rows.len() as f64);
        let of_one = |i: usize| {
            let one = || self.rows.values().iter().skip(i).step_by(width).map(|v| v.as_f64());
            let mean = one().sum::<f64>() / rows;
            let off: Vec<f64> = one().map(|v| v - mean).collect();
            svd::norm(&off).powi(2) / rows
        };
        (0..width).map(of_one).sum::<f64>() / width as f64
    }

    /// The mean of the block's log-determinant over the rows, in nats.
    pub fn mean_log_det(&self) -> f64 {
        self.log_det.iter().map(|v| v.as_f64()).sum::<f64>() / self.log_det.len() as f64
    }
}

/// The rows after each block of a flow or view, with the block's log-determinant: how the data are
/// deformed, and which blocks stretch them and which contract ("Jacobian determinant of normalizing
/// flows", figures 3 and 4). All stages are in memory together.
///
/// ```
/// use dfdx::prelude::*;
/// use flow_core::prelude::*;
/// use flow_core::stability::stages;
///
/// flow! {
///     struct Tiny: Vector<2> {
///         repeat 2 { scale(0.5); }
///         tanh;
///     }
/// }
///
/// let flow = Tiny::<f64>::build(&Cpu::default(), 0)?;
/// let found = stages(&flow, &Rows::new(vec![4.0, 0.0, 2.0, 0.0], 2)?)?;
/// let paths: Vec<&str> = found.iter().map(|stage| stage.path.as_str()).collect();
/// assert_eq!(paths, ["0.0.0", "0.1.0", "1"]);
/// assert_eq!(found[1].rows.values(), [1.0, 0.0, 0.5, 0.0]);
/// assert!((found[0].variance() - 0.125).abs() < 1e-12);
/// assert!((found[1].mean_log_det() - 2.0 * 0.5f64.ln()).abs() < 1e-12);
/// # Ok::<(), FlowError>(())
/// ```
///
/// # Errors
/// Rows of another width than the flow's or with a context of their own, a context of another
/// length, a row that a block refuses, or a block that is not initialised.
pub fn stages<F>(flow: &F, data: &Rows<F::Scalar>) -> Result<Vec<Stage<F::Scalar>>>
where
    F: NormalizingFlow + ?Sized,
{
    let probe = forward_probe(flow, data)?;
    let machine = probe.machine();
    let leaves = &machine.layout().leaves;
    let seen: Vec<RefCell<(usize, Vec<F::Scalar>, Vec<F::Scalar>)>> =
        leaves.iter().map(|_| RefCell::default()).collect();
    let (size, together) = (probe.size(), probe.batch());
    for (part, x) in data.values().chunks(together * size).enumerate() {
        let first = part * together;
        let rows: Vec<usize> = (first..first + x.len() / size).collect();
        let before = RefCell::new(vec![<F::Scalar as num_traits::Zero>::zero(); rows.len()]);
        let context = probe.contexts(&rows);
        machine.observe(&mut x.to_vec(), &context, first, &|leaf, x, log_det| {
            let (width, values, own) = &mut *seen[leaf].borrow_mut();
            let before = &mut *before.borrow_mut();
            *width = x.len() / log_det.len();
            values.extend_from_slice(x);
            own.extend(log_det.iter().zip(&*before).map(|(to, from)| *to - *from));
            before.copy_from_slice(log_det);
        })?;
    }
    let items = <F::Architecture as Architecture<F::Scalar>>::ITEMS;
    let stages = leaves.iter().zip(seen).map(|(path, seen)| {
        let (width, mut values, log_det) = seen.into_inner();
        let item = item_at(items, path);
        if let Some((Item { output, .. }, false)) = item {
            if output.size() == width {
                to_channels_first(*output, &mut values);
            }
        }
        let block = item.map_or("", |(item, _)| item.text);
        Ok(Stage { path: path.clone(), block, rows: Rows::new(values, width)?, log_det })
    });
    stages.collect()
}

/// The item that a block belongs to, and whether the block stands inside of what `use` names there.
fn item_at(items: &'static [Item], path: &str) -> Option<(&'static Item, bool)> {
    items.iter().find_map(|item| {
        let (mut wanted, mut found) = (item.path.split('.'), path.split('.'));
        let same =
            wanted.all(|name| found.next().is_some_and(|other| name == "*" || name == other));
        same.then(|| (item, found.next().is_some() && item.text.starts_with("use ")))
    })
}

#[cfg(test)]
mod tests {
    use dfdx::prelude::Cpu;

    use super::*;
    use crate::prelude::*;

    flow! {
        struct Plane: Vector<3> given Vector<2> {
            actnorm;
            'steps: repeat 2 {
                affine_coupling(net = mlp([5], tanh, zero_init = false));
                permute(roll(1));
            }
            tanh;
        }

        struct Pyramid: Image<2, 8, 8> {
            multiscale 2 {
                squeeze(2);
                dual_affine_coupling(net = conv([3], hidden = 4, tanh, zero_init = false));
            }
        }

        struct Outer: Vector<4> {
            linear(lu);
            use Inner;
        }

        struct Inner: Vector<4> {
            repeat 2 { scale(3.0); }
        }
    }

    fn noise(count: usize, width: usize, seed: u64) -> Rows<f64> {
        let noise = Noise::seed(seed);
        Rows::new((0..(count * width) as u64).map(|i| noise.normal(i)).collect(), width).unwrap()
    }

    /// The last stage is the flow's output and all log-determinants add up to the flow's.
    fn adds_up<F: NormalizingFlow<Scalar = f64>>(flow: &F, x: &Rows<f64>, whole: &[f64]) {
        let found = stages(flow, x).unwrap();
        for (row, whole) in whole.iter().enumerate() {
            let sum: f64 = found.iter().map(|stage| stage.log_det[row]).sum();
            assert!((sum - whole).abs() < 1e-12, "row {row}: {sum} {whole}");
        }
    }

    #[test]
    fn stages_end_in_the_latents_and_add_up() {
        let mut flow = Plane::<f64>::build(&Cpu::default(), 3).unwrap();
        // More rows than run together.
        let x = noise(5000, 3, 1);
        let context = noise(5000, 2, 2).x::<Vector<2>>().unwrap();
        flow.initialize_given(x.x::<Vector<3>>().unwrap(), context.clone()).unwrap();
        let view = flow.given(context);
        let (z, log_det) = view.forward(x.x::<Vector<3>>().unwrap()).unwrap();
        let found = stages(&view, &x).unwrap();
        let paths: Vec<&str> = found.iter().map(|stage| stage.path.as_str()).collect();
        assert_eq!(paths, ["0", "steps.0.0", "steps.0.1", "steps.1.0", "steps.1.1", "2"]);
        assert_eq!(found[5].rows.values(), z.as_vec());
        assert_eq!(found[4].block, "permute(roll(1))");
        assert!(found[2].log_det.iter().all(|l| *l == 0.0));
        assert!((found[0].variance() - 1.0).abs() < 1e-3, "{}", found[0].variance());
        adds_up(&view, &x, &log_det.as_vec());
    }

    #[test]
    fn images_are_channels_first_and_levels_narrow() {
        let flow = Pyramid::<f64>::build(&Cpu::default(), 3).unwrap();
        let x = noise(3, 128, 1);
        let (z, log_det) = flow.forward(x.x::<Image<2, 8, 8>>().unwrap()).unwrap();
        let found = stages(&flow, &x).unwrap();
        let widths: Vec<usize> = found.iter().map(|stage| stage.rows.width()).collect();
        assert_eq!(widths, [128, 128, 128, 64, 64, 64]);
        // The last level is what the latents end in.
        let z = Rows::from_tensor(z).unwrap();
        for (z, row) in z.values().chunks(128).zip(found[5].rows.values().chunks(64)) {
            assert_eq!(z[64..], *row);
        }
        adds_up(&flow, &x, &log_det.as_vec());
    }

    #[test]
    fn blocks_of_an_inner_flow_are_stages_too() {
        let flow = Outer::<f64>::build(&Cpu::default(), 0).unwrap();
        let found = stages(&flow, &noise(4, 4, 1)).unwrap();
        assert_eq!(found.len(), 3);
        assert!((found[2].mean_log_det() - 4.0 * 3f64.ln()).abs() < 1e-14);
        assert_eq!(found[2].block, "use Inner");
        assert!((found[2].variance() / found[0].variance() - 81.0).abs() < 1e-9);
    }

    #[test]
    fn rows_of_another_width_are_an_error() {
        let flow = Inner::<f64>::build(&Cpu::default(), 0).unwrap();
        let error = stages(&flow, &noise(4, 3, 1)).unwrap_err().to_string();
        assert_eq!(error, "a row has 3 numbers, expected 4");
    }
}
