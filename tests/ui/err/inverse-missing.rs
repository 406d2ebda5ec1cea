use flow_core::prelude::*;

flow! {
    pub struct Posterior: Vector<4> {
        actnorm;
        planar;
    }
}

fn samples<F: NormalizingFlow>(flow: &F) {
    let _ = flow.sample(1, &mut Noise::seed(0));
}

fn main() -> Result<(), FlowError> {
    let flow = Posterior::<f32>::build(&flow_core::Cpu::default(), 0)?;
    flow.sample(3, &mut Noise::seed(0))?;
    samples(&flow);
    Ok(())
}
