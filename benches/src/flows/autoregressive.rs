use flow_core::prelude::*;

flow! {
    /// Five masked autoregressive layers: a batch is 512 rows.
    pub struct Autoregressive: Vector<64> {
        repeat 5 {
            masked_autoregressive(affine, net = made([512, 512], relu, zero_init = false));
            permute(reverse);
        }
    }
}
