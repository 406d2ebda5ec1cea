use flow_core::prelude::*;

flow! {
    pub struct Line: Vector<2> {
        linear(lu);
    }
}

fn main() -> Result<(), FlowError> {
    let mut flow = Line::<f32>::build(&Cpu::default(), 0)?;
    let rows = Rows::new(vec![0.5_f64, 1.0, 2.0, 3.0], 2)?;
    Trainer::new(Adam::new(1e-3)).fit(&mut flow, &rows)?;
    Ok(())
}
