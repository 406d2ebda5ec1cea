use dfdx::prelude::*;
use flow_core::prelude::*;

flow! {
    pub struct Posterior: Vector<2> given Vector<3> {
        affine_coupling(net = mlp([8], relu));
        affine_coupling(net = mlp([8], relu));
    }
}

fn main() -> Result<(), FlowError> {
    let cpu = Cpu::default();
    let flow = Posterior::<f32>::build(&cpu, 0)?;
    let x = cpu.tensor([[0.5, -1.0], [2.0, 0.0]]);
    let log_prob = flow.log_prob(x)?.mean().array();
    println!("{log_prob}");
    Ok(())
}
