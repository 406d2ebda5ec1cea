"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): 28×28 grey images of clothes, MIT licence.

From Debian's package. Images are rows of 784 levels of 8 bits, labels are numbers from 0 to 9.
"""

import gzip
import struct

from datasets.files import ROOT, expect, from_apt, write_npy

PACKAGE = "dataset-fashion-mnist"
FOLDER = "usr/share/datasets/fashion-mnist/"
FILES = ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"]
SHA256 = "362ba1f5424f406d0db9c78b0e83db011b09c121c5c5f94ee5c077628f9adb5c"
SAMPLE = 1_500


def parts():
    """Images and labels for training, then those for testing, in the format of LeCun's MNIST."""
    names = [f"{FOLDER}{name}-ubyte.gz" for name in FILES]
    return [gzip.decompress(data) for data in from_apt(PACKAGE, names, SHA256)]


def images(data, rows):
    expect("header", struct.unpack(">4I", data[:16]), (2051, rows, 28, 28))
    expect("bytes", len(data), 16 + 784 * rows)
    return data[16:]


def labels(data, rows):
    expect("header", struct.unpack(">2I", data[:8]), (2049, rows))
    expect("bytes", len(data), 8 + rows)
    return data[8:]


def fetch():
    """All of it, as four arrays in data/."""
    folder = ROOT / "data"
    folder.mkdir(exist_ok=True)
    train_images, train_labels, test_images, test_labels = parts()
    for name, rows, pixels, classes in [
        ("train", 60_000, train_images, train_labels),
        ("test", 10_000, test_images, test_labels),
    ]:
        write_npy(folder / f"fashion-mnist-{name}.npy", "|u1", images(pixels, rows), (rows, 784))
        path = folder / f"fashion-mnist-{name}-labels.npy"
        write_npy(path, "|u1", labels(classes, rows), (rows, 1))


def sample(folder):
    """The first images of those for testing, and their labels."""
    _, _, pixels, classes = parts()
    some = images(pixels, 10_000)[: 784 * SAMPLE]
    write_npy(folder / "fashion-mnist.npy.gz", "|u1", some, (SAMPLE, 784))
    some = labels(classes, 10_000)[:SAMPLE]
    write_npy(folder / "fashion-mnist-labels.npy.gz", "|u1", some, (SAMPLE, 1))
