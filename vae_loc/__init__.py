"""vae-loc: show which voxels of a brain MRI a VAE trained on healthy brains finds improbable.

`vae_loc.localize("scan.nii.gz")` is the way in from Python. Research use only; not a medical device.
"""

TYPE_CHECKING = False  # as type checkers know; typing itself is not imported before signals are handled

if TYPE_CHECKING:
    from vae_loc.api import localize as localize
    from vae_loc.scans.volume import read_volume as read_volume
    from vae_loc.scans.volume import write_volume as write_volume
    from vae_loc.scoring.segmentation import threshold_map as threshold_map

    __version__: str

_HOMES = {
    "localize": "vae_loc.api",
    "read_volume": "vae_loc.scans.volume",
    "write_volume": "vae_loc.scans.volume",
    "threshold_map": "vae_loc.scoring.segmentation",
}


def __getattr__(name: str) -> object:
    """Give the public names when they are asked for: their imports take longer than all else here."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    if name == "__version__":
        from vae_loc.system.versions import own_version

        return own_version()
    raise AttributeError(name)


def __dir__() -> list[str]:
    return [*globals(), "__version__", *_HOMES]
