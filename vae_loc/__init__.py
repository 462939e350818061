"""vae-loc: show which voxels of a brain MRI a VAE trained on healthy brains finds improbable.

Research use only; not a medical device.
"""


def __getattr__(name: str) -> str:
    """Give `__version__` when asked for: looking it up takes longer than all else that is imported here."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("vae-loc")
    except PackageNotFoundError:  # a checkout that was never installed
        return "0+unknown"
