#!/usr/bin/env python3
"""Times six flows on a GPU beside the same models of PyTorch's and JAX's libraries, in turns on the
same card, and prints a table.

    on_card.py --own ./gpu-check                 with the python that has PyTorch and JAX
    on_card.py --own ./gpu-check --workloads W1,W2 --rounds 4 --compile --tf32 --out table.md

Libraries that cannot be imported, or see no card, are named below the table.
"""

import argparse
import datetime
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True

import rounds
import servers
from sizes import NAMES
from table import Table

# What each server needs, and how its library says that it sees a card.
NEEDS = {
    "torch": "import torch, numpy; assert torch.cuda.is_available(), 'PyTorch sees no card'",
    "jax": "import jax, optax, numpy; assert jax.default_backend() == 'gpu', 'JAX sees no card'",
}
# Of both on one card; JAX would take most of its memory at its start.
ENVIRONMENT = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "PYTHONDONTWRITEBYTECODE": "1"}


def options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--own", type=Path, required=True, help="the program gpu-check")
    add("--emulated", action="store_true", help="ours without a card, to try this program")
    add("--workloads", default=",".join(NAMES), help="some of " + ",".join(NAMES))
    add("--rounds", type=int, default=8, help="turns of each model (8)")
    add("--compile", action="store_true", help="also torch.compile: one to two minutes a model")
    add("--tf32", action="store_true", help="matrix products of 19 bits, for all")
    add("--out", type=Path, help="a file for the table, written after each workload")
    chosen = parser.parse_args()
    chosen.workloads = chosen.workloads.upper().split(",")
    if unknown := [name for name in chosen.workloads if name not in NAMES]:
        parser.error(f"no workload {unknown[0]}, expected some of {', '.join(NAMES)}")
    if not chosen.own.is_file():
        parser.error(f"{chosen.own} is not there; scripts/gpu-check builds it")
    return chosen


def missing(name):
    """Why a library is left out, or nothing."""
    tried = subprocess.run([sys.executable, "-c", NEEDS[name]], capture_output=True, text=True)
    if tried.returncode == 0:
        return None
    lines = tried.stderr.strip().splitlines()
    return lines[-1] if lines else f"its python ended with {tried.returncode}"


def card():
    asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "a card that nvidia-smi does not name"
    return found.strip().splitlines()[0]


def versions(names):
    """Of what is installed among them."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found) or "no other library"


def lead(chosen):
    others = ("torch", "nflows", "normflows", "zuko", "FrEIA", "jax", "flowjax", "distrax")
    precision = "TF32 products" if chosen.tf32 else "full single precision"
    where = "an emulated card: times mean nothing" if chosen.emulated else card()
    return (
        f"{where}; {chosen.rounds} rounds in turns, {precision}; {versions(others)}.\n\n"
        f"Medians [10th percentiles] in milliseconds. `-graphed`: the same model captured as CUDA "
        "graphs. Training steps are waited for in tens; ours brings densities and samples to the CPU "
        "and back, the others leave them on the card. Ratio: ours to the fastest other; floor: "
        "operations of the matrix products at the median [fastest decile's] rate of 4096 × 4096."
    )


def main():
    chosen = options()
    os.environ.update(ENVIRONMENT)
    found = rounds.Found()
    extra = [flag for flag in ("--compile", "--tf32") if getattr(chosen, flag[2:])]
    own = [chosen.own.resolve(), "--serve", *(["--tf32"] if chosen.tf32 else [])]
    own += ["--emulated"] if chosen.emulated else []
    commands = {"flow": own}
    for name in NEEDS:
        if why := missing(name):
            found.failures.append(f"{name} is not compared: {why}")
            rounds.say(found.failures[-1])
        else:
            program = servers.HERE / f"{name}_peers.py"
            commands[name] = [sys.executable, program, "--device", "cuda", *extra]
    heading = f"{datetime.date.today()}, beside other libraries on a card"
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        inputs = servers.inputs(sys.executable, place / "inputs") if len(commands) > 1 else None
        with (place / "servers.log").open("w") as log:
            running = [servers.Server(name, c, set(), log) for name, c in commands.items()]
            try:
                for workload in chosen.workloads:
                    rounds.measure(running, workload, chosen.rounds, None, inputs, place, found)
                    text = Table(found, None).markdown(heading, lead(chosen))
                    if chosen.out:
                        chosen.out.write_text(text)
            finally:
                for server in running:
                    server.close()
    print(text)


if __name__ == "__main__":
    main()
