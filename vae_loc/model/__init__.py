"""The network, the file that holds it, and the graphs that run it; nothing here depends on scans.

A *checkpoint* is a model file: *facts* (JSON), weights, statistics *by place* on the canonical grid. A *model* is a
checkpoint that is ready to score slices.
"""
