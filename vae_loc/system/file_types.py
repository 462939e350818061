"""Kinds of files by their first bytes, for the message that refuses a wrong one."""

from __future__ import annotations

GZIP = b"\x1f\x8b"
SIGNATURES = (
    (0, GZIP, "gzip"),
    (0, b"BZh", "bzip2; unpack it with bunzip2"),
    (0, b"\xfd7zXZ", "xz; unpack it"),
    (0, b"\x28\xb5\x2f\xfd", "zstd; unpack it"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"PK\x03\x04", "a zip archive (a PyTorch, TorchScript or npz file is one)"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"%PDF", "a PDF"),
    (0, b"\x89HDF", "HDF5 (MINC-2 is)"),
    (0, b"CDF", "netCDF (MINC-1 is)"),
    (0, b"NRRD", "NRRD; convert it to NIfTI"),
    (0, b"ObjectType", "MetaImage; convert it to NIfTI"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"\x93NUMPY", "a numpy array"),
    (0, b"version https://git-lfs", "a Git-LFS pointer (run `git lfs pull`)"),
    (0, b"\x00\x00\x00\x01\x00\x00\x01", "MGH (convert it with mri_convert)"),
    (0, b"\x00\x00\x00\x01\x00\x00\x00", "MGH (convert it with mri_convert)"),
    (128, b"DICM", "DICOM (convert it with dcm2niix)"),
    (257, b"ustar", "a tar archive"),
    *((0, bytes((0x80, version)), "a pickle, which is never opened") for version in range(2, 6)),
)
NIFTI_SIZES = (b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c", b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")  # 348, 540
MARKUP = ((b"<!doctype html", "HTML"), (b"<html", "HTML"), (b"<?xml", "XML"), (b"<", "HTML or XML"))
TEXT_SHARE = 0.95


def looks_like(head: bytes) -> str:
    """Return the kind of file that the first bytes are of.

    >>> looks_like(b"BZh91AY"), looks_like(b"hello")
    ('bzip2; unpack it with bunzip2', 'text')
    """
    if not head:
        return "an empty file"
    for offset, signature, name in SIGNATURES:
        if head[offset:].startswith(signature):
            return name
    if head.startswith(NIFTI_SIZES):
        if len(head) < 348:
            return "a NIfTI header that is cut off"
        if head[344:347] in (b"n+1", b"ni1") or head[4:7] in (b"n+2", b"ni2"):
            return "a NIfTI header that is cut off or damaged"
        return "an Analyze 7.5 file, which does not say where left is, or a damaged NIfTI header; convert the original"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    printable = sum(32 <= byte < 127 or byte in b"\r\n\t" for byte in head)
    plain = "text" if printable > TEXT_SHARE * len(head) else "unknown binary data"
    return next((name for signature, name in MARKUP if start.startswith(signature)), plain)
