//! The laws of a single block, for unit tests beside it.

use crate::engine::{Builder, Direction, Machine};
use crate::{Architecture, Block, Facts, Memory, Noise, Pass, Result, Setup, State, Unconditional};
use crate::{Item, LogDet, Values, Vector};

#[path = "testing_boxes.rs"]
mod boxes;

use boxes::mean_values;

/// Makes the block under test; a plain function so that a type can carry it.
pub(crate) trait Make<const D: usize, const C: usize>: Send + Sync + 'static {
    type Block: Block<f64>;
    fn make(builder: &mut Builder<f64>) -> Result<Self::Block>;
}

/// A flow of one block.
pub(crate) struct Single<M: Make<D, C>, const D: usize, const C: usize>(pub(crate) M::Block);

/// The flow of the block under test, as it starts.
pub(crate) fn single<M: Make<D, C>, const D: usize, const C: usize>(
) -> Machine<Single<M, D, C>, f64>
where
    (): Given<C>,
{
    Machine::build(3).unwrap()
}

impl<M: Make<D, C>, const D: usize, const C: usize> Block<f64> for Single<M, D, C> {
    const COMPOSITE: bool = true;
    fn forward(&self, pass: &mut Pass<'_, f64>, x: &mut [f64], l: &mut [f64]) -> Result<()> {
        pass.forward(&self.0, x, l)
    }
    fn inverse(&self, pass: &mut Pass<'_, f64>, z: &mut [f64], l: &mut [f64]) -> Result<()> {
        pass.inverse(&self.0, z, l)
    }
    fn forward_vjp(&self, pass: &mut Pass<'_, f64>, g: &mut [f64], l: &[f64]) -> Result<()> {
        pass.forward_vjp(&self.0, g, l)
    }
    fn inverse_vjp(&self, pass: &mut Pass<'_, f64>, g: &mut [f64], l: &[f64]) -> Result<()> {
        pass.inverse_vjp(&self.0, g, l)
    }
    fn prepare(&self, values: &Values<f64>, derived: &mut [f64]) -> Result<()> {
        self.0.prepare(values, derived)
    }
    fn finish(&self, state: &State<f64>, from: &[f64], gradient: &mut [f64]) -> Result<()> {
        self.0.finish(state, from, gradient)
    }
    fn initialize(&self, setup: &mut Setup<'_, f64>, x: &mut [f64]) -> Result<()> {
        setup.initialize(&self.0, x)
    }
    fn project(&self, values: &mut Values<f64>) {
        self.0.project(values);
    }
    fn facts(&self) -> Facts {
        self.0.facts()
    }
}

impl<M: Make<D, C>, const D: usize, const C: usize> Architecture<f64> for Single<M, D, C>
where
    (): Given<C>,
{
    type Event = Vector<D>;
    type Latent = Vector<D>;
    type Context = <() as Given<C>>::Context;
    type Base = crate::base::Normal;
    type Double = Self;
    const NAME: &'static str = "Single";
    const ITEMS: &'static [Item] = &[];
    fn new(builder: &mut Builder<f64>) -> Result<Self> {
        builder.block("0", M::make).map(Self)
    }
}

/// The context type of a width.
pub(crate) trait Given<const C: usize> {
    type Context: crate::Context;
}
impl Given<0> for () {
    type Context = Unconditional;
}
impl Given<2> for () {
    type Context = Vector<2>;
}

/// Round trip, log-determinants against numeric Jacobians, and all gradients of both directions
/// against central differences, with parameters jittered away from their start.
pub(crate) fn check_laws<M: Make<D, C>, const D: usize, const C: usize>()
where
    (): Given<C>,
{
    check::<M, D, C>(&[Direction::Forward, Direction::Inverse]);
}

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

