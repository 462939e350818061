"""A mixture of Gaussians whose density is known: how near the scores come to it."""
