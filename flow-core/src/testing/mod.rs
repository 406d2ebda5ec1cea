//! The laws of a single block, for unit tests beside it.

mod boxes;
mod gradients;
mod single;

use crate::engine::{Direction, Machine};
use crate::{Architecture, Block, LogDet, Memory, Noise};

use boxes::mean_values;
use gradients::gradients;
pub(crate) use single::{single, Given, Make, Single};

/// Round trip, log-determinants against numeric Jacobians, and all gradients of both directions
/// against central differences, with parameters jittered away from their start.
pub(crate) fn check_laws<M: Make<D, C>, const D: usize, const C: usize>()
where
    (): Given<C>,
{
    check::<M, D, C>(&[Direction::Forward, Direction::Inverse]);
}

/// The laws of a block that takes any shape: `Vectors` and `Images`, of that size, make it, and a test
/// runs them.
macro_rules! laws_on_vectors_and_images {
    ($Block:ident, [$channels:literal, $height:literal, $width:literal]) => {
        struct Vectors;
        impl<const D: usize> crate::testing::Make<D, 0> for Vectors {
            type Block = $Block;
            fn make(b: &mut crate::Builder<f64>) -> crate::Result<$Block> {
                $Block::new(b, crate::Shape::vector(D))
            }
        }

        struct Images;
        impl crate::testing::Make<{ $channels * $height * $width }, 0> for Images {
            type Block = $Block;
            fn make(b: &mut crate::Builder<f64>) -> crate::Result<$Block> {
                $Block::new(b, crate::Shape::image($channels, $height, $width))
            }
        }

        #[test]
        fn laws_hold() {
            use crate::testing::check_laws;
            check_laws::<Vectors, 1, 0>();
            check_laws::<Vectors, 2, 0>();
            check_laws::<Vectors, 5, 0>();
            check_laws::<Images, { $channels * $height * $width }, 0>();
        }
    };
}
pub(crate) use laws_on_vectors_and_images;

/// The laws of a block that has no inverse.
pub(crate) fn check_forward_laws<M: Make<D, C>, const D: usize, const C: usize>()
where
    (): Given<C>,
{
    check::<M, D, C>(&[Direction::Forward]);
}

fn check<M: Make<D, C>, const D: usize, const C: usize>(directions: &[Direction])
where
    (): Given<C>,
{
    let mut machine = single::<M, D, C>();
    let noise = Noise::seed(5);
    for rows in [1, 3, 40] {
        let mut x = vec![0.0; rows * D];
        noise.fill_normal(0, &mut x);
        let mut context = vec![0.0; rows * C];
        noise.named("context").fill_normal(0, &mut context);
        machine.initialize(&mut x.clone(), &context, rows).unwrap();
        let jitter = noise.named("jitter");
        machine
            .step(|parameters| {
                for (i, p) in parameters.iter_mut().enumerate() {
                    *p += 0.3 * jitter.normal(i as u64);
                }
            })
            .unwrap();
        assert_eq!(machine.blocks().facts().invertible, directions.len() == 2);
        for &direction in directions {
            facts(&machine, direction, &x, &context, D);
            if directions.contains(&opposite(direction)) {
                round_trip(&machine, direction, &x, &context);
            }
            log_det(&machine, direction, &x, &context, rows.min(2), D);
            let exact =
                direction == Direction::Forward || machine.blocks().facts().analytic_inverse;
            if C == 0 && rows == 3 && exact {
                mean_values(&machine, direction, &x);
            }
            let inverts = machine.blocks().facts().memory_saving;
            let modes = [Memory::Stored, Memory::Recomputed, Memory::Inverted];
            for memory in modes.into_iter().take(2 + usize::from(inverts)) {
                gradients(&mut machine.clone(), direction, memory, &x, &context, D);
            }
        }
    }
}

/// The block's facts against what it does on these rows.
fn facts<A: Architecture<f64>>(
    machine: &Machine<A, f64>,
    direction: Direction,
    x: &[f64],
    context: &[f64],
    d: usize,
) {
    let facts = machine.blocks().facts();
    let bound = if direction == Direction::Inverse { facts.inverse } else { facts.forward };
    let (y, numbers) = apply(machine, direction, x, context);
    let alike = match facts.log_det {
        LogDet::Zero => numbers.iter().all(|&number| number == 0.0),
        LogDet::Constant => numbers.iter().all(|&number| number == numbers[0]),
        LogDet::Varying => true,
    };
    assert!(alike, "{direction:?}: log-determinants {numbers:?}, not {:?}", facts.log_det);
    // Under a context rows undergo different maps.
    if context.is_empty() && bound.is_finite() {
        let apart = |v: &[f64], row: usize| -> f64 {
            let (a, b) = (&v[..d], &v[row * d..(row + 1) * d]);
            a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
        };
        for row in 1..x.len() / d {
            let (from, to) = (apart(x, row), apart(&y, row));
            assert!(to <= bound * from * (1.0 + 1e-9), "{to} is over {bound} · {from}");
        }
    }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Inverse => Direction::Forward,
        _ => Direction::Inverse,
    }
}

fn apply<A: Architecture<f64>>(
    machine: &Machine<A, f64>,
    direction: Direction,
    x: &[f64],
    context: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let mut y = x.to_vec();
    let (numbers, _) = machine.run(direction, &mut y, context, None).unwrap();
    (y, numbers)
}

