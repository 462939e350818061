"""The JSON Schemas of the files that the commands write, and a page of them, made from their pydantic models.

python docs/schemas.py           writes docs/reference/schemas/ and docs/reference/files.md
python docs/schemas.py --check   tells whether both show the present models
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from pydantic import BaseModel

from vae_loc.evaluation.record import EvaluationRecord
from vae_loc.results.person_summary import PersonSummary
from vae_loc.results.scan_summary import ScanSummary
from vae_loc.training.training_record import TrainingRecord

FOLDER = Path(__file__).with_name("reference") / "schemas"
PAGE = FOLDER.with_name("files.md")
MODELS: dict[str, type[BaseModel]] = {
    "scores": ScanSummary,
    "person": PersonSummary,
    "training": TrainingRecord,
    "evaluation": EvaluationRecord,
}
FILES = {
    "scores": "`<scan>_scores.json`, of `score`, `segment` and `bids`: one for each scan",
    "person": "`<person>_desc-person_scores.json`, of `segment` and `bids`: one for each person with several contrasts",
    "training": "`<model>.training.json`, of `train`",
    "evaluation": "`evaluation.json`, of `evaluate` ([what the figures mean](metrics.md))",
}
HEAD = """<!-- Made by `python docs/schemas.py` from the pydantic models; do not edit. -->

# Files and schemas

The commands write NIfTI, PNG, TSV, CSV, HTML and JSON files.
Every JSON file states its `schema_version` and has a JSON Schema.
A file names its outputs relative to itself.
The columns of `*_dseg.tsv` are the fields of `Finding` and of `PersonFinding` below.
Those of `cohort.csv` are in [a table of their own](../how-to/cohorts.md#the-cohort-table).
"""
Schema = dict[str, object]


def schema(model: type[BaseModel]) -> str:
    """Return the JSON Schema of a model as text."""
    return json.dumps(model.model_json_schema(mode="serialization"), indent=1) + "\n"


def type_of(field: Schema) -> str:
    """Return the type of a field in words."""
    if "$ref" in field:
        return str(field["$ref"]).rsplit("/", maxsplit=1)[-1]
    if "anyOf" in field:
        return " or ".join(type_of(one) for one in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{one}`" for one in field["enum"])
    kind = str(field.get("type", "any"))
    if kind == "array":
        return f"list of {type_of(field['items'])}" if "items" in field else "list"
    inner = field.get("additionalProperties")
    return f"object of {type_of(inner)}" if isinstance(inner, dict) else kind


def table(part: Schema) -> str:
    """Return the description of an object and a table of its fields, with what its docstring tells of each."""
    text, _, attributes = str(part.get("description", "")).partition("Attributes\n----------\n")
    meanings: dict[str, str] = {}
    for entry in re.split(r"\n(?=[a-z][a-z0-9_, ]* : )", attributes.strip()):
        names, _, meaning = entry.partition(" : ")
        meanings |= {name.strip(): " ".join(meaning.split()) for name in names.split(",")}
    rows = [
        f"| `{name}` | {type_of(field)} | {meanings.get(name) or field.get('description', '')} |".replace("  |", " |")
        for name, field in part["properties"].items()
    ]
    return "\n".join([" ".join(text.split()), "", "| field | type | meaning |", "|---|---|---|", *rows])


def page() -> str:
    """Return the page of all files."""
    parts = [HEAD]
    for name, model in MODELS.items():
        whole = model.model_json_schema(mode="serialization")
        parts.append(f"## {name}\n\n{FILES[name]}. [JSON Schema](schemas/{name}.schema.json).\n\n{table(whole)}\n")
        for inner, part in whole.get("$defs", {}).items():
            if "properties" in part:
                parts.append(f"### {name}: {inner}\n\n{table(part)}\n")
    return "\n".join(parts)


def contents() -> dict[Path, str]:
    """Return the text of each file that this script makes."""
    made = {FOLDER / f"{name}.schema.json": schema(model) for name, model in MODELS.items()}
    return made | {PAGE: page()}


def faults() -> list[str]:
    """Return which files are out of date."""
    return [
        f"{path.relative_to(FOLDER.parents[2])}: out of date; run python docs/schemas.py"
        for path, text in contents().items()
        if not path.exists() or path.read_text() != text
    ]


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit("\n".join(faults()) or 0)
    FOLDER.mkdir(exist_ok=True)
    for path, text in contents().items():
        path.write_text(text)
