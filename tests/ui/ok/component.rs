//! Flows and blocks of one's own as blocks.

use flow_core::prelude::*;
use flow_core::{Block, Builder, Component, Facts, Pass, Result, Shape, Site};

/// `z = −x`, or another sign.
pub struct Sign<const NEGATIVE: bool>;

impl<const NEGATIVE: bool, E: Scalar> Block<E> for Sign<NEGATIVE> {
    fn forward(&self, _: &mut Pass<'_, E>, x: &mut [E], _: &mut [E]) -> Result<()> {
        if NEGATIVE {
            for v in x {
                *v = -*v;
            }
        }
        Ok(())
    }

    fn inverse(&self, pass: &mut Pass<'_, E>, z: &mut [E], log_det: &mut [E]) -> Result<()> {
        self.forward(pass, z, log_det)
    }

    fn forward_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], _: &[E]) -> Result<()> {
        self.forward(pass, gradient, &mut [])
    }

    fn inverse_vjp(&self, pass: &mut Pass<'_, E>, gradient: &mut [E], _: &[E]) -> Result<()> {
        self.forward(pass, gradient, &mut [])
    }
}

impl<const NEGATIVE: bool, E: Scalar> Component<E> for Sign<NEGATIVE> {
    type Block = Self;
    type Arguments = (usize, &'static str);
    const FACTS: Facts = Facts::ISOMETRY;

    fn component(
        _: &mut Builder<E>,
        site: Site,
        (features, name): Self::Arguments,
    ) -> Result<Self> {
        assert_eq!((site.input, name), (Shape::vector(features), "sign"));
        Ok(Self)
    }
}

flow! {
    /// A flow that others use.
    pub struct Inner<const D: usize>: Vector<D> {
        actnorm;
        linear(lu);
    }

    /// Three flows deep, in a repeat, in a multi-scale part.
    #[require(analytic_inverse, bi_lipschitz, constant_log_det, memory_saving)]
    pub struct Outer: Vector<4> {
        use Inner<4>;
        'twice: repeat 2 {
            use Sign::<true>(4, "sign");
            use Inner::<4> -> Vector<4>;
        }
        multiscale 2 {
            actnorm;
        }
    }

    /// A budget over blocks of one's own.
    #[require(volume_preserving, lipschitz(forward <= 1.0, inverse <= 1.0))]
    pub struct Isometry: Vector<2> {
        use Sign::<true>(2, "sign");
        repeat 3 {
            use Sign::<false>(2, "sign");
            linear(orthogonal);
        }
    }
}

#[test]
fn flows_are_blocks() {
    let data = crate::normal::<4>(16);
    let mut flow = Outer::<f64>::build(&crate::cpu(), 1).expect("a flow");
    flow.initialize(data.clone()).expect("a first batch");
    crate::round_trip(&flow, data, 1e-9);
    let names: Vec<&str> = flow.parameters().map(|parameter| parameter.name).collect();
    assert!(names.contains(&"0.0.log_scale") && names.contains(&"twice.1.1.1.lower"), "{names:?}");
}

#[test]
fn facts_reach_through_components() {
    let flow = Isometry::<f32>::build(&crate::cpu(), 1).expect("a flow");
    assert_eq!(Block::<f32>::facts(flow.blocks()), Facts::ISOMETRY);
    let facts = <Outer as Component<f64>>::FACTS;
    assert!(facts.analytic_inverse && facts.forward.is_infinite());
    assert_eq!(<Outer as Component<f64>>::OUTPUT, Some(Shape::vector(4)));
}
