"""Brains: five maps and sample-wise scores over size of z, c and image size (Fig. 1 to 3 and Table 1 of the paper)."""
