"""Scan -> brain mask, registration to the template, canonical grid, axial slices.

The *canonical grid* is a RAS+ cube of 192 mm around the brain, aligned to the *template*, the mean of healthy brains.
A *pseudo-contrast* is the appearance that a T1 brain gets, drawn at random, to stand for another scanner or contrast.
"""
