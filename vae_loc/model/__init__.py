"""The network, the file that holds it, and what runs it; this package knows no scan.

A *checkpoint* is a model file: *facts* (JSON), weights, statistics *by place* on the canonical grid, ONNX graphs. A
*model* is a checkpoint that is ready to score slices.
"""
