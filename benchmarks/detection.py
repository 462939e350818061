"""Per-subject, in-brain AUROC and average precision of the five maps and of the bare intensity.

    python benchmarks/detection.py ../shared/data/gliomas -o docs/detection-gliomas.md

Average precision is scikit-learn's; the interval is a 95 % bootstrap over subjects (2000 resamples, seed 0).
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from vae_loc.catalogue import find_model
from vae_loc.checkpoint import METHODS, healthy_threshold, load_checkpoint
from vae_loc.cohort import find_cases
from vae_loc.locate import locate
from vae_loc.scoring import build_model
from vae_loc.volume import read_mask, read_volume

RESAMPLES = 2000
FPR = 0.05
BASELINES = ("intensity", "negative intensity")


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", type=Path)
    parser.add_argument("--labels", default="{subject}_seg.nii.gz")
    parser.add_argument("--contrast", default="t1")
    parser.add_argument("-m", "--model", default="t1")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint = load_checkpoint(find_model(options.model))
    model = build_model(checkpoint)
    rows: dict[str, dict[str, tuple[float, float, float]]] = {}
    prevalence = {}
    for case in find_cases([options.scans], contrast=options.contrast):
        volume = read_volume(case.scan)
        lesion = read_mask(case.scan.parent / options.labels.format(subject=case.subject), volume)
        found = locate(volume, checkpoint, model, methods=METHODS)
        truth = lesion[found.brain]
        prevalence[case.subject] = float(truth.mean())
        scores = {method: found.maps[method][found.brain] for method in METHODS}
        scores |= {"intensity": volume.data[found.brain], "negative intensity": -volume.data[found.brain]}
        rows[case.subject] = {}
        for name, values in scores.items():
            flagged = float("nan")
            if name in METHODS:
                flagged = float((values[~truth] > healthy_threshold(checkpoint, name, FPR)).mean())
            rows[case.subject][name] = (roc_auc_score(truth, values), average_precision_score(truth, values), flagged)
    text = table(rows, prevalence, checkpoint.digest)
    print(text)
    if options.output:
        header = f"# Detection: {options.scans.name}, {options.contrast}\n\nCommand: `python benchmarks/detection.py "
        header += f"{options.scans} --labels '{options.labels}' --contrast {options.contrast} -m {options.model}`\n\n"
        options.output.write_text(header + text)


def table(rows: dict[str, dict[str, tuple[float, float, float]]], prevalence: dict[str, float], digest: str) -> str:
    """Return Markdown: one row a map, per-subject values and the mean with its interval."""
    subjects = list(rows)
    rng = np.random.default_rng(0)
    picks = rng.integers(len(subjects), size=(RESAMPLES, len(subjects)))
    lines = [
        f"Model {digest[:12]}; {len(subjects)} subjects, in-brain voxels of the scan's own grid; "
        f"{platform.machine()}, torch {torch.__version__}. `flagged`: healthy-looking (unannotated) brain voxels above "
        f"the model's {FPR:.0%} threshold.\n",
        "| map | AUROC mean [95 %] | AP mean [95 %] | flagged at 5 % | "
        + " | ".join(f"{s}: AUROC / AP" for s in subjects)
        + " |",
        "|---|---|---|---|" + "---|" * len(subjects),
    ]
    for name in (*BASELINES, *METHODS):
        values = np.array([rows[subject][name] for subject in subjects])
        low, high = np.percentile(values[picks].mean(axis=1)[:, :2], (2.5, 97.5), axis=0)
        cells = [f"{values[:, i].mean():.3f} [{low[i]:.3f}, {high[i]:.3f}]" for i in range(2)]
        flagged = "-" if name in BASELINES else f"{values[:, 2].mean():.1%}"
        lines.append(
            f"| {name} | {cells[0]} | {cells[1]} | {flagged} | "
            + " | ".join(f"{a:.3f} / {p:.3f}" for a, p, _ in values)
            + " |"
        )
    lines.append(
        "| prevalence (AP of chance) | 0.500 | "
        + f"{np.mean(list(prevalence.values())):.3f} | - | "
        + " | ".join(f"{prevalence[s]:.3f}" for s in subjects)
        + " |"
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
