"""Reference posteriors of the two moons task of sbibm (Lueckmann et al. 2021), MIT licence.

For ten observations: what was observed and the parameters behind it, and 10,000 samples of the
posterior, of which observation k has the columns 2(k − 1) and 2(k − 1) + 1.
"""

import bz2
import csv
import sys
from array import array

from datasets.files import expect, from_pip, write_npy

PACKAGE = "sbibm==1.1.0"
FOLDER = "sbibm/tasks/two_moons/files/num_observation_"
TABLES = ["observation.csv", "true_parameters.csv", "reference_posterior_samples.csv.bz2"]
OBSERVATIONS, SAMPLES = 10, 10_000
SHA256 = "fed345b9345f402eb45dca455f32acd8ea0e1c2d7496368ef6f29f36da619951"


def pairs(data):
    """The two columns of a table below its line of names."""
    lines = list(csv.reader(data.decode().splitlines()))[1:]
    expect("columns", {len(cells) for cells in lines}, {2})
    return [(first, second) for first, second in lines]


def sample(folder):
    names = [f"{FOLDER}{k}/{name}" for k in range(1, OBSERVATIONS + 1) for name in TABLES]
    files = from_pip(PACKAGE, names, SHA256)
    observed, truth, posterior = files[0::3], files[1::3], map(bz2.decompress, files[2::3])
    with open(folder / "two-moons.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["x_1", "x_2", "theta_1", "theta_2"])
        table.writerows(pairs(x)[0] + pairs(theta)[0] for x, theta in zip(observed, truth))
    samples = [pairs(data) for data in posterior]
    expect("samples", {len(each) for each in samples}, {SAMPLES})
    numbers = array("f", (float(v) for row in zip(*samples) for pair in row for v in pair))
    if sys.byteorder == "big":
        numbers.byteswap()
    path = folder / "two-moons-posterior.npy"
    write_npy(path, "<f4", numbers, (SAMPLES, 2 * OBSERVATIONS))
