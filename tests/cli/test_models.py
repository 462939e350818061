"""info tells what a model is."""

import json

from support.commands import invoke


def test_info_tells_of_the_healthy_thresholds(model_file):
    facts = json.loads(invoke("info", model_file, "--json").stdout)
    assert facts["latents"] == 8
    assert facts["combi at 1% healthy"] >= facts["combi at 5% healthy"]
