use super::non_empty;
use super::permutation::{gather, index, invert};
use crate::engine::{Buffer, BufferKind, Builder, Derived, Pass, Values};
use crate::lipschitz::{Amplification, Cell, MeanValue, Probe};
use crate::{Block, Facts, Noise, Result, Scalar, Shape};

/// A fixed order of the features: `yᵢ = x₍pᵢ₎`. The log-determinant is 0.
#[derive(Clone, Debug)]
pub struct Permute {
    path: String,
    features: usize,
    order: Order,
}

#[derive(Clone, Debug)]
enum Order {
    Reverse,
    Roll(usize),
    Shuffle { permutation: Buffer, inverse: Derived },
}

impl Permute {
    /// `yᵢ = x₍d₋₁₋ᵢ₎`.
    ///
    /// # Errors
    /// As all constructors here: where `shape` holds no numbers.
    pub fn reverse<E: Scalar>(builder: &mut Builder<E>, shape: Shape) -> Result<Self> {
        Self::new(builder, shape, Order::Reverse)
    }

    /// `yᵢ = x₍(i+by) mod d₎`.
    ///
    /// # Errors
    /// As [`reverse`](Self::reverse).
    pub fn roll<E: Scalar>(builder: &mut Builder<E>, shape: Shape, by: usize) -> Result<Self> {
        let by = by % non_empty(shape)?.features();
        Self::new(builder, shape, Order::Roll(by))
    }

    /// A random order. It depends on `seed` and on where the block stands, so that the iterations
    /// of a `repeat` differ, and not on the seed of the flow's starting weights.
    ///
    /// The buffer `permutation` `[features]` is saved with the weights, and one that was loaded
    /// counts instead of the seed.
    ///
    /// # Errors
    /// As [`reverse`](Self::reverse).
    pub fn shuffle<E: Scalar>(builder: &mut Builder<E>, shape: Shape, seed: u64) -> Result<Self> {
        let features = non_empty(shape)?.features();
        let start = Noise::seed(seed).named(&builder.path()).permutation(features);
        let start = start.into_iter().map(|p| E::of(p as f64));
        let permutation = builder.buffer("permutation", &[features], BufferKind::Integer, start);
        let inverse = builder.derived(features);
        Self::new(builder, shape, Order::Shuffle { permutation, inverse })
    }

    fn new<E: Scalar>(builder: &Builder<E>, shape: Shape, order: Order) -> Result<Self> {
        Ok(Self { path: builder.path(), features: non_empty(shape)?.features(), order })
    }

    /// Data to latent, and the gradient of the other direction.
    fn there<E: Scalar>(&self, pass: &mut Pass<'_, E>, x: &mut [E]) {
        let vectors = x.chunks_exact_mut(self.features);
        match &self.order {
            Order::Reverse => vectors.for_each(<[E]>::reverse),
            Order::Roll(by) => vectors.for_each(|x| x.rotate_left(*by)),
            Order::Shuffle { permutation, .. } => {
                let mut scratch = pass.take(self.features);
                let permutation = pass.buffer(permutation);
                vectors.for_each(|x| gather(x, permutation, &mut scratch));
                pass.give(scratch);
            }
        }
    }

    /// Latent to data, and the gradient of the other direction.
    fn back<E: Scalar>(&self, pass: &mut Pass<'_, E>, x: &mut [E]) {
        let vectors = x.chunks_exact_mut(self.features);
        match &self.order {
            Order::Reverse => vectors.for_each(<[E]>::reverse),
            Order::Roll(by) => vectors.for_each(|x| x.rotate_right(*by)),
            Order::Shuffle { inverse, .. } => {
                let mut scratch = pass.take(self.features);
                let inverse = pass.derived(inverse);
                vectors.for_each(|x| gather(x, inverse, &mut scratch));
                pass.give(scratch);
            }
        }
    }
}

impl<E: Scalar> Block<E> for Permute {
    super::orthogonal!(there, back);

    super::lowered!(record);

    fn prepare(&self, values: &Values<E>, derived: &mut [E]) -> Result<()> {
        if let Order::Shuffle { permutation, inverse } = &self.order {
            let permutation = values.buffer(permutation);
            invert("permute", &self.path, permutation, inverse.of_mut(derived))?;
        }
        Ok(())
    }

    fn amplification(&self, probe: &mut Probe<'_, E>) -> Result<Amplification> {
        let backwards = probe.backwards();
        let order = match &self.order {
            Order::Shuffle { permutation, .. } if !backwards => Some(probe.buffer(permutation)),
            Order::Shuffle { inverse, .. } => Some(probe.derived(inverse)),
            _ => None,
        };
        for x in probe.region().chunks_exact_mut(self.features) {
            match (&self.order, order) {
                (Order::Roll(by), _) if backwards => x.rotate_right(*by),
                (Order::Roll(by), _) => x.rotate_left(*by),
                (_, Some(order)) => {
                    let before = x.to_vec();
                    x.iter_mut().zip(order).for_each(|(v, &from)| *v = before[index(from)]);
                }
                _ => x.reverse(),
            }
        }
        Ok(Amplification::ISOMETRY)
    }

