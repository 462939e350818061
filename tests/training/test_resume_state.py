"""A state that is damaged, or of another run, is refused."""

import numpy as np
import pytest

from vae_loc.errors import UnusableModel
from vae_loc.training.fit import FitOptions, train_vae


def test_a_state_that_is_damaged_or_of_another_run_is_refused(tmp_path):
    x = np.random.default_rng(0).standard_normal((8, 32, 32)).astype(np.float32)
    state = tmp_path / "s"
    train_vae(x, x, FitOptions(latents=4, epochs=2), state=state)
    for options in ({"seed": 1}, {"c": 2.0}, {"batch_size": 3}, {"latents": 5}):
        with pytest.raises(UnusableModel, match="other scans or options"):
            train_vae(x, x, FitOptions(**({"latents": 4, "epochs": 2} | options)), state=state, resume=True)
    with pytest.raises(UnusableModel, match="other scans or options"):
        train_vae(x + 1, x, FitOptions(latents=4, epochs=2), state=state, resume=True)
    good = state.read_bytes()
    for place in (*range(0, 200, 7), *range(200, len(good), len(good) // 50), len(good) - 1):
        raw = bytearray(good)
        raw[place] ^= 1
        state.write_bytes(raw)
        with pytest.raises(UnusableModel):
            train_vae(x, x, FitOptions(latents=4, epochs=2), state=state, resume=True)
    for content in (b"", good[:-1], good[:100], good + b"\0"):
        state.write_bytes(content)
        with pytest.raises(UnusableModel):
            train_vae(x, x, FitOptions(latents=4, epochs=2), state=state, resume=True)
