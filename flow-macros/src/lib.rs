//! The [`flow!`] macro. Use it through `flow-core`, which re-exports it.

mod architecture;
mod catalog;
mod check;
mod dim;
mod emit;
mod expand;
mod fallback;
mod lower;
mod parameters;
mod parse;
mod report;
mod syntax;
#[cfg(test)]
mod tests;

/// Declares normalizing flows: structs whose body is a list of invertible blocks.
///
/// ```ignore
/// use flow_core::prelude::*;
///
/// flow! {
///     /// Density of household power readings.
///     #[require(analytic_inverse)]
///     pub struct Power: Vector<6> {
///         standardize;
///         repeat 8 {
///             linear(lu);
///             spline_coupling(bins = 8, bound = 5.0, net = mlp([128, 128], swish));
///         }
///     }
/// }
///
/// let flow = Power::<f32>::build(&Default::default(), 0)?;
/// ```
///
/// Each flow becomes the struct of that name, which derefs to `flow_core::Flow`. Its type
/// parameters follow its own: `Name<.., E = f32, B = Cpu>`, the scalar and the device. Its rustdoc
/// has a table of its items.
///
/// # Grammar
///
/// ```text
/// flow      := attribute* visibility "struct" Name [ "<" const parameters ">" ]
///              ":" event [ "given" event ] "{" item* "}"
/// event     := "Vector" "<" dim ">" | "Image" "<" dim "," dim "," dim ">"
/// item      := [ 'label ":" ] ( block ";"
///            | "repeat" count "{" item* "}"
///            | "multiscale" levels [ "(" argument,* ")" ] "{" item* "}" )
/// block     := name [ "(" argument,* ")" ]
///            | "use" Path [ "(" expression,* ")" ] [ "->" event ]
/// argument  := value | name "=" value
/// value     := number | fraction | list | tuple | name [ "(" argument,* ")" ]
///            | constant | "use" Path
/// dim,count := integer | constant
/// constant  := path | "{" const expression "}"
/// ```
///
/// One or more flows per `flow!`. Items run from data to latent. An `Image` has channels, height
/// and width; a context (`given`) is a vector. Positional arguments fill, in order, what no name has
/// filled, and may follow named ones. Levels, counts of bodies that change the shape, and numbers in
/// contracts are literals; every other size or count may be a constant. In arguments a constant by
/// itself is upper case. Sizes, counts, the product of nested counts and the weights of a block are at
/// most 4294967295.
///
/// With `struct Name<const D: usize>: Vector<D>`, what only rustc can compute is checked where the
/// flow is built. Blocks that change the shape need numbers or named constants.
///
/// # Items
///
/// - `repeat n { … }` runs its body `n` times, each with weights of its own. A body that keeps the
///   shape is compiled once, whatever `n` is.
/// - `multiscale n (keep = 1/2) { … }` runs its body `n` times. After each level but the last,
///   `keep` of the features go on and the rest are latent. What follows sees a vector of the whole
///   size. Of the only `multiscale` of a flow, where it comes last, `flow.levels(&z)` gives each
///   level's part of the latents in a shape of its own, and `flow.join_levels(…)` joins them.
/// - `use Path(arguments) -> event` is a block of one's own, or another flow: anything that
///   implements `flow_core::Component`. Without an event it keeps the shape.
/// - A label (`'name:`) takes the place of the item's position, counted from 0, in the names of
///   parameters: `steps.3.0.net.1.weight`. Labels are unique among siblings.
///
/// # Blocks
///
/// Data → latent, with `d` the features: entries of a vector, channels of an image. The exact meaning of
/// each, with its parameters, starts, ranges and bounds, is in `flow_core::reference`.
///
/// | block | maps | on |
/// |---|---|---|
/// | `standardize` | y = (x − mean)/std, from the data | both |
/// | `actnorm` | y = x·exp(log_scale) + shift, first set from the data | both |
/// | `permute(reverse)`, `permute(roll(by))`, `permute(shuffle(seed))` | another order of the features | both |
/// | `linear(diagonal)` | y = x·exp(log_scale) | vectors |
/// | `linear(lu)`, `conv1x1(lu)` | y = P·L·U·x | vectors, images |
/// | `linear(orthogonal)`, `linear(householder(count))`, `conv1x1(orthogonal)` | a product of reflections, `d` of them or `count` | vectors, images |
/// | `linear(dense)`, `linear(svd)`, `conv1x1(dense)` | y = W·x; y = U·S·Vᵀ·x | vectors, images |
/// | `invertible_conv(kernel, kappa = 1.0)` | squeeze, then a matrix at every pixel, at the start kappa·I | images |
/// | `additive_coupling(keep, net)` | b + t(a) | both |
/// | `affine_coupling(keep, scale = exp, net)` | b·g(s(a)) + t(a) | both |
/// | `spline_coupling(keep, bins = 8, bound = 3.0, net)` | a rational-quadratic spline of b, of at most 999 bins | both |
/// | `dual_affine_coupling(scale = exp, net)` | both halves, one after the other | both |
/// | `masked_autoregressive(affine, scale = exp, net)`, `…(spline, net)` | zᵢ from xᵢ and x₍<i₎ | vectors |
/// | `inverse_autoregressive(…)` | the inverse of such a map | vectors |
/// | `residual(lipschitz, net, log_det = exact, tolerance = 1e-14)` | x + g(x); also `series(terms, trace = hutchinson)`, `roulette(p = 0.5, exact_terms = 2)` | both |
/// | `ode(net, time = 1.0, solver = rk4(20), trace = exact)` | dx/dt = f(x, t); also `dopri5(tolerance)`, `hutchinson` | both |
/// | `squeeze(factor)`, `unsqueeze(factor)`, `haar`, `flatten` | pixels to channels and back, wavelets, to a vector | images |
/// | `spline_activation(bins = 16, slopes = (0.0, 1.0), beta)` | a learned spline for each feature, at first of slope `beta`, or of one near 1 | both |
/// | `tanh`, `sigmoid`, `logit(alpha = 0.0)`, `normal_cdf`, `leaky_relu(slope = 0.01)`, `softplus`, `scale(factor)` | element by element | both |
/// | `planar`, `radial`, `sylvester(rank)` | forward only; the rank is at most `d` | vectors |
///
/// A flow with a forward-only block has no inverse and no samples: asking for them is a compile
/// error.
///
/// **Couplings.** `a` passes unchanged and feeds the net, `b` is transformed. `keep` names what
/// passes: `first` (0..⌊d/2⌋), `second`, `even` (0, 2, …), `odd` on vectors; `first`, `second`,
/// `checker_even`, `checker_odd` on images. Without it, couplings alternate first, second as they
/// stand in the text. In a flow of two or more couplings, a feature that is never transformed is an
/// error, where the macro can follow all of them.
///
/// **Scales.** `exp`: exp(s). `tanh(limit)`: exp(limit·tanh(s/limit)). `sigmoid(low, high, shift =
/// 2.0)`: low + (high − low)·σ(s + shift). `mexican_hat(m, beta = 1.0)`, in couplings: log g is the
/// mean of m hats (1 − φ²)·exp(−φ²/2) with φ = w·s + b, at first such that g = 1/beta. A
/// `dual_affine_coupling` with it and a `spline_activation` of the same `beta` behind start
/// volume-preserving together.
///
/// **Nets.** `mlp([widths], activation)` on vectors, `conv([kernels], hidden, activation)` on
/// images, `resnet(blocks, hidden, activation)` on both, `made([widths], activation)` in
/// autoregressive blocks, each with `zero_init = true` (the last layer starts at zero, so that the
/// block starts near the identity), `lipschitz = c` (a certified bound on the whole net) and
/// `weight_norm = false` (with `true`, lengths and directions of weights are trained apart). A `resnet`
/// takes `attention = false`: with `true` its blocks gate their channels by what they see of the whole
/// image, which no `lipschitz` bounds. `use Module` is a dfdx module, in couplings on vectors of a known size.
/// Activations: `relu`, `elu`, `leaky_relu`, `tanh`, `swish`, `gelu`, `softplus`.
///
/// # Attributes
///
/// - `#[require(…)]`: contracts, below. Several attributes and several contracts in one are fine.
/// - `#[base(normal | uniform | logistic | mixture(components))]`: what latents are distributed as.
///   Default: `normal`.
/// - `#[flow(crate = path)]`: where `flow_core` is, if under another name.
/// - Doc comments and other attributes pass through to the struct; `cfg` and lint levels hold for all
///   of the generated code.
///
/// # Contracts
///
/// | `#[require(…)]` | holds when |
/// |---|---|
/// | `analytic_inverse` | every block inverts in closed form |
/// | `volume_preserving` | the log-determinant is 0 for every input and weight |
/// | `constant_log_det` | the log-determinant does not depend on the input |
/// | `bi_lipschitz` | every block has a finite global bound both ways at every weight. Affine and spline couplings have none |
/// | `lipschitz(forward <= a, inverse <= b)` | a bound that holds for all weights, multiplied through the flow, is within the budget. `actnorm` and `linear(lu)` have none |
/// | `memory_saving` | activations can be recomputed from outputs: analytic or contractive blocks only |
///
/// The error names the block that breaks the contract, and for a budget its own bound and the
/// product up to it. Blocks of one's own state what holds for them in `Component::FACTS`.
#[proc_macro]
pub fn flow(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand::expand(input.into()).into()
}
