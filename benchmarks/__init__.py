"""Scripts that measure vae-loc, try to break it, and make what it ships; run from a checkout, not installed.

`measured` writes the pages of docs/measured, `robustness` tries hostile inputs and failing disks, `tools` makes models,
atlas, sample data and pictures: `python -m benchmarks.measured.findings --help`.
"""