    fn mean_value(&self, probe: &mut Probe<'_, E>, cell: &Cell) -> Result<Option<MeanValue>> {
        probe.affine(self, cell).map(Some)
    }

    fn facts(&self) -> Facts {
        Facts::ISOMETRY
    }
}

#[cfg(feature = "cuda")]
#[path = "permute_lowering.rs"]
mod lowering;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::Repeat;
    use crate::engine::Direction;
    use crate::testing::{check_laws, single, Make};

    struct Reverse;
    impl<const D: usize> Make<D, 0> for Reverse {
        type Block = Permute;
        fn make(b: &mut Builder<f64>) -> Result<Permute> {
            Permute::reverse(b, Shape::vector(D))
        }
    }

    struct Roll;
    impl<const D: usize> Make<D, 0> for Roll {
        type Block = Permute;
        fn make(b: &mut Builder<f64>) -> Result<Permute> {
            Permute::roll(b, Shape::vector(D), D + 2)
        }
    }

    struct Shuffle;
    impl<const D: usize> Make<D, 0> for Shuffle {
        type Block = Permute;
        fn make(b: &mut Builder<f64>) -> Result<Permute> {
            Permute::shuffle(b, Shape::vector(D), 7)
        }
    }

    struct Channels;
    impl Make<12, 0> for Channels {
        type Block = Permute;
        fn make(b: &mut Builder<f64>) -> Result<Permute> {
            Permute::shuffle(b, Shape::image(3, 2, 2), 3)
        }
    }

    #[test]
    fn laws_hold() {
        check_laws::<Reverse, 1, 0>();
        check_laws::<Reverse, 5, 0>();
        check_laws::<Roll, 1, 0>();
        check_laws::<Roll, 5, 0>();
        check_laws::<Shuffle, 1, 0>();
        check_laws::<Shuffle, 2, 0>();
        check_laws::<Shuffle, 5, 0>();
        check_laws::<Channels, 12, 0>();
    }

    fn forward<M: Make<5, 0>>() -> Vec<f64> {
        let mut x = vec![0.0, 1.0, 2.0, 3.0, 4.0];
        single::<M, 5, 0>().run(Direction::Forward, &mut x, &[], None).unwrap();
        x
    }

    #[test]
    fn orders_are_as_defined() {
        assert_eq!(forward::<Reverse>(), [4.0, 3.0, 2.0, 1.0, 0.0]);
        assert_eq!(forward::<Roll>(), [2.0, 3.0, 4.0, 0.0, 1.0]);
        let drawn = single::<Shuffle, 5, 0>().state().values.buffers.clone();
        assert_eq!(forward::<Shuffle>(), drawn);
    }

    #[test]
    fn every_pixel_is_shuffled_alike() {
        let machine = single::<Channels, 12, 0>();
        let p: Vec<usize> = machine.state().values.buffers.iter().map(|&p| p as usize).collect();
        let mut x: Vec<f64> = (0..12).map(f64::from).collect();
        machine.run(Direction::Forward, &mut x, &[], None).unwrap();
        for (i, value) in x.into_iter().enumerate() {
            assert_eq!(value, (i - i % 3 + p[i % 3]) as f64);
        }
    }

    #[test]
    fn a_loaded_permutation_counts_and_a_damaged_one_is_refused() {
        let mut machine = single::<Shuffle, 2, 0>();
        for loaded in [[1.0, 0.0], [0.0, 1.0]] {
            machine
                .change(|values| {
                    values.buffers.copy_from_slice(&loaded);
                    Ok(())
                })
                .unwrap();
            let mut x = [0.0, 1.0];
            machine.run(Direction::Forward, &mut x, &[], None).unwrap();
            assert_eq!(x, loaded);
        }
        let damaged = machine.change(|values| {
            values.buffers[0] = 1.0;
            Ok(())
        });
        let text = damaged.unwrap_err().to_string();
        assert!(text.starts_with("permute at 0: entry 1 of its permutation is 1"), "{text}");
    }

    #[test]
    fn iterations_differ_but_the_flows_seed_does_not_matter() {
        let buffers = |seed| {
            let mut b = Builder::<f32>::new(seed);
            let shape = Shape::vector(20);
            b.block("0", |b| Repeat::new(b, 2, |b| Permute::shuffle(b, shape, 4))).unwrap();
            b.finish().1.values.buffers
        };
        let first = buffers(1);
        assert_ne!(first[..20], first[20..]);
        assert_eq!(first, buffers(2));
    }
}
