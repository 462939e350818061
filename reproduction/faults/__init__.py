"""The faults of the authors' brain script, switched on one at a time: what each does to the figures."""
