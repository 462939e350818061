"""Makers of what the repository ships: models, atlas, brain-mask networks, sample data, pictures."""
