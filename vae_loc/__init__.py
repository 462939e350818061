"""vae-loc: show which voxels of a brain MRI a VAE trained on healthy brains finds improbable.

`vae_loc.localize("scan.nii.gz")` and `vae_loc.segment("scan.nii.gz")` are the ways in from Python.
Research use only; not a medical device.
"""

TYPE_CHECKING = False  # as type checkers know; typing itself is not imported before signals are handled

if TYPE_CHECKING:
    from vae_loc import errors as errors
    from vae_loc.api import localize as localize
    from vae_loc.api import segment as segment
    from vae_loc.scans.volume import read_volume as read_volume
    from vae_loc.scans.volume import write_volume as write_volume

    __version__: str

_PUBLIC = ("__version__", "errors", "localize", "read_volume", "segment", "write_volume")


def __getattr__(name: str) -> object:
    """Give the public names when they are asked for: their imports take longer than all else here."""
    if name == "__version__":
        from vae_loc.system.versions import own_version

        return own_version()
    if name in ("localize", "segment"):
        from vae_loc import api

        return getattr(api, name)
    if name in ("read_volume", "write_volume"):
        from vae_loc.scans import volume

        return getattr(volume, name)
    if name == "errors":
        import vae_loc.errors

        return vae_loc.errors
    raise AttributeError(f"module 'vae_loc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({name for name in globals() if name.startswith("__")} | {*_PUBLIC})
