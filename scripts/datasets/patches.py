"""Colour patches of 32×32 out of three photographs in the public domain, from scikit-image.

Each photograph is cut into a grid of patches that do not overlap; of these, 110 at equal steps are
taken, line by line. The three take turns, so that any run of rows has patches of all of them.
"""

import struct
import zlib

from datasets.files import expect, from_pip, write_npy

PACKAGE = "scikit-image==0.26.0"
PHOTOGRAPHS = ["astronaut", "chelsea", "coffee"]
SHA256 = "5482ce40024b6cc77fc88df885f44c4ae707e7f30e3f86b6bc6d48ae0b8eefe6"
SIDE, EACH = 32, 110


def lines(png):
    """The lines of a colour PNG of 8 bits as bytes, three for each pixel."""
    expect("signature", png[:8], b"\x89PNG\r\n\x1a\n")
    at, packed = 8, b""
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        content = png[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            width, height, *form = struct.unpack(">IIBBBBB", content)
            expect("bits, colours, compression, filters and interlacing", form, [8, 2, 0, 0, 0])
        if kind == b"IDAT":
            packed += content
        at += size + 12
    data, width = zlib.decompress(packed), 3 * width
    line = bytearray(width)
    for y in range(height):
        start = y * (width + 1)
        line = unfiltered(data[start], data[start + 1 : start + 1 + width], line)
        yield line


def unfiltered(kind, line, above):
    """A line from what its filter left: what stands to the left, above, or both is added again
    (PNG specification, section 9)."""
    line = bytearray(line)
    for x in range(len(line)):
        left, corner = (line[x - 3], above[x - 3]) if x >= 3 else (0, 0)
        up = above[x]
        if kind == 4:
            estimate = left + up - corner
            guess = min((left, up, corner), key=lambda value: abs(estimate - value))
        else:
            guess = (0, left, up, (left + up) // 2)[kind]
        line[x] = (line[x] + guess) % 256
    return line


def grid(picture):
    """All patches, line by line: channels, rows, columns."""
    for top in range(0, len(picture) - SIDE + 1, SIDE):
        for left in range(0, len(picture[0]) // 3 - SIDE + 1, SIDE):
            patch = [line[3 * left : 3 * (left + SIDE)] for line in picture[top : top + SIDE]]
            yield b"".join(bytes(row[channel::3]) for channel in range(3) for row in patch)


def sample(folder):
    names = [f"skimage/data/{name}.png" for name in PHOTOGRAPHS]
    chosen = []
    for png in from_pip(PACKAGE, names, SHA256):
        patches = list(grid(list(lines(png))))
        chosen.append([patches[i * len(patches) // EACH] for i in range(EACH)])
    rows = [patch for turn in zip(*chosen) for patch in turn]
    path = folder / "patches.npy.gz"
    write_npy(path, "|u1", b"".join(rows), (len(rows), 3 * SIDE * SIDE))
