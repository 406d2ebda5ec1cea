"""What a workload computes: its rows, and the operations of its matrix products.

The same six flows as in `benches/src/flows`.
"""

NAMES = {
    "W1": "100 affine couplings, MLP 128×4, d = 2, batch 500",
    "W2": "8 affine couplings, MLP 64×2, d = 2, batch 256",
    "W3": "10 rational-quadratic couplings, 8 bins, MLP 256×2, d = 64, batch 512",
    "W4": "MAF of 5 layers, MADE 512×2, d = 64, batch 512",
    "W5": "Glow, 3×32×32, 3 levels of 8 steps, 128 channels, batch 32",
    "W6": "10 residual blocks, MLP 128×3, d = 2, batch 500",
}
SHAPES = {
    "W1": (500, 2),
    "W2": (256, 2),
    "W3": (512, 64),
    "W4": (512, 64),
    "W5": (32, 3 * 32 * 32),
    "W6": (500, 2),
}
PASSES = ("density", "sampling", "training")


def mlp(rows, widths):
    return 2 * rows * sum(a * b for a, b in zip(widths, widths[1:]))


def glow(images, levels=3, steps=8, hidden=128):
    total, channels, side = 0, 3, 32
    for _ in range(levels):
        channels, side = 4 * channels, side // 2
        half = channels // 2
        net = 9 * half * hidden + hidden * hidden + 9 * hidden * channels
        total += steps * 2 * images * side * side * (net + channels * channels)
        channels = half
    return total


DENSITY = {
    "W1": 100 * mlp(500, [1, 128, 128, 128, 128, 2]),
    "W2": 8 * mlp(256, [1, 64, 64, 2]),
    "W3": 10 * (mlp(512, [32, 256, 256, 32 * 23]) + mlp(512, [64, 64])),
    # Masks counted as dense.
    "W4": 5 * mlp(512, [64, 512, 512, 128]),
    "W5": glow(32),
    # One evaluation of each net, without tangents and without the steps of an inverse.
    "W6": 10 * mlp(500, [2, 128, 128, 128, 2]),
}


def operations(workload, kind):
    """Floating-point operations of a pass's matrix products; those of a training step are the
    forward pass and twice as many for its gradients."""
    return DENSITY[workload] * (3 if kind == "training" else 1)
