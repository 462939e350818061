"""The paper's experiments, one file each (Zimmerer et al., MICCAI 2019, arXiv:1907.02796)."""
