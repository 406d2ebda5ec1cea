use dfdx::prelude::*;
use flow_core::nets::DfdxModule;

type Net = (Linear<2, 8>, ReLU, Linear<8, 2>);

/// As a coupling of two features asks for its net: one passes, and the other has a scale and a shift.
fn net<M: DfdxModule<f32, 1, 2>>() {}

fn main() {
    net::<Net>();
}
