"""The JSON Schemas of the files that the commands write, made from their pydantic models: docs/schemas/.

python docs/schemas.py           writes them
python docs/schemas.py --check   says whether they are what the models state
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import BaseModel

from vae_loc.evaluation.record import EvaluationRecord
from vae_loc.results.cohort_table import CohortRow
from vae_loc.results.persons.person_summary import PersonSummary
from vae_loc.results.scan_summary import ScanSummary
from vae_loc.training.training_record import TrainingRecord

FOLDER = Path(__file__).with_name("schemas")
MODELS: dict[str, type[BaseModel]] = {
    "scores": ScanSummary,
    "cohort-row": CohortRow,
    "person": PersonSummary,
    "training": TrainingRecord,
    "evaluation": EvaluationRecord,
}


def schema(model: type[BaseModel]) -> str:
    """Return the JSON Schema of a model as text."""
    return json.dumps(model.model_json_schema(mode="serialization"), indent=1) + "\n"


def faults() -> list[str]:
    """Return which schemas are out of date."""
    return [
        f"docs/schemas/{name}.schema.json: out of date; run python docs/schemas.py"
        for name, model in MODELS.items()
        if not (path := FOLDER / f"{name}.schema.json").exists() or path.read_text() != schema(model)
    ]


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit("\n".join(faults()) or 0)
    FOLDER.mkdir(exist_ok=True)
    for name, model in MODELS.items():
        (FOLDER / f"{name}.schema.json").write_text(schema(model))
