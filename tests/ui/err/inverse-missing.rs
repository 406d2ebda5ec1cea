use flow_core::prelude::*;

flow! {
    pub struct Posterior: Vector<4> {
        actnorm;
        planar;
    }
}

fn main() -> Result<(), FlowError> {
    let flow = Posterior::<f32>::build(&flow_core::Cpu::default(), 0)?;
    flow.sample(3, &mut Noise::seed(0))?;
    Ok(())
}
