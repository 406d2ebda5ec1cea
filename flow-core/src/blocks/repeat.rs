use crate::engine::{Builder, Pass, Setup, State, Values};
use crate::lipschitz::{Amplification, Probe};
use crate::{Block, Facts, Result, Scalar};

/// The same kind of block several times, each with weights of its own: `repeat n { … }`.
///
/// Iteration `i` stands under `i` in the paths of parameters.
#[derive(Clone, Debug)]
pub struct Repeat<B> {
    blocks: Vec<B>,
}

impl<B> Repeat<B> {
    /// Makes `count` blocks.
    ///
    /// # Errors
    /// The first error of `make`.
    pub fn new<E: Scalar>(
        builder: &mut Builder<E>,
        count: usize,
        mut make: impl FnMut(&mut Builder<E>) -> Result<B>,
    ) -> Result<Self>
    where
        B: Block<E>,
    {
        let blocks = (0..count).map(|i| builder.block(i, &mut make)).collect::<Result<_>>()?;
        Ok(Self { blocks })
    }

    /// How often the block is repeated.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether it is not there at all.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

impl<E: Scalar, B: Block<E>> Block<E> for Repeat<B> {
    const COMPOSITE: bool = true;

    fn forward(&self, pass: &mut Pass<'_, E>, x: &mut [E], log_det: &mut [E]) -> Result<()> {
        self.blocks.iter().try_for_each(|block| pass.forward(block, x, log_det))
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        self.blocks.iter().rev().try_for_each(|block| pass.inverse(block, z, log_det))
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.blocks.iter().rev().try_for_each(|block| pass.forward_vjp(block, gradient, log_det))
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], log_det: &[E]) -> Result<()> {
        self.blocks.iter().try_for_each(|block| pass.inverse_vjp(block, gradient, log_det))
    }

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        self.blocks.iter().try_for_each(|block| block.prepare(values, derived))
    }

    fn finish(&self, state: &State<E>, from: &[E], gradient: &mut [E]) -> Result<()> {
        self.blocks.iter().try_for_each(|block| block.finish(state, from, gradient))
    }

    fn initialize(&self, setup: &mut Setup<'_, E>, x: &mut [E]) -> Result<()> {
        self.blocks.iter().try_for_each(|block| setup.initialize(block, x))
    }

    fn project(&self, values: &mut Values<E>) {
        self.blocks.iter().for_each(|block| block.project(values));
    }

    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        let mut all = Amplification::ISOMETRY;
        for i in 0..self.blocks.len() {
            let i = if probe.backwards() { self.blocks.len() - 1 - i } else { i };
            all = all.then(probe.visit(&self.blocks[i])?);
        }
        Ok(all)
    }

    fn facts(&self) -> Facts {
        self.blocks.iter().fold(Facts::ISOMETRY, |all, block| all.then(block.facts()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::{ActNorm, LinearLu};
    use crate::engine::Direction;
    use crate::testing::{check_laws, single, Make};
    use crate::{LogDet, Shape};

    struct Linear;
    impl<const D: usize> Make<D, 0> for Linear {
        type Block = Repeat<LinearLu>;
        fn make(b: &mut Builder<f64>) -> Result<Self::Block> {
            Repeat::new(b, 2, |b| LinearLu::new(b, Shape::vector(D)))
        }
    }

    struct Nested;
    impl Make<2, 0> for Nested {
        type Block = Repeat<Repeat<ActNorm>>;
        fn make(b: &mut Builder<f64>) -> Result<Self::Block> {
            Repeat::new(b, 2, |b| Repeat::new(b, 3, |b| ActNorm::new(b, Shape::vector(2))))
        }
    }

    #[test]
    fn laws_hold() {
        check_laws::<Linear, 1, 0>();
        check_laws::<Linear, 2, 0>();
        check_laws::<Linear, 5, 0>();
        check_laws::<Nested, 2, 0>();
    }

    #[test]
    fn names_carry_the_iteration() {
        let machine = single::<Nested, 2, 0>();
        assert_eq!(machine.layout().leaves[4], "0.1.1");
        assert!(machine.layout().find("0.1.2.shift").is_some());
        let block = Repeat { blocks: machine.blocks().0.blocks.clone() };
        assert_eq!(Block::<f64>::facts(&block).log_det, LogDet::Constant);
    }

    #[test]
    fn each_iteration_is_initialised_from_its_own_input() {
        let mut machine = single::<Nested, 2, 0>();
        machine.initialize(&mut [1.0, 10.0, 3.0, 30.0], &[], 2).unwrap();
        let values = &machine.state().values;
        // After the first, every batch is standardised already.
        assert!(values.parameters[4..].iter().all(|v| v.abs() < 1e-12), "{values:?}");
        let mut x = [1.0, 10.0, 3.0, 30.0];
        machine.run(Direction::Forward, &mut x, &[], None).unwrap();
        assert!(x.iter().all(|v| (v.abs() - 1.0).abs() < 1e-12), "{x:?}");
    }
}
