"""vae-loc: show which voxels of a brain MRI a VAE trained on healthy brains finds improbable.

Research use only; not a medical device.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("vae-loc")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"