fn round_trip<A: Architecture<f64>>(
    machine: &Machine<A, f64>,
    direction: Direction,
    x: &[f64],
    context: &[f64],
) {
    let (y, there) = apply(machine, direction, x, context);
    let (back, again) = apply(machine, opposite(direction), &y, context);
    // A few roundings on the way come back as large as the way back is steep.
    let rounded: Vec<f64> = y.iter().map(|v| v * (1.0 + 8.0 * f64::EPSILON)).collect();
    let (near, _) = apply(machine, opposite(direction), &rounded, context);
    for ((a, b), c) in x.iter().zip(&back).zip(&near) {
        let tolerance = 1e-9 * (1.0 + a.abs()) + (b - c).abs();
        assert!((a - b).abs() < tolerance, "{direction:?} and back: {a} became {b}");
    }
    for (a, b) in there.iter().zip(&again) {
        assert!((a + b).abs() < 1e-9, "{direction:?}: log-determinants {a} and {b} should cancel");
    }
}

fn log_det<A: Architecture<f64>>(
    machine: &Machine<A, f64>,
    direction: Direction,
    x: &[f64],
    context: &[f64],
    rows: usize,
    d: usize,
) {
    let (_, numbers) = apply(machine, direction, x, context);
    let step = 1e-4;
    let mut jacobians = vec![vec![0.0; d * d]; rows];
    for j in 0..d {
        let shifted = |by: f64| {
            let mut moved = x.to_vec();
            (0..x.len() / d).for_each(|row| moved[row * d + j] += by);
            apply(machine, direction, &moved, context).0
        };
        // Five points allow a step so long that rounding does not show where a spline is flat.
        let at = [-2.0, -1.0, 1.0, 2.0].map(|steps| shifted(steps * step));
        for (row, jacobian) in jacobians.iter_mut().enumerate() {
            for i in 0..d {
                let [a, b, c, e] = at.each_ref().map(|values| values[row * d + i]);
                jacobian[i * d + j] = (8.0 * (c - b) - (e - a)) / (12.0 * step);
            }
        }
    }
    for (row, jacobian) in jacobians.iter_mut().enumerate() {
        let numeric = log_abs_det(jacobian, d);
        assert!(
            (numeric - numbers[row]).abs() < 1e-7,
            "{direction:?}: log-determinant {} but numerically {numeric}",
            numbers[row]
        );
    }
}

/// Standard normal numbers.
pub(crate) fn normal(len: usize, seed: u64) -> Vec<f64> {
    let mut numbers = vec![0.0; len];
    Noise::seed(seed).fill_normal(0, &mut numbers);
    numbers
}

/// The Euclidean distance.
pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// `log |det|` by elimination with partial pivoting; the matrix is used up.
fn log_abs_det(m: &mut [f64], d: usize) -> f64 {
    let mut sum = 0.0;
    for k in 0..d {
        let pivot = (k..d).max_by(|&a, &b| m[a * d + k].abs().total_cmp(&m[b * d + k].abs()));
        let pivot = pivot.unwrap_or(k);
        (0..d).for_each(|j| m.swap(k * d + j, pivot * d + j));
        sum += m[k * d + k].abs().ln();
        for i in k + 1..d {
            let factor = m[i * d + k] / m[k * d + k];
            for j in k..d {
                m[i * d + j] -= factor * m[k * d + j];
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Builder;
    use crate::{Pass, Result};

    /// `y = x·exp(p)`, one parameter.
    struct Stretch(crate::Parameter);
    impl Block<f64> for Stretch {
        fn forward(&self, pass: &mut Pass<'_, f64>, x: &mut [f64], l: &mut [f64]) -> Result<()> {
            let p = pass.parameter(&self.0)[0];
            x.iter_mut().for_each(|v| *v *= p.exp());
            l.iter_mut().for_each(|v| *v += 3.0 * p);
            if pass.saving() {
                let copy = pass.take_copy(x);
                pass.save(copy);
            }
            Ok(())
        }
        fn inverse(&self, pass: &mut Pass<'_, f64>, z: &mut [f64], l: &mut [f64]) -> Result<()> {
            let p = pass.parameter(&self.0)[0];
            z.iter_mut().for_each(|v| *v *= (-p).exp());
            l.iter_mut().for_each(|v| *v -= 3.0 * p);
            if pass.saving() {
                let copy = pass.take_copy(z);
                pass.save(copy);
            }
            Ok(())
        }
        fn forward_vjp(&self, pass: &mut Pass<'_, f64>, g: &mut [f64], l: &[f64]) -> Result<()> {
            let y = pass.restore();
            let p = pass.parameter(&self.0)[0];
            let by_p = g.iter().zip(&*y).map(|(g, y)| g * y).sum::<f64>();
            pass.gradient(&self.0)[0] += by_p + 3.0 * l.iter().sum::<f64>();
            g.iter_mut().for_each(|v| *v *= p.exp());
            pass.give(y);
            Ok(())
        }
        fn inverse_vjp(&self, pass: &mut Pass<'_, f64>, g: &mut [f64], l: &[f64]) -> Result<()> {
            let y = pass.restore();
            let p = pass.parameter(&self.0)[0];
            let by_p = g.iter().zip(&*y).map(|(g, y)| g * y).sum::<f64>();
            pass.gradient(&self.0)[0] -= by_p + 3.0 * l.iter().sum::<f64>();
            g.iter_mut().for_each(|v| *v *= (-p).exp());
            pass.give(y);
            Ok(())
        }
    }

    struct MakeStretch;
    impl Make<3, 0> for MakeStretch {
        type Block = Stretch;
        fn make(b: &mut Builder<f64>) -> Result<Stretch> {
            Ok(Stretch(b.parameter("p", &[1], crate::Start::Constant(0.2))))
        }
    }

    #[test]
    fn a_correct_block_passes() {
        check_laws::<MakeStretch, 3, 0>();
    }
}
