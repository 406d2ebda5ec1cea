"""Serves the flows of nflows, normflows, zuko and FrEIA: see serve.py. With `--compile`, also
nflows (W1, W2) and zuko (W3) under torch.compile, which takes one to two minutes each. On a GPU
(`--device cuda`) each is there as it comes and with whole passes captured as CUDA graphs; products
are of full single precision unless `--tf32` is given."""

import os

import numpy as np
import torch
from torch import nn

import torch_flows as flows
from graphs import Graphed
from serve import Model, Place, Server, options, serve

LEARNING_RATE = 1e-5


def small_last_layers(module):
    """So that a hundred couplings end near where they began."""
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Linear) and layer.out_features == 2:
                layer.weight *= 0.01
                layer.bias *= 0.01


def numbers(tensors):
    return sum(tensor.numel() for tensor in tensors if tensor.requires_grad)


def nets(module):
    """The numbers in conditioners: layers that are not themselves maps of a flow."""
    kinds = ("Linear", "MaskedLinear", "InducedNormLinear", "Conv2d")
    layers = [m for m in module.modules() if type(m).__name__ in kinds]
    own = {id(p): p for layer in layers for p in layer.parameters(recurse=False)}
    return numbers(own.values())


def training(module, log_prob, x, rate, after=lambda: None):
    """A training step, by the Adam that is fastest on CPUs."""
    trained = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=rate, fused=True, capturable=x.is_cuda)

    def step(x=x):
        module.train()
        optimizer.zero_grad(set_to_none=True)
        (-log_prob(x).mean()).backward()
        optimizer.step()
        after()

    return step


def model(module, log_prob, sample, x, after=lambda: None, graphed=False):
    def density():
        module.eval()
        with torch.no_grad():
            log_prob(x)

    def sampling():
        module.eval()
        with torch.no_grad():
            sample(len(x))

    step = training(module, log_prob, x, LEARNING_RATE, after)
    passes = {"density": density, "sampling": sampling, "training": step}
    if graphed:
        passes = {name: Graphed(call) for name, call in passes.items()}
    return Model(passes, numbers(module.parameters()), nets(module))


def loader(build, library, shape, small=False, compiled=False, graphed=False):
    def load(inputs, weights):
        torch.manual_seed(0)
        x = torch.tensor(np.load(inputs), dtype=torch.float32).reshape(-1, *shape)
        module, log_prob, sample = build(library)
        if small:
            small_last_layers(module)
        module.train()
        with torch.no_grad():
            log_prob(x)  # activation normalisation starts from data
        if compiled:
            log_prob = torch.compile(log_prob, dynamic=False)
            sample = torch.compile(sample, dynamic=False)
        return model(module, log_prob, sample, x, graphed=graphed)

    return load


def load_residual(inputs, weights):
    """After 400 steps, as at the start the inverse takes one step: kept in a file."""
    torch.manual_seed(0)
    x = torch.tensor(np.load(inputs), dtype=torch.float32)
    module, log_prob, sample, after = flows.residual()
    with torch.no_grad():
        log_prob(x)
    if weights and os.path.exists(weights):
        module.load_state_dict(torch.load(weights))
    else:
        step = training(module, log_prob, x, 1e-3, after)
        for _ in range(400):
            step(checkerboard(len(x)))
        if weights:
            torch.save(module.state_dict(), weights)
    return model(module, log_prob, sample, x, after)


def checkerboard(rows):
    x = 4 * torch.rand(rows) - 2
    y = torch.rand(rows) - 2 * torch.randint(0, 2, (rows,)) + torch.floor(x) % 2
    return 2 * torch.stack([x, y], 1)


def product(m, k, n):
    left, right, out = torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)

    def call():
        with torch.inference_mode():
            return torch.mm(left, right, out=out)

    return call


def builders(compiled, graphed):
    def each(libraries, build, shape, small=False):
        found = {name: loader(build, name, shape, small) for name in libraries}
        if graphed:
            for name in libraries:
                found[f"{name}-graphed"] = loader(build, name, shape, small, graphed=True)
        return found

    def deep(library):
        return flows.affine(library, 100, [128] * 4)

    def little(library):
        return flows.affine(library, 8, [64] * 2)

    every = ["nflows", "normflows", "zuko", "freia"]
    found = {
        "W1": each(every, deep, [2], small=True),
        "W2": each(every, little, [2], small=True),
        "W3": each(["nflows", "normflows", "zuko", "zuko-permuted"], flows.splines, [64]),
        "W4": each(["nflows", "normflows", "zuko"], flows.autoregressive, [64]),
        "W5": each(["nflows", "normflows", "freia"], flows.glow, [3, 32, 32]),
        "W6": {"normflows": load_residual},
    }
    if compiled:
        found["W1"]["nflows-compiled"] = loader(deep, "nflows", [2], small=True, compiled=True)
        found["W2"]["nflows-compiled"] = loader(little, "nflows", [2], small=True, compiled=True)
        found["W3"]["zuko-compiled"] = loader(flows.splines, "zuko-permuted", [64], compiled=True)
    return found


def main():
    chosen = options(__doc__)
    if chosen.device == "cpu":
        serve(Server(builders(chosen.compile, False), product, torch.set_num_threads, Place()))
        return
    torch.set_default_device(chosen.device)
    torch.backends.cuda.matmul.allow_tf32 = chosen.tf32
    torch.backends.cudnn.allow_tf32 = chosen.tf32
    place = Place.card(lambda result: torch.cuda.synchronize())
    serve(Server(builders(chosen.compile, True), product, lambda threads: None, place))


if __name__ == "__main__":
    main()
