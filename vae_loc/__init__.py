"""vae-loc: show which voxels of a brain MRI a VAE trained on healthy brains finds improbable.

`vae_loc.localize("scan.nii.gz")` is the way in from Python. Research use only; not a medical device.
"""

TYPE_CHECKING = False  # as type checkers know; typing itself is not imported before signals are handled

if TYPE_CHECKING:
    from vae_loc.api import localize as localize

    __version__: str


def __getattr__(name: str) -> object:
    """Give `localize` and `__version__` when asked for: what they need takes longer than all else here."""
    if name == "localize":
        from vae_loc.api import localize

        return localize
    if name == "__version__":
        from vae_loc.system.versions import own_version

        return own_version()
    raise AttributeError(name)
