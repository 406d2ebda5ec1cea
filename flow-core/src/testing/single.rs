//! A flow of the block under test alone.

use crate::engine::{Builder, Machine};
use crate::{
    Architecture, Block, Facts, Item, Pass, Result, Setup, State, Unconditional, Values, Vector,
};

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
