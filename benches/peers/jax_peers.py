"""Serves the flows of flowjax and distrax under jit: see serve.py.

On a GPU (`--device cuda`) products are of full single precision unless `--tf32` is given.

JAX takes as many threads as it has processors when it starts, so the driver sets those; weights and
moments are donated to a training step, so that it updates them in place.
"""

import os
from functools import partial

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from serve import Model, Place, Server, options, serve

LEARNING_RATE = 1e-5
LAYERS = {"W1": 100, "W2": 8, "W3": 10, "W4": 5}
WIDTHS = {"W1": [128] * 4, "W2": [64] * 2, "W3": [256] * 2, "W4": [512] * 2}
BINS, BOUND = 8, 3.0


def model(parameters, log_prob, sample, x):
    """`log_prob(parameters, x)` and `sample(parameters, key)` are pure functions."""
    optimizer = optax.adam(LEARNING_RATE)
    key = jr.key(1)
    density, draw = jax.jit(log_prob), jax.jit(sample)

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(parameters, moments, x):
        def loss(p):
            return -log_prob(p, x).mean()

        value, gradient = jax.value_and_grad(loss)(parameters)
        change, moments = optimizer.update(gradient, moments, parameters)
        return optax.apply_updates(parameters, change), moments, value

    own = jax.tree_util.tree_map(jnp.array, parameters)
    state = [own, optimizer.init(own)]

    def step():
        *state[:], value = update(*state, x)
        return state, value

    passes = {
        "density": lambda: density(parameters, x),
        "sampling": lambda: draw(parameters, key),
        "training": step,
    }
    count = sum(leaf.size for leaf in jax.tree_util.tree_leaves(parameters))
    return Model(passes, count, count)


def flowjax(workload, inputs, weights):
    import equinox as eqx
    import paramax
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.distributions import Normal
    from flowjax.flows import coupling_flow, masked_autoregressive_flow

    x = jnp.asarray(np.load(inputs), dtype=jnp.float32)
    d, widths = x.shape[1], WIDTHS[workload]
    options = dict(
        base_dist=Normal(jnp.zeros(d), jnp.ones(d)),
        flow_layers=LAYERS[workload],
        nn_width=widths[0],
        nn_depth=len(widths),
    )
    if workload == "W3":
        options["transformer"] = RationalQuadraticSpline(knots=BINS - 1, interval=BOUND)
    build = masked_autoregressive_flow if workload == "W4" else coupling_flow
    flow = build(jr.key(0), **options)

    def kept(leaf):
        return isinstance(leaf, paramax.NonTrainable)

    parameters, static = eqx.partition(flow, eqx.is_inexact_array, is_leaf=kept)

    def whole(p):
        return paramax.unwrap(eqx.combine(p, static))

    def log_prob(p, x):
        return whole(p).log_prob(x)

    def sample(p, key):
        return whole(p).sample(key, (len(x),))

    return model(parameters, log_prob, sample, x)


def distrax(workload, inputs, weights):
    import distrax
    import haiku as hk

    x = jnp.asarray(np.load(inputs), dtype=jnp.float32)
    d, half = x.shape[1], x.shape[1] // 2
    affine = workload in ("W1", "W2")
    numbers = 2 if affine else 3 * BINS + 1

    def bijector(p):
        if affine:
            scalar = distrax.ScalarAffine(shift=p[..., 0], log_scale=p[..., 1])
        else:
            scalar = distrax.RationalQuadraticSpline(
                p, -BOUND, BOUND, boundary_slopes="identity"
            )
        return distrax.Block(scalar, 1)

    def flow():
        layers = []
        for i in range(LAYERS[workload]):
            mlp = hk.nets.MLP([*WIDTHS[workload], half * numbers])
            net = hk.Sequential([mlp, hk.Reshape((half, numbers), preserve_dims=-1)])
            layers.append(distrax.SplitCoupling(half, 1, net, bijector, swap=bool(i % 2)))
        base = distrax.MultivariateNormalDiag(jnp.zeros(d), jnp.ones(d))
        return distrax.Transformed(base, distrax.Inverse(distrax.Chain(layers)))

    density = hk.without_apply_rng(hk.transform(lambda x: flow().log_prob(x)))
    drawing = hk.transform(lambda: flow().sample(seed=hk.next_rng_key(), sample_shape=(len(x),)))
    parameters = density.init(jr.key(1), x)
    if affine:  # so that a hundred couplings end near where they began

        def small(leaf):
            return 0.01 * leaf if leaf.ndim == 2 and leaf.shape[-1] == half * numbers else leaf

        parameters = jax.tree_util.tree_map(small, parameters)
    return model(parameters, density.apply, drawing.apply, x)


def product(m, k, n):
    left = jnp.asarray(np.random.randn(m, k), dtype=jnp.float32)
    right = jnp.asarray(np.random.randn(k, n), dtype=jnp.float32)
    multiply = jax.jit(jnp.matmul)
    return lambda: multiply(left, right)


def set_threads(threads):
    processors = len(os.sched_getaffinity(0))
    if threads != processors:
        raise ValueError(f"JAX was started with {processors} processors, not {threads}")


def builders():
    found = {w: {"flowjax": partial(flowjax, w)} for w in LAYERS}
    for workload in ("W1", "W2", "W3"):
        found[workload]["distrax"] = partial(distrax, workload)
    return found


def main():
    chosen = options(__doc__)
    if chosen.device == "cpu":
        serve(Server(builders(), product, set_threads, Place(jax.block_until_ready)))
        return
    if jax.default_backend() != "gpu":
        raise SystemExit(f"JAX sees no GPU, its backend is {jax.default_backend()}")
    precision = "tensorfloat32" if chosen.tf32 else "float32"
    jax.config.update("jax_default_matmul_precision", precision)
    place = Place.card(jax.block_until_ready)
    serve(Server(builders(), product, lambda threads: None, place))


if __name__ == "__main__":
    main()
