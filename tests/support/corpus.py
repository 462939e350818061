"""Damaged, odd and hostile files, made by hand: every case says what the command line must do with it.

A case writes its files into an empty folder and returns the arguments after `score`; the scan is
`scan_t1.nii` or similar. `code` is the exit code, `words` stand in the one line of the refusal or in
a warning.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from safetensors.numpy import save as save_tensors
from support.phantoms import centred, phantom, save

SHAPE = (24, 28, 22)
SPACING_MM = 6.5
AFFINE = centred(np.diag([SPACING_MM] * 3), SHAPE)
BRAIN, INSIDE = phantom(AFFINE, SHAPE)
CODES = {"f4": 16, "i2": 4}


@dataclass(frozen=True)
class BadCase:
    name: str
    make: Callable[[Path, Path], list]  # (folder, model) -> arguments
    code: int
    words: str


CASES: list[BadCase] = []


def case(name, code=4, words=""):
    def register(make):
        CASES.append(BadCase(name, make, code, words))
        return make

    return register


def raw_scan(
    data=BRAIN, *, order="<", version=1, dim=None, pixdim=None, slope=(1, 0), forms=(1, 1), affine=AFFINE, **fields
):
    """A single-file NIfTI written byte by byte, so that it may say anything."""
    cls = nib.Nifti1Header if version == 1 else nib.Nifti2Header
    header = cls(endianness=order)
    header.set_data_shape(data.shape)
    header.set_data_dtype(data.dtype)
    header.set_sform(affine, forms[0])
    header.set_qform(affine, forms[1])
    header["sform_code"], header["qform_code"] = forms
    header["magic"], header["vox_offset"] = header.single_magic, header.single_vox_offset
    header["scl_slope"], header["scl_inter"] = slope
    header["xyzt_units"] = 2
    if dim is not None:
        header["dim"][: len(dim)] = dim
    if pixdim is not None:
        header["pixdim"][: len(pixdim)] = pixdim
    for name, value in fields.items():
        header[name] = value
    body = data.astype(data.dtype.newbyteorder(order)).tobytes(order="F")
    return header.binaryblock + bytes(header.single_vox_offset - header.sizeof_hdr) + body


GOOD = raw_scan()
PACKED = gzip.compress(GOOD, 1)


def scan_of(content: bytes | Callable[[], bytes], name="scan_t1.nii"):
    def make(folder, _):
        (folder / name).write_bytes(content() if callable(content) else content)
        return [folder / name]

    return make


def add(name, content, words="", code=4, file="scan_t1.nii"):
    case(name, code, words)(scan_of(content, file))


def fine(name, content, words="", file="scan_t1.nii"):
    add(name, content, words, 0, file)


def flipped(raw, place, mask=0xFF):
    changed = bytearray(raw)
    changed[place] ^= mask
    return bytes(changed)


# ---- gzip
GZ = "scan_t1.nii.gz"
for share in (0.02, 0.3, 0.7, 0.99):
    add(f"gzip cut at {share:.0%}", PACKED[: int(share * len(PACKED))], "", file=GZ)
for cut in (1, 4, 7, 8, 9):
    add(f"gzip trailer short of {cut}", PACKED[:-cut], "damaged", file=GZ)
add("gzip CRC wrong", flipped(PACKED, -8), "damaged", file=GZ)
add("gzip size wrong", flipped(PACKED, -4), "damaged", file=GZ)
add("gzip deflate flipped", flipped(PACKED, len(PACKED) // 2), "", file=GZ)
add("gzip header only", PACKED[:10], "damaged", file=GZ)
add("gzip then text", PACKED + b"and some text", "Not a gzipped file", file=GZ)
fine("gzip then zeros that fill up a block", PACKED + bytes(512), file=GZ)  # as gzip itself takes it
fine("gzip then megabytes of zeros", PACKED + bytes(3_000_000), file=GZ)
add("gzip then half a member", PACKED + PACKED[: len(PACKED) // 2], "", file=GZ)
add("gzip then another scan", PACKED + PACKED, "more data", file=GZ)
add("gzip of nothing", gzip.compress(b""), "an empty file", file=GZ)
add("gzip in gzip", gzip.compress(PACKED), "gzip inside gzip", file=GZ)
add("gzip of text", gzip.compress(b"hello " * 100), "text", file=GZ)
add("gzip of one byte less", gzip.compress(GOOD[:-1]), "cut off", file=GZ)
add("gzip of 4 MB more", gzip.compress(GOOD + bytes(4_000_000), 1), "more data", file=GZ)
add("plain named gz", GOOD, "expected gzip as the name says", file=GZ)
add("gz named plain", PACKED, "found gzip", file="scan_t1.nii")
add("bz2 named gz", bz2.compress(GOOD), "bzip2", file=GZ)
add("bz2 named bz2", bz2.compress(GOOD), "bzip2", file="scan_t1.nii.bz2")
add("xz", lzma.compress(GOOD), "xz", file="scan_t1.nii.xz")
add("gzip bomb", lambda: bomb(), "claim", file=GZ)
fine("gzip of two members", gzip.compress(GOOD[:999]) + gzip.compress(GOOD[999:]), file=GZ)
fine("gzip of many members", b"".join(gzip.compress(GOOD[i : i + 4096]) for i in range(0, len(GOOD), 4096)), file=GZ)
fine("gzip with an empty member", PACKED + gzip.compress(b""), file=GZ)
fine("gzip with a name inside", lambda: named_gzip(), file=GZ)
fine("gzip in capitals", PACKED, file="SCAN_T1.NII.GZ")


def bomb():
    header = raw_scan(dim=[3, 1000, 1000, 500])[:352]
    zeros = gzip.compress(bytes(50_000_000), 1)
    return gzip.compress(header) + zeros * 40


def named_gzip():
    buffer = io.BytesIO()
    with gzip.GzipFile("secret.nii", "wb", fileobj=buffer) as file:
        file.write(GOOD)
    return buffer.getvalue()


# ---- file
RANDOM = np.random.default_rng(0).bytes(5000)
PNG = b"\x89PNG\r\n\x1a\n" + RANDOM
add("empty", b"", "an empty file")
add("empty gz", b"", "an empty file", file=GZ)
for size in (1, 4, 100, 347, 348, 351):
    add(f"header of {size} bytes", GOOD[:size], "")
add("one byte missing", GOOD[:-1], "cut off")
add("half missing", GOOD[: len(GOOD) // 2], "cut off")
add("two slices more", GOOD + bytes(2 * SHAPE[0] * SHAPE[1] * 4), "more data")
add("text", b"scan of a patient\n" * 50, "text")
add("HTML", b"\n<!DOCTYPE html><html><body>404</body></html>", "HTML")
add("XML", b"<?xml version='1.0'?><a/>", "XML")
add("JSON", b'{"EchoTime": 0.01}', "text")
add("Git-LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull")
add("PNG", PNG, "PNG")
add("JPEG", b"\xff\xd8\xff\xe0" + RANDOM, "JPEG")
add("PDF", b"%PDF-1.7" + RANDOM, "PDF")
add("DICOM", bytes(128) + b"DICM" + RANDOM, "DICOM")
add("DICOM by its name", bytes(128) + b"DICM" + RANDOM, "DICOM", file="IM0001.dcm")
add("MGH", struct.pack(">7i", 1, 64, 64, 64, 1, 3, 0) + RANDOM, "MGH", file="scan_t1.mgh")
add("MGZ", gzip.compress(struct.pack(">7i", 1, 64, 64, 64, 1, 3, 0) + RANDOM), "MGH", file="scan_t1.mgz")
add("NRRD", b"NRRD0004\ntype: short\n", "NRRD")
add("MetaImage", b"ObjectType = Image\n", "MetaImage")
add("MINC", b"\x89HDF\r\n\x1a\n" + RANDOM, "HDF5")
add("zip", b"PK\x03\x04" + RANDOM, "zip")
add("pickle", pickle.dumps({"a": 1}), "pickle")
add("random bytes", RANDOM, "unknown binary")
add("zeros", bytes(100_000), "unknown binary")
add("magic gone", flipped(GOOD, 344), "damaged")
add("sizeof_hdr wrong", flipped(GOOD, 0), "unknown binary")
add("Analyze 7.5", GOOD[:344] + bytes(4) + GOOD[348:], "Analyze")
add("header of a pair alone", GOOD[:344] + b"ni1\0" + GOOD[348:], "pair")

# ---- dimensions
for dim in ([0], [8], [-1], [3, 0], [3, -24], [3, 24, 28, 0], [3, 24, 28, -1]):
    add(f"dim {dim}", raw_scan(dim=dim), "")
    add(f"dim {dim} big-endian", raw_scan(dim=dim, order=">"), "")
add("dim of 256 TiB", raw_scan(version=2, dim=[3, 1 << 16, 1 << 16, 1 << 14]), "voxels")
add("dim of 2^63", raw_scan(version=2, dim=[3, 2**62, 2**62, 2]), "voxels")
add("dim that overflows to a small product", raw_scan(version=2, dim=[4, 2**32, 2**32, 24, 1]), "voxels")
add("dim of 32767^3", raw_scan(dim=[3, 32767, 32767, 32767]), "voxels")
add("dim twice the data", raw_scan(dim=[3, 24, 28, 44]), "cut off")
add("dim half the data", raw_scan(dim=[3, 24, 28, 11]), "")
add("4D of three volumes", lambda: raw_scan(np.stack([BRAIN] * 3, -1)), "--volume")
add("4D cut in the last volume", lambda: raw_scan(np.stack([BRAIN] * 3, -1))[:-5], "cut off")
add("5D", lambda: raw_scan(BRAIN[..., None, None].repeat(3, -1)), "3D volume")
add("2D", raw_scan(BRAIN[:, :, 11]), "3D volume")
add("1D", raw_scan(BRAIN[:, 11, 11]), "3D volume")
add("one slice", raw_scan(BRAIN[:, :, 11:12]), "hold a brain")
add("one voxel", raw_scan(BRAIN[:1, :1, :1]), "hold a brain")
add("too small for a brain", raw_scan(affine=centred(np.diag([1.0] * 3), SHAPE)), "hold a brain")
fine("4D of one volume", lambda: raw_scan(BRAIN[..., None]))


def volume_options(name, code, words, *options):
    def make(folder, _):
        (folder / "scan_t1.nii").write_bytes(raw_scan(np.stack([np.zeros_like(BRAIN), BRAIN], -1)))
        return [folder / "scan_t1.nii", *options]

    case(name, code, words)(make)


volume_options("4D, the good volume chosen", 0, "volume 1 of 2", "--volume", "1")
volume_options("4D, the empty volume chosen", 4, "every voxel is 0", "--volume", "0")
volume_options("4D, a volume that is not there", 4, "--volume 0 to 1", "--volume", "2")

# ---- types
for dtype in ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"):
    for order in "<>":
        fine(f"type {dtype} {order}", raw_scan((BRAIN / 2).astype(dtype), order=order))
fine("NIfTI-2", raw_scan(version=2))
fine("NIfTI-2 big-endian", raw_scan(version=2, order=">"))
for name, datatype, bits in (("RGB", 128, 24), ("RGBA", 2304, 32), ("complex64", 32, 64), ("complex128", 1792, 128),
                             ("float128", 1536, 128), ("bits", 1, 1), ("unknown", 0, 0), ("unknown type 77", 77, 16)):  # fmt: skip
    add(f"type {name}", raw_scan(datatype=datatype, bitpix=bits), "expected integer or float voxels")
add("bitpix wrong", raw_scan(bitpix=16), "bits a voxel")
fine("voxels at byte 0", raw_scan(vox_offset=0))
for offset in (100, 1e9, -5, np.nan, np.inf, 352.5):
    add(f"voxels at byte {offset}", raw_scan(vox_offset=offset), "")


def pair_of(name, code, words, change, given=".img"):
    def make(folder, _):
        nib.save(nib.Nifti1Pair(BRAIN, AFFINE), folder / "scan_t1.img")
        change(folder)
        return [folder / f"scan_t1{given}"]

    case(name, code, words)(make)


pair_of("pair by its .img", 0, "", lambda folder: None)
pair_of("pair by its .hdr", 0, "", lambda folder: None, ".hdr")
pair_of("pair without .img", 4, "No such file", lambda folder: (folder / "scan_t1.img").unlink(), ".hdr")
pair_of("pair without .hdr", 4, "No such file", lambda folder: (folder / "scan_t1.hdr").unlink())
pair_of("pair with a cut .img", 4, "cut off", lambda folder: os.truncate(folder / "scan_t1.img", 1000))
pair_of(
    "Analyze pair", 4, "Analyze", lambda folder: nib.save(nib.Spm99AnalyzeImage(BRAIN, None), folder / "scan_t1.img")
)

# ---- scaling
INTS = (BRAIN * 10).astype(np.int16)
for slope in ((0, 0), (0, 5), (np.nan, 0), (np.nan, np.nan), (0.1, 3), (-0.1, 20), (1, 0)):
    fine(f"slope {slope}", raw_scan(INTS, slope=slope))
for slope in ((1, np.nan), (0.1, np.inf), (np.inf, 0), (3e38, 0), (1e35, 1e38)):
    add(f"slope {slope}", raw_scan(INTS, slope=slope), "slope")

# ---- geometry
SHEARED = AFFINE @ np.array([[1, 0.1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
fine("no form codes", raw_scan(forms=(0, 0)), "left and right are a guess")
fine("sform alone", raw_scan(forms=(2, 0)))
fine("qform alone", raw_scan(forms=(0, 3)))
fine("forms that disagree", raw_scan(qoffset_x=3.0), "disagree")
fine("sheared sform", raw_scan(srow_x=SHEARED[0]), "disagree")
fine("sheared sform alone", raw_scan(srow_x=SHEARED[0], forms=(1, 0)))
fine("pixdim 0 with a sform", raw_scan(pixdim=[0, 0, 0, 0], forms=(1, 0)))
fine("pixdim negative with a sform", raw_scan(pixdim=[1, -6.5, 6.5, 6.5], forms=(1, 1)), "qform is not valid")
fine("qfac 0", raw_scan(pixdim=[0], forms=(0, 1)))
fine("quaternion too long with a sform", raw_scan(quatern_b=0.9, quatern_c=0.9), "qform is not valid")
fine("metres", raw_scan(affine=np.diag([1e-3] * 3 + [1]) @ AFFINE, xyzt_units=1))
fine("microns", raw_scan(affine=np.diag([1e3] * 3 + [1]) @ AFFINE, xyzt_units=3))
fine("unknown unit", raw_scan(xyzt_units=0))
add("impossible unit", raw_scan(xyzt_units=5), "unit")
add("mm called metres", raw_scan(xyzt_units=1), "mm")
add("mm called microns", raw_scan(xyzt_units=3), "mm")
add("voxels of 1000 mm", raw_scan(affine=centred(np.diag([1000.0] * 3), SHAPE)), "mm")
add("singular sform", raw_scan(srow_y=AFFINE[0]), "singular")
add("zero sform", raw_scan(srow_x=[0] * 4, srow_y=[0] * 4, srow_z=[0] * 4), "singular")
add("NaN in the sform", raw_scan(srow_x=[np.nan, 0, 0, 0]), "finite affine")
add("infinity in the sform", raw_scan(srow_z=[0, 0, 6.5, np.inf]), "finite affine")
add("NaN in the qform alone", raw_scan(qoffset_x=np.nan, forms=(0, 1)), "")
add("quaternion too long alone", raw_scan(quatern_b=0.9, quatern_c=0.9, forms=(0, 1)), "qform")
add("pixdim 0 without a form", raw_scan(pixdim=[1, 0, 6.5, 6.5], forms=(0, 0)), "voxel sizes")
add("pixdim negative without a form", raw_scan(pixdim=[1, -6.5, 6.5, 6.5], forms=(0, 0)), "voxel sizes")
add("pixdim NaN without a form", raw_scan(pixdim=[1, np.nan, 6.5, 6.5], forms=(0, 0)), "voxel sizes")


# ---- content
def changed(value, places=((12, 14, 11),), data=BRAIN):
    result = data.copy()
    for place in places:
        result[place] = value
    return result


SOME = [(i, 14, 11) for i in range(8, 16)]
fine("some NaN", raw_scan(changed(np.nan, SOME)), "8 voxels are NaN")
fine("some infinity", raw_scan(changed(np.inf, SOME)), "8 voxels are NaN or infinite")
fine("some -infinity", raw_scan(changed(-np.inf, SOME)), "8 voxels are NaN or infinite")
fine("one voxel of 3e38", raw_scan(changed(3e38)), "1 voxels are NaN or infinite")
fine("one voxel of -3e38", raw_scan(changed(-3e38)))
fine("one voxel of 1e300", raw_scan(changed(1e300, data=BRAIN.astype(np.float64))))
fine("scale 1e6", raw_scan(BRAIN * np.float32(1e6)))
fine("scale 1e-6", raw_scan(BRAIN * np.float32(1e-6)))
fine("background 1000", raw_scan(np.where(INSIDE, BRAIN, 1000).astype(np.float32)))
fine("negative intensities", raw_scan(np.where(INSIDE, BRAIN - 300, 0).astype(np.float32)))
add("like CT", raw_scan(np.where(INSIDE, BRAIN, -1000).astype(np.float32)), "CT")
add("a map of statistics", raw_scan(intent_code=5), "statistics")
add("a map of labels", raw_scan(intent_code=1002), "labels")
add("all NaN", raw_scan(np.full(SHAPE, np.nan, np.float32)), "NaN")
fine("NaN around the brain", raw_scan(np.where(INSIDE, BRAIN, np.nan).astype(np.float32)))
add("mostly NaN", raw_scan(np.where(BRAIN > 130, BRAIN, np.nan).astype(np.float32)), "NaN")
add("all infinity", raw_scan(np.full(SHAPE, np.inf, np.float32)), "NaN or infinite")
add("all zero", raw_scan(np.zeros(SHAPE, np.float32)), "every voxel is 0")
add("constant", raw_scan(np.full(SHAPE, 7, np.int16)), "every voxel is 7")
add("binary mask", raw_scan(INSIDE.astype(np.uint8)), "a mask")
add("binary mask of 255", raw_scan((255 * INSIDE).astype(np.uint8)), "a mask")
add("noise", lambda: raw_scan(np.random.default_rng(0).normal(100, 10, SHAPE).astype(np.float32)), "--brain-mask")


# ---- paths
def named(name):
    def make(folder, _):
        path = folder / os.fsdecode(name) if isinstance(name, bytes) else folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(GOOD)
        return [path]

    return make


for label, name in (("spaces", "my scan of today_t1.nii"), ("unicode", "Größe 脳 🧠_t1.nii"), ("non-UTF-8", b"caf\xe9_t1.nii"),
                    ("newline", "two\nlines_t1.nii"), ("escape", "red\x1b[31m_t1.nii"), ("dollars", "$a_$^_t1.nii"),
                    ("markup", "[red]a[/red][/]_t1.nii"), ("240 bytes", "n" * 233 + "_t1.nii"),
                    ("255 bytes", "n" * 248 + "_t1.nii"), ("240 bytes of unicode", "脳" * 77 + "_t1.nii"),
                    ("a dot in front", ".scan_t1.nii"), ("no extension", "scan")):  # fmt: skip
    case(f"path with {label}", 0)(named(name))


@case("path with a leading dash", 0)
def _dash(folder, _):
    (folder / "-scan_t1.nii").write_bytes(GOOD)
    return ["--", "-scan_t1.nii"]


def linked(name, code, words, link):
    def make(folder, _):
        (folder / "real_t1.nii").write_bytes(GOOD)
        link(folder)
        return [folder / "scan_t1.nii"]

    case(name, code, words)(make)


linked("symlink", 0, "", lambda f: (f / "scan_t1.nii").symlink_to("real_t1.nii"))
linked("hard link", 0, "", lambda f: (f / "scan_t1.nii").hardlink_to(f / "real_t1.nii"))
linked("dangling symlink", 4, "No such file", lambda f: (f / "scan_t1.nii").symlink_to("nowhere.nii"))
linked("looping symlink", 4, "symbolic links", lambda f: (f / "scan_t1.nii").symlink_to("scan_t1.nii"))
linked("folder named like a scan", 4, "none", lambda f: (f / "scan_t1.nii").mkdir())
linked("FIFO", 4, "a pipe", lambda f: os.mkfifo(f / "scan_t1.nii"))
linked("missing", 4, "No such file", lambda f: None)
case("below a file", 4, "Not a directory")(lambda f, _: [(f / "x").write_bytes(b"x") and f / "x" / "scan_t1.nii"])
case("a name of 4000 bytes", 4, "too long")(lambda f, _: [f / ("n" * 4000)])
case("/dev/zero", 4, "device")(lambda f, _: ["/dev/zero"])
case("empty folder", 4, "none")(lambda f, _: [(f / "empty").mkdir() or f / "empty"])
case("folder of text", 4, "none")(lambda f, _: [(f / "a.txt").write_text("x") and f])
case("list of nothing", 4, "found none")(lambda f, _: [(f / "a.txt").write_text("# none\n") and f / "a.txt"])
case("list of bytes", 4, "no text")(lambda f, _: [(f / "a.txt").write_bytes(RANDOM) and f / "a.txt"])
case("zip that is a FIFO", 4, "a pipe")(lambda f, _: [os.mkfifo(f / "a.zip") or f / "a.zip"])
case("own mask", 4, "the scan itself")(
    lambda f, _: [(f / "scan_t1.nii").write_bytes(GOOD) and f / "scan_t1.nii", "--brain-mask", f / "scan_t1.nii"]
)
case("log that is a FIFO", 4, "pipe")(
    lambda f, _: [
        (f / "scan_t1.nii").write_bytes(GOOD) and f / "scan_t1.nii",
        "--log-json",
        os.mkfifo(f / "l") or f / "l",
    ]
)
case("list that is a FIFO", 4, "a pipe")(lambda f, _: [os.mkfifo(f / "a.txt") or f / "a.txt"])


@case("same name in two folders", 0)
def _same_names(folder, _):
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "scan_t1.nii").write_bytes(GOOD)
    return [folder / "a" / "scan_t1.nii", folder / "b" / "scan_t1.nii"]


@case("folder with a resource fork and a loop", 0)
def _fork(folder, _):
    (folder / "in").mkdir()
    (folder / "in" / "scan_t1.nii").write_bytes(GOOD)
    (folder / "in" / "._scan_t1.nii").write_bytes(RANDOM)
    (folder / "in" / "loop").symlink_to(folder / "in")
    return [folder / "in"]


# ---- output
def output(name, code, words, prepare):
    def make(folder, _):
        (folder / "scan_t1.nii").write_bytes(GOOD)
        return [folder / "scan_t1.nii", "-o", prepare(folder)]

    case(name, code, words)(make)


output("output below a file", 4, "could not be written", lambda f: f / "scan_t1.nii" / "out")
output("output is a file", 4, "could not be written", lambda f: ((f / "here").write_bytes(b"x"), f / "here")[1])
output("output in /proc", 4, "could not be written", lambda f: "/proc/nothing/here")
output("output of another kind", 2, "expected a folder or a name", lambda f: f / "heat.png")
output("output of MGH", 2, "expected a folder or a name", lambda f: f / "heat.mgz")
output("output is the input", 4, "one of the inputs", lambda f: f / "scan_t1.nii")
output(
    "output links to the input",
    4,
    "one of the inputs",
    lambda f: ((f / "l.nii").symlink_to("scan_t1.nii"), f / "l.nii")[1],
)
output(
    "output is a hard link of the input",
    4,
    "one of the inputs",
    lambda f: ((f / "l.nii").hardlink_to(f / "scan_t1.nii"), f / "l.nii")[1],
)
output("output is a dangling link", 4, "could not be written", lambda f: ((f / "l").symlink_to("nowhere"), f / "l")[1])
output("output in a new folder", 0, "", lambda f: f / "new" / "deep" / "heat.nii.gz")


# ---- masks
def masked(name, code, words, mask, file="m.nii"):
    def make(folder, _):
        (folder / "scan_t1.nii").write_bytes(GOOD)
        (folder / file).write_bytes(mask() if callable(mask) else mask)
        return [folder / "scan_t1.nii", "--brain-mask", folder / file]

    case(name, code, words)(make)


MASK = INSIDE.astype(np.uint8)
masked("mask", 0, "", raw_scan(MASK))
masked("mask of 255", 0, "taken as the mask", raw_scan(255 * MASK))
masked("mask of 1, 2, 4", 0, "labels 2, 4", raw_scan(MASK * np.array([1, 2, 4] * 8, np.uint8)[:, None, None]))
masked("mask of floats", 0, "", raw_scan(MASK.astype(np.float64)))
masked("mask 4D of one volume", 0, "", raw_scan(MASK[..., None]))
masked("mask sparse and packed", 0, "", gzip.compress(raw_scan(MASK)), "m.nii.gz")
masked("mask of another shape", 4, "of shape", raw_scan(MASK[1:]))
masked("mask of another affine", 4, "mm away", raw_scan(MASK, affine=AFFINE + np.eye(4, k=3) * 2))
masked("mask a tenth of a voxel away", 0, "", raw_scan(MASK, affine=AFFINE + np.eye(4, k=3) * 0.6))
masked("mask with other axes", 0, "", raw_scan(MASK.transpose(2, 0, 1), affine=AFFINE[:, [2, 0, 1, 3]]))
masked("mask of fractions", 4, "whole-numbered", raw_scan(MASK * np.float32(0.5)))
masked("mask with NaN", 4, "NaN", raw_scan(changed(np.nan, data=MASK.astype(np.float32))))
masked("mask below 0", 4, ">= 0", raw_scan(-MASK.astype(np.int16)))
masked("mask empty", 4, "found none", raw_scan(0 * MASK))
masked("mask RGB", 4, "RGB", raw_scan(datatype=128, bitpix=24))
masked("mask cut", 4, "cut off", raw_scan(MASK)[:-100])
masked("mask 4D", 4, "3D", lambda: raw_scan(np.stack([MASK] * 2, -1)))
masked("mask of text", 4, "text", b"mask\n" * 100)


# ---- models
def modelled(name, words, change):
    def make(folder, model):
        (folder / "scan_t1.nii").write_bytes(GOOD)
        (folder / "bad.safetensors").write_bytes(change(model.read_bytes()))
        return [folder / "scan_t1.nii", "-m", folder / "bad.safetensors"]

    case(name, 5, words)(make)


def refacted(**changes):
    """A model whose header says something else, with a right SHA-256."""

    def change(raw):
        import hashlib

        size = int.from_bytes(raw[:8], "little")
        tensors = json.loads(raw[8 : 8 + size])
        stated = json.loads(tensors.pop("__metadata__")["vae_loc"])
        for path, value in changes.items():
            place = stated["facts"]
            *parents, last = path.split("__")
            for parent in parents:
                place = place[parent]
            place[last] = value
        signed = json.dumps({"facts": stated["facts"], "tensors": tensors}, sort_keys=True, separators=(",", ":"))
        stated["sha256"] = hashlib.sha256(signed.encode() + raw[8 + size :]).hexdigest()
        head = json.dumps({"__metadata__": {"vae_loc": json.dumps(stated)}, **tensors}).encode()
        return len(head).to_bytes(8, "little") + head + raw[8 + size :]

    return change


def reshaped(raw, shape):
    size = int.from_bytes(raw[:8], "little")
    tensors = json.loads(raw[8 : 8 + size])
    tensors[min(tensors.keys() - {"__metadata__"})]["shape"] = shape
    head = json.dumps(tensors).encode()
    return len(head).to_bytes(8, "little") + head + raw[8 + size :]


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps({"a": 1}))
    return buffer.getvalue()


def tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        file.addfile(tarfile.TarInfo("data.pkl"))
    return buffer.getvalue()


def npz():
    buffer = io.BytesIO()
    np.savez(buffer, w=np.zeros(3))
    return buffer.getvalue()


SMALL = {"w": np.zeros(3, np.float32)}
modelled("model empty", "an empty file", lambda raw: b"")
modelled("model cut", "", lambda raw: raw[:-1])
modelled("model half", "", lambda raw: raw[: len(raw) // 2])
modelled("model cut in the header", "cut off", lambda raw: raw[:500])
modelled("model with a byte more", "bytes by its header", lambda raw: raw + b"\0")
modelled("model with a flipped bit in the weights", "SHA-256", lambda raw: flipped(raw, -1000, 1))
modelled("model with a flipped bit in the header", "", lambda raw: flipped(raw, 60, 1))
modelled("model with a flipped bit in the size", "", lambda raw: flipped(raw, 0, 1))
modelled("model with a header of 2 GB", "cut off", lambda raw: (2**31).to_bytes(8, "little") + raw[8:])
modelled(
    "model with a header of 2 MB", "at most", lambda raw: (2_000_000).to_bytes(8, "little") + b"{" + b" " * 2_000_000
)
modelled("model of pickle", "pickle", lambda raw: pickle.dumps({"a": 1}))
modelled("model of zip", "zip", lambda raw: zipped())
modelled("model of npz", "zip", lambda raw: npz())
modelled("model of tar", "tar", lambda raw: tarred())
modelled("model of gzip", "gzip", lambda raw: gzip.compress(raw))
modelled("model of YAML", "text", lambda raw: b"latents: 8\nweights: !!python/object:os.system\n")
modelled("model of HTML", "HTML", lambda raw: b"<html>404</html>" * 20)
modelled("model behind Git-LFS", "git lfs pull", lambda raw: b"version https://git-lfs.github.com/spec/v1\n")
modelled("model of another program", "foreign", lambda raw: save_tensors(SMALL))
modelled("model with deep JSON", "", lambda raw: (60_000).to_bytes(8, "little") + b"{" + b'"a":{' * 11_999 + b"    ")
modelled("model of another format", "format", refacted(format_version=99))
modelled("model without latents", "network", refacted(network__latents=0))
modelled("model of another network", "do not fit", refacted(network__latents=9))
modelled("model that claims a huge network", "", refacted(network__latents=4096, network__image_size=512))
modelled("model prepared otherwise", "otherwise", refacted(preprocessing__clip_sd=[-1, 1]))
modelled("model with quantiles in part", "healthy", refacted(healthy__maps__combi=[1.0]))
modelled("model without a map's quantiles", "", refacted(healthy__maps={}))
modelled("model with an unknown fact", "header is wrong", refacted(surprise=1))
modelled("model whose product of sides is a list", "foreign", lambda raw: reshaped(raw, [[0], 2_000_000_000]))
modelled("model whose product of sides is text", "foreign", lambda raw: reshaped(raw, ["x", 2_000_000_000]))
case("model missing", 5, "expected a model file")(lambda f, _: [save(f / "scan_t1.nii", BRAIN, AFFINE), "-m", f / "no"])
case("model is a folder", 5, "a folder")(lambda f, _: [save(f / "scan_t1.nii", BRAIN, AFFINE), "-m", f])
case("model is a FIFO", 5, "a pipe")(
    lambda f, _: [save(f / "scan_t1.nii", BRAIN, AFFINE), "-m", os.mkfifo(f / "m") or f / "m"]
)
case("model is /dev/zero", 5, "a pipe")(lambda f, _: [save(f / "scan_t1.nii", BRAIN, AFFINE), "-m", "/dev/zero"])
