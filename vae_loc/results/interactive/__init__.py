"""A scored scan in a Python session or a notebook: its findings, masks, figure, and files when they are asked for.

It holds what the commands would write, by the same functions.
"""
