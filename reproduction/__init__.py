"""The experiments of the paper, one folder for each, beside the figures of the paper: `python -m reproduction --help`.

A *setting* is one choice of latents, c, image size and the like; a *run* is a setting with a seed; a *sweep* is a table
of runs that grows row by row. `authors` holds the variants of the authors' own scripts, which nothing else uses.
"""
