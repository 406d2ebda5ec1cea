"""The server that the peers share with flow's own `serve-workloads`: requests as lines of JSON.

    {"do": "models"}                                             {"W1": ["nflows", …], …}
    {"do": "load", "workload", "model", "inputs", "weights"}     {"parameters": n, "nets": n}
    {"do": "run", "workload", "model", "pass", "times", "threads"}   {"milliseconds": […]}
    {"do": "ceiling", "times", "threads"}                        {"gflops": […]}
    {"do": "unload"}                                             {}

or {"error": "…"}. Passes are `density`, `sampling` and `training`; a model may lack some.
"""

import argparse
import gc
import json
import sys
import time
import warnings
from dataclasses import dataclass, field
from typing import Callable


@dataclass
class Place:
    """Where a library computes, and how its work is waited for: what a pass returns is given to
    `wait`. Training steps are waited for after each `burst`; the ceiling is that of `products`
    products of matrices with these sides."""

    wait: Callable = lambda result: None
    burst: int = 1
    products: int = 200
    sides: tuple = (500, 128, 128)

    @classmethod
    def card(cls, wait):
        """A GPU: matrices that fill it, and steps that follow each other as in a training."""
        return cls(wait, burst=10, products=20, sides=(4096, 4096, 4096))


def options(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--compile", action="store_true", help="also under torch.compile")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--tf32", action="store_true", help="products of 19 bits on a GPU")
    return parser.parse_args()


@dataclass
class Model:
    """A flow of some library: what to call, and how large it is."""

    passes: dict[str, Callable[[], None]]
    parameters: int
    nets: int
    keep: list = field(default_factory=list)


class Server:
    """Answers requests; `builders[workload][model]` loads a model from its inputs."""

    def __init__(self, builders, product, set_threads, place):
        self.builders = builders
        self.product = product
        self.set_threads = set_threads
        self.place = place
        self.loaded = {}

    def models(self):
        return {workload: list(models) for workload, models in self.builders.items()}

    def load(self, workload, model, inputs, weights=None):
        loaded = self.builders[workload][model](inputs, weights)
        self.loaded[workload, model] = loaded
        return {"parameters": int(loaded.parameters), "nets": int(loaded.nets)}

    def run(self, workload, model, times, threads, **request):
        passes = self.loaded[workload, model].passes
        call = passes[request["pass"]]
        self.set_threads(threads)
        burst = self.place.burst if request["pass"] == "training" else 1

        def reading():
            for _ in range(burst):
                result = call()
            self.place.wait(result)

        reading()
        return {"milliseconds": [1e3 * seconds(reading) / burst for _ in range(times)]}

    def ceiling(self, times, threads):
        self.set_threads(threads)
        m, k, n = self.place.sides
        call = self.product(m, k, n)
        self.place.wait(call())

        def products():
            for _ in range(self.place.products):
                result = call()
            self.place.wait(result)

        operations = 2 * m * k * n * self.place.products
        return {"gflops": [operations / seconds(products) / 1e9 for _ in range(times)]}

    def unload(self):
        self.loaded.clear()
        gc.collect()
        return {}

    def answer(self, line):
        request = json.loads(line)
        do = request.pop("do")
        if do not in ("models", "load", "run", "ceiling", "unload"):
            raise ValueError(f"no request {do}, expected models, load, run, ceiling or unload")
        return getattr(self, do)(**request)


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def serve(server):
    """Answers each line of standard input; what libraries print goes to standard error."""
    warnings.filterwarnings("ignore")
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        try:
            answer = server.answer(line)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=out, flush=True)
