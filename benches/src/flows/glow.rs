use flow_core::prelude::*;

flow! {
    /// Glow on colour images, three levels of eight steps: a batch is 32 images.
    pub struct Glow: Image<3, 32, 32> {
        multiscale 3 {
            squeeze(2);
            repeat 8 {
                actnorm;
                conv1x1(lu);
                affine_coupling(
                    keep = first,
                    scale = sigmoid(0.001, 1.001),
                    net = conv([3, 1, 3], hidden = 128, relu, zero_init = false)
                );
            }
        }
    }
}
