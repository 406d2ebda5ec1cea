"""The six flows in nflows, normflows, zuko and FrEIA.

Each function returns a module, its log-density and its sampler, and where a library asks for it a
call that follows each step of an optimiser.
"""

import math
from functools import partial

import torch
from torch import nn


def mlp(widths):
    layers = []
    for a, b in zip(widths[:-2], widths[1:-1]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def conv(inputs, outputs, hidden=128):
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(hidden, hidden, 1),
        nn.ReLU(),
        nn.Conv2d(hidden, outputs, 3, padding=1),
    )


class WithContext(nn.Module):
    """nflows and normflows call nets with a context, here none."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, context=None):
        return self.net(x)


def of_nflows(transforms, shape):
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow
    from nflows.transforms import CompositeTransform

    if isinstance(transforms, list):
        transforms = CompositeTransform(transforms)
    flow = Flow(transforms, StandardNormal(shape))
    return flow, flow.log_prob, flow.sample


def of_normflows(flows, width):
    import normflows as nf

    flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(width, trainable=False), flows)
    return flow, flow.log_prob, lambda rows: flow.sample(rows)[0]


def of_zuko(flow):
    return flow, lambda x: flow().log_prob(x), lambda rows: flow().sample((rows,))


def of_freia(flow, width):
    constant = 0.5 * width * math.log(2 * math.pi)

    def log_prob(x):
        z, log_det = flow(x)
        return -0.5 * (z**2).sum(1) - constant + log_det

    return flow, log_prob, lambda rows: flow(torch.randn(rows, width), rev=True)[0]


def affine(library, blocks, hidden):
    if library == "nflows":
        from nflows.transforms import AffineCouplingTransform

        def net(inputs, outputs):
            return WithContext(mlp([inputs, *hidden, outputs]))

        masks = [[0, 1], [1, 0]]
        return of_nflows([AffineCouplingTransform(masks[i % 2], net) for i in range(blocks)], [2])
    if library == "normflows":
        import normflows as nf

        flows = []
        for _ in range(blocks):
            net = nf.nets.MLP([1, *hidden, 2])
            flows += [nf.flows.AffineCouplingBlock(net), nf.flows.Permute(2, mode="swap")]
        return of_normflows(flows, 2)
    if library == "zuko":
        import zuko

        return of_zuko(zuko.flows.NICE(2, transforms=blocks, hidden_features=hidden))
    import FrEIA.framework as framework
    import FrEIA.modules as modules

    flow = framework.SequenceINN(2)
    for _ in range(blocks // 2):  # one of these is a coupling of each half
        flow.append(
            modules.GLOWCouplingBlock,
            subnet_constructor=lambda inputs, outputs: mlp([inputs, *hidden, outputs]),
        )
    return of_freia(flow, 2)


def splines(library, d=64, layers=10, bins=8, bound=3.0, hidden=256):
    def net(inputs, outputs):
        return WithContext(mlp([inputs, hidden, hidden, outputs]))

    options = dict(num_bins=bins, tails="linear", tail_bound=bound)
    if library == "nflows":
        from nflows.transforms import LULinear, RandomPermutation
        from nflows.transforms import PiecewiseRationalQuadraticCouplingTransform as Coupling
        from nflows.utils import create_alternating_binary_mask as mask

        transforms = []
        for i in range(layers):
            transforms += [
                RandomPermutation(d),
                LULinear(d, identity_init=True),
                Coupling(mask(d, even=i % 2 == 0), net, **options),
            ]
        return of_nflows(transforms, [d])
    if library == "normflows":
        import normflows as nf
        from normflows.flows.base import Reverse
        from normflows.flows.neural_spline.coupling import (
            PiecewiseRationalQuadraticCoupling as Coupling,
        )
        from normflows.utils.masks import create_alternating_binary_mask as mask

        flows = []
        for i in range(layers):
            options["apply_unconditional_transform"] = False
            coupling = Coupling(mask(d, even=i % 2 == 0), net, **options)
            flows += [Reverse(coupling), nf.flows.LULinearPermute(d)]
        return of_normflows(flows, d)
    # zuko: with a linear map by LU factors, or with a permutation, whose inverse is cheaper.
    from zuko.distributions import DiagNormal
    from zuko.flows.coupling import GeneralCouplingTransform
    from zuko.lazy import Flow, UnconditionalDistribution, UnconditionalTransform
    from zuko.transforms import LULinearTransform, MonotonicRQSTransform, PermutationTransform

    transforms = []
    for i in range(layers):
        if library == "zuko":
            start = torch.eye(d) + 0.01 * torch.randn(d, d)
            transforms.append(UnconditionalTransform(LULinearTransform, start))
        else:
            shuffled = torch.randperm(d)
            transforms.append(UnconditionalTransform(PermutationTransform, shuffled, buffer=True))
        coupling = GeneralCouplingTransform(
            d,
            mask=torch.arange(d) % 2 == i % 2,
            univariate=partial(MonotonicRQSTransform, bound=bound),
            shapes=[(bins,), (bins,), (bins - 1,)],
            hidden_features=[hidden, hidden],
        )
        transforms.append(coupling)
    base = UnconditionalDistribution(DiagNormal, torch.zeros(d), torch.ones(d), buffer=True)
    return of_zuko(Flow(transforms, base))


def autoregressive(library, d=64, layers=5, hidden=512):
    if library == "nflows":
        from nflows.transforms import MaskedAffineAutoregressiveTransform, ReversePermutation

        transforms = []
        for _ in range(layers):
            masked = MaskedAffineAutoregressiveTransform(
                d, hidden, num_blocks=1, use_residual_blocks=False
            )
            transforms += [ReversePermutation(d), masked]
        return of_nflows(transforms, [d])
    if library == "normflows":
        import normflows as nf
        from normflows.flows.base import Reverse

        flows = []
        for _ in range(layers):
            masked = nf.flows.MaskedAffineAutoregressive(
                d, hidden, num_blocks=1, use_residual_blocks=False
            )
            # As it stands its density is the sequential direction.
            flows += [Reverse(masked), nf.flows.Permute(d)]
        return of_normflows(flows, d)
    import zuko

    return of_zuko(zuko.flows.MAF(d, transforms=layers, hidden_features=[hidden, hidden]))


def glow(library, levels=3, steps=8):
    if library == "nflows":
        from nflows.transforms import (
            ActNorm,
            AffineCouplingTransform,
            CompositeTransform,
            MultiscaleCompositeTransform,
            OneByOneConvolution,
            SqueezeTransform,
        )
        from nflows.utils import create_mid_split_binary_mask as mask

        flow, channels, side = MultiscaleCompositeTransform(levels), 3, 32
        for _ in range(levels):
            channels, side = 4 * channels, side // 2
            transforms = [SqueezeTransform()]
            for _ in range(steps):
                coupling = AffineCouplingTransform(
                    mask(channels), lambda inputs, outputs: WithContext(conv(inputs, outputs))
                )
                transforms += [ActNorm(channels), OneByOneConvolution(channels), coupling]
            rest = flow.add_transform(CompositeTransform(transforms), (channels, side, side))
            channels = rest[0] if rest else channels
        return of_nflows(flow, [3 * 32 * 32])
    if library == "normflows":
        import normflows as nf

        bases, merges, flows = [], [], []
        for i in range(levels):
            channels = 3 * 2 ** (levels + 1 - i)
            blocks = [
                nf.flows.GlowBlock(channels, 128, split_mode="channel", scale=True)
                for _ in range(steps)
            ]
            flows.append([*blocks, nf.flows.Squeeze()])
            if i > 0:
                merges.append(nf.flows.Merge())
            side = 32 // 2 ** (levels - i)
            shape = (channels if i == 0 else channels // 2, side, side)
            bases.append(nf.distributions.DiagGaussian(shape, trainable=False))
        flow = nf.MultiscaleFlow(bases, flows, merges, class_cond=False)
        return flow, lambda x: flow.log_prob(x, None), lambda rows: flow.sample(rows)[0]
    # FrEIA's 1×1 convolution is a rotation that is not trained.
    import FrEIA.framework as framework
    import FrEIA.modules as modules

    start = framework.InputNode(3, 32, 32)
    nodes, here, latents, channels = [start], start.out0, [], 3

    def add(*arguments):
        nodes.append(framework.Node(*arguments))
        return nodes[-1]

    for level in range(levels):
        channels *= 4
        here = add(here, modules.IRevNetDownsampling, {}).out0
        for _ in range(steps):
            options = dict(subnet_constructor=conv, permute_soft=True)
            here = add(here, modules.AllInOneBlock, options).out0
        latent = here
        if level < levels - 1:
            channels //= 2
            split = add(here, modules.Split, dict(section_sizes=(channels, channels), dim=0))
            here, latent = split.out0, split.out1
        latents.append(add(latent, modules.Flatten, {}).out0)
    joined = add(latents, modules.Concat, {})
    nodes.append(framework.OutputNode(joined))
    return of_freia(framework.GraphINN(nodes), 3 * 32 * 32)


def residual(blocks=10, hidden=128, lipschitz=0.9):
    """normflows, with exact log-determinants, and an inverse that stops at 1e-5: as it comes it
    stops where the square of a step falls below 1e-5."""
    import normflows as nf

    flows = []
    for _ in range(blocks):
        net = nf.nets.LipschitzMLP(
            [2, hidden, hidden, hidden, 2], init_zeros=False, lipschitz_const=lipschitz
        )
        flow = nf.flows.Residual(net, reduce_memory=False, brute_force=True)
        block = flow.iresblock
        block._inverse_fixed_point = partial(block._inverse_fixed_point, atol=1e-10, rtol=0.0)
        flows.append(flow)
    model, log_prob, _ = of_normflows(flows, 2)

    def sample(rows):
        x = model.q0(rows)[0]
        for flow in model.flows:
            x = flow.iresblock.inverse(x)
        return x

    return model, log_prob, sample, lambda: nf.utils.update_lipschitz(model, 5)
