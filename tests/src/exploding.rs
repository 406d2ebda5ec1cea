//! A flow whose inverse loses its digits, and what a guard must say of it.

use dfdx::prelude::Cpu;
use flow_core::memory::GuardReport;
use flow_core::prelude::*;

use crate::weights;

flow! {
    /// Scales that can be as small as the weights make them.
    pub struct Wide: Vector<12> {
        'steps: repeat 20 {
            affine_coupling(keep = first, scale = sigmoid(0.0, 1.0), net = mlp([8], tanh));
            affine_coupling(keep = second, scale = sigmoid(0.0, 1.0), net = mlp([8], tanh));
        }
    }

    /// A flow that no pass inverts block by block.
    pub struct Curved: Vector<2> {
        affine_coupling(keep = first, net = mlp([8], tanh));
        'curve: ode(net = mlp([8], tanh), solver = rk4(4));
    }
}

/// A flow whose scales are so small that single precision loses most digits at each of some blocks.
///
/// # Panics
/// Where it cannot be built.
pub fn exploding<E: Scalar>() -> Wide<E> {
    let mut flow = Wide::<E>::build(&Cpu::default(), 1).expect("a flow");
    weights::shift(&mut flow, 0.15);
    for (step, by) in [(3, -7.0), (4, -9.0), (15, -10.0)] {
        // A feature's entries are s, then t.
        let bias: Vec<E> = (0..12).map(|i| E::of([by, 1.0][i % 2])).collect();
        flow.set(&format!("steps.{step}.1.net.1.bias"), &bias).expect("a name");
    }
    flow
}

/// Checks what a report says of passes of so many rows through [`exploding`]: more than one explosion,
/// the first of them at the smallest scales, each computed again from the copy before it.
///
/// # Panics
/// Where it says something else.
pub fn check_report(report: &GuardReport, rows: usize) {
    assert_eq!(report.blocks, 40);
    assert!(report.explosions.len() > 1, "{report}");
    assert!(report.explosions[0].block.starts_with("steps.15."), "{report}");
    for explosion in &report.explosions {
        // Copies stand at every seventh of forty blocks.
        let number = |path: &str| -> usize {
            let parts: Vec<usize> =
                path.split('.').skip(1).map(|part| part.parse().expect("a number")).collect();
            2 * parts[0] + parts[1]
        };
        assert_eq!(number(&explosion.copy) % 7, 0, "{report}");
        assert_eq!(number(&explosion.block) + 1 - number(&explosion.copy), explosion.recomputed);
        assert!((1..=rows).contains(&explosion.samples) && explosion.sample < rows, "{report}");
        assert!(explosion.error > 1e-5, "{report}");
    }
}
