"""FashionMNIST with one class left out: sample-wise scores over c, latents and classes (section 3.1 of the paper)."""