fn gradients<A: Architecture<f64>>(
    machine: &mut Machine<A, f64>,
    direction: Direction,
    memory: Memory,
    x: &[f64],
    context: &[f64],
    d: usize,
) {
    let rows = x.len() / d;
    let mut cotangent = vec![0.0; x.len()];
    Noise::seed(8).fill_normal(0, &mut cotangent);
    let mut by_number = vec![0.0; rows];
    Noise::seed(9).fill_normal(0, &mut by_number);
    let loss = |machine: &Machine<A, f64>, x: &[f64], context: &[f64]| -> f64 {
        let (y, numbers) = apply(machine, direction, x, context);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(&y, &cotangent) + dot(&numbers, &by_number)
    };
    let (_, kept) = machine.run(direction, &mut x.to_vec(), context, Some(memory)).unwrap();
    let mut by_x = cotangent.clone();
    let totals = machine.vjp(direction, kept.unwrap(), &mut by_x, &by_number, context).unwrap();

    // To the bit the same where nobody asks for gradients of parameters.
    let (_, kept) = machine.run(direction, &mut x.to_vec(), context, Some(memory)).unwrap();
    let mut alone = cotangent.clone();
    machine.vjp_by_input(direction, kept.unwrap(), &mut alone, &by_number, context).unwrap();
    let bits = |by: &[f64]| by.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&alone), bits(&by_x), "{direction:?}, {memory:?}: by the input alone");

    if memory.guard().is_none() {
        jacobians(machine, direction, memory, x, context, &cotangent);
    }

    // A second, shorter step where the first disagrees: it may have crossed a kink, such as that of
    // a spline's log-slope at a knot.
    let close = |what: &str, i: usize, got: f64, at: &mut dyn FnMut(f64) -> f64| {
        let [long, short] = [1e-5, 1e-7].map(|step| (at(step) - at(-step)) / (2.0 * step));
        assert!(
            [long, short].iter().any(|want| (got - want).abs() < 2e-6 * (1.0 + want.abs())),
            "{direction:?}, {memory:?}: gradient by {what}[{i}] is {got}, numerically {long} or {short}"
        );
    };
    let some = |len: usize| (0..len).step_by(len.div_ceil(25).max(1));
    for i in some(x.len()) {
        close("x", i, by_x[i], &mut |by| {
            let mut moved = x.to_vec();
            moved[i] += by;
            loss(machine, &moved, context)
        });
    }
    for i in some(context.len()) {
        close("context", i, totals.context[i], &mut |by| {
            let mut moved = context.to_vec();
            moved[i] += by;
            loss(machine, x, &moved)
        });
    }
    for i in some(totals.parameters.len()) {
        close("parameters", i, totals.parameters[i], &mut |by| {
            let mut moved = machine.clone();
            moved.step(|parameters| parameters[i] += by).unwrap();
            loss(&moved, x, context)
        });
    }
}

/// Jacobians from one pass hold the products of passes of their own.
fn jacobians<A: Architecture<f64>>(
    machine: &Machine<A, f64>,
    direction: Direction,
    memory: Memory,
    x: &[f64],
    context: &[f64],
    cotangent: &[f64],
) {
    let d = <A::Event as crate::Event>::SHAPE.size();
    let (_, kept) = machine.run(direction, &mut x.to_vec(), context, Some(memory)).unwrap();
    let (mut products, none) = (cotangent.to_vec(), vec![0.0; x.len() / d]);
    machine.vjp_by_input(direction, kept.unwrap(), &mut products, &none, context).unwrap();
    // All unit cotangents at once, some at once, one after the other.
    for enough in [1, x.len() / 2, x.len()] {
        let found = machine.jacobians_on(enough, direction, x, context, memory).unwrap();
        assert_eq!(found.len(), x.len() * d);
        for (row, jacobian) in found.chunks_exact(d * d).enumerate() {
            for j in 0..d {
                let by_outputs = jacobian.chunks_exact(d).zip(&cotangent[row * d..]);
                let (got, size) = by_outputs.fold((0.0, 0.0), |(sum, size), (by, c)| {
                    (sum + by[j] * c, size + f64::abs(by[j] * c))
                });
                let want = products[row * d + j];
                assert!(
                    (got - want).abs() <= 1e-12 * (1.0 + size),
                    "{direction:?}, {memory:?}, {enough}: Jacobian of row {row} gives {got}, not {want}"
                );
            }
        }
    }
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
