//! One function on every number.

use flow_core::prelude::*;

/// Into (−1, 1), and short of its ends.
fn signed(v: f64) -> f64 {
    0.95 * v.tanh()
}

/// Into (0, 1), and short of its ends.
fn unsigned(v: f64) -> f64 {
    0.5 + 0.45 * v.tanh()
}

/// Into (0, ∞), and short of 0.
fn positive(v: f64) -> f64 {
    0.05 + v * v
}

laws! {
    tanh latents signed: { Vector<5> { tanh; } }
    tanh_on_images latents signed: { Image<2, 3, 1> { tanh; } }
    sigmoid latents unsigned: { Vector<5> { sigmoid; } }
    sigmoid_on_images latents unsigned: { Image<1, 2, 3> { sigmoid; } }
    normal_cdf latents unsigned: { Vector<5> { normal_cdf; } }
    softplus latents positive: { Vector<5> { softplus; } }
    logit data unsigned: { Vector<5> { logit; } }
    logit_on_images data unsigned: { Image<2, 2, 2> { logit(0.05); } }
    leaky_relu: { Vector<5> { leaky_relu; } }
    leaky_relu_that_is_steeper_below: { Image<1, 2, 2> { leaky_relu(2.5); } }
    scale: { Vector<5> { scale(-1.7); } }
    scale_that_turns: { Image<1, 2, 3> { scale(-1.0); } }
    one_number: { Vector<1> { scale(0.3); normal_cdf; logit; } }
    there_and_back: { Vector<3> { sigmoid; logit; } }
    spline_activation: { Vector<3> { spline_activation; } }
    spline_activation_of_one: { Vector<1> { spline_activation(bins = 3, beta = 0.5); } }
    spline_activation_with_limits: { Vector<5> { spline_activation(bins = 4, slopes = (0.5, 2.0)); } }
    spline_activation_on_images: { Image<2, 2, 3> { spline_activation(bins = 2, slopes = (0.1, 1.5)); } }
}
