"""A pass of PyTorch as one CUDA graph: the kernels without the calls that lead to them."""

import torch

# Calls before a capture, in which libraries make their handles and choose their kernels.
WARM_UP = 3


class Graphed:
    """Captures `call` at its first call, and replays it after that. It must work on the same
    tensors each time and never look at a number on the card."""

    def __init__(self, call):
        self.call = call
        self.graph = None

    def __call__(self):
        if self.graph is None:
            self.graph = self.capture()
        self.graph.replay()

    def capture(self):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self.call()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.call()
        return graph
