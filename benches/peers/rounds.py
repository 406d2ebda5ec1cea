"""Takes turns between the servers, so that what disturbs the machine disturbs all alike."""

import math
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field

from servers import level
from sizes import PASSES

OURS = "flow"
# Passes of one turn: short ones are repeated more often.
TURN = {"W1": 3, "W2": 100, "W3": 3, "W4": 3, "W5": 3, "W6": 3}
# Sampling of a peer that is slower than this many milliseconds has one pass a turn.
SLOW = 300.0
# Seconds before a turn: threads of the one before still spin, and wait for work that does not come.
PAUSE = 0.1
# Milliseconds of passes that begin a turn and do not count. After a rest the caches are full of others'
# numbers, and a virtual machine may leave two threads on one processor for some 40 ms.
WARM = 50.0


@dataclass
class Found:
    """What a run measured. Times are in milliseconds, rates in billions of operations a second."""

    sizes: dict = field(default_factory=dict)
    times: dict = field(default_factory=lambda: defaultdict(list))
    ceilings: dict = field(default_factory=lambda: defaultdict(list))
    failures: list = field(default_factory=list)


def say(text):
    print(text, file=sys.stderr, flush=True)


def load(servers, workload, inputs, weights, found):
    """The models that could be loaded, each with its server."""
    loaded = []
    for server in servers:
        for model in server.models.get(workload, []):
            try:
                size = server.ask(
                    do="load",
                    workload=workload,
                    model=model,
                    inputs=str(inputs / f"{workload}.npy") if inputs else None,
                    weights=str(weights / f"{workload}-{model}.weights"),
                )
            except RuntimeError as error:
                found.failures.append(f"{workload} {model}: {error}")
                say(found.failures[-1])
                continue
            found.sizes[workload, model] = size
            loaded.append((server, model))
            say(f"{workload} {model}: {size['parameters']:,} parameters")
    return loaded


def ceiling(servers, threads, found, times=5):
    """Readings of every server that can use that many threads: JAX cannot choose."""
    for server in servers:
        try:
            readings = server.ask(do="ceiling", times=times, threads=threads or 1)["gflops"]
        except RuntimeError:
            continue
        found.ceilings[threads, server.name].extend(readings)


def run(server, workload, model, kind, times, threads):
    request = {"do": "run", "workload": workload, "model": model, "pass": kind}
    return server.ask(**request, times=times, threads=threads or 1)["milliseconds"]


def take(server, workload, model, kind, times, threads, expected):
    """A turn of passes that are expected to take so many milliseconds each: the first ones do not
    count, unless there is only one."""
    time.sleep(PAUSE)
    spare = max(1, math.ceil(WARM / expected)) if times > 1 else 0
    return run(server, workload, model, kind, times + spare, threads)[spare:]


def measure(servers, workload, rounds, threads, inputs, weights, found):
    """All passes of one workload; `threads` is for the comparison, ours runs on one as well. Without
    `threads` all run on a card, and without `inputs` ours makes its own."""
    loaded = load(servers, workload, inputs, weights, found)
    jobs, expected = [], {}
    for kind in PASSES:
        for server, model in loaded:
            try:  # compiles, where a library does so on its first call
                first, second = run(server, workload, model, kind, 2, threads)
            except RuntimeError as error:
                found.failures.append(f"{workload} {model} {kind}: {error}")
                say(found.failures[-1])
                continue
            say(f"{workload} {model} {kind}: {first:.1f} ms, then {second:.1f} ms")
            jobs.append((kind, server, model))
            expected[kind, model] = second
    level(servers)
    for i in range(rounds):
        ceiling(servers, threads, found)
        for kind, server, model in jobs:
            each = expected[kind, model]
            times = TURN[workload] if each < SLOW else 1
            taken = take(server, workload, model, kind, times, threads, each)
            found.times[workload, model, kind, threads].extend(taken)
        if threads:
            alone(servers, workload, threads, expected, found)
        if level(servers):
            found.failures.append(
                f"{workload}, round {i + 1}: the libraries' priorities were changed meanwhile, which "
                "distorts its ratios"
            )
        say(f"{workload}: round {i + 1} of {rounds}")
    for server in servers:
        server.ask(do="unload")


def alone(servers, workload, threads, expected, found):
    """What only our own server is asked: one thread, and one row."""
    ours = servers[0]
    if workload == "W1" and threads > 1:
        ceiling(servers, 1, found)
        for kind in PASSES:
            taken = take(ours, workload, OURS, kind, 2, 1, expected[kind, OURS])
            found.times[workload, OURS, kind, 1].extend(taken)
    if workload == "W2":
        taken = run(ours, workload, OURS, "one_row", 5, 1)
        found.times[workload, OURS, "one_row", 1].extend(taken)
