"""Run folders with predictions, as the studies write them."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from replication.records import write_csv, write_json

CLASSES = ("COVID", "Normal", "Viral Pneumonia")


def write_binary_run(
    out: Path,
    name: str,
    answers: Sequence[tuple[int, float]],
    seed: int = 0,
    split: str = "test",
    patients: Sequence[str] = (),
    metrics: dict | None = None,
    **config,
) -> Path:
    """A finished run of one class against the other; `answers` are labels and scores."""
    folder = out / "runs" / "kolarik2023" / name / f"seed{seed}"
    folder.mkdir(parents=True)
    settings = {"study": "kolarik2023", "seed": seed, "positive": "present", "vote": "mean",
                "paper_row": "Resnet3D-18", "paper_dataset": "2_30x30", **config}  # fmt: skip
    write_json(folder / "config.json", settings)
    rows = [
        {"sample_id": i, "unit": i, "patient_id": patients[i] if patients else f"p{i}",
         "split": split, "label": label, "score_absent": 1 - score, "score_present": score}
        for i, (label, score) in enumerate(answers)
    ]  # fmt: skip
    write_csv(folder / "predictions.csv", rows)
    result = {"leaky": False, "not_comparable": []} | (metrics or {})
    write_json(folder / "metrics.json", result)
    return folder


def write_class_run(
    out: Path,
    name: str,
    labels: Sequence[int],
    said: Sequence[int],
    seed: int = 0,
    study: str = "vbreathnet",
    metrics: dict | None = None,
    **config,
) -> Path:
    """A finished run of three classes, validation part alone."""
    folder = out / "runs" / study / name / f"seed{seed}"
    folder.mkdir(parents=True)
    settings = {"study": study, "seed": seed, "classes": CLASSES, "model": "v-breathnet",
                "shuffle_labels": False, "paper_row": "V-BreathNet", "paper_dataset": "",
                **config}  # fmt: skip
    write_json(folder / "config.json", settings)
    rows = [
        {"sample_id": i, "patient_id": f"p{i}", "split": "val", "label": label}
        | {f"score_{c}": 0.8 if k == answer else 0.1 for k, c in enumerate(CLASSES)}
        for i, (label, answer) in enumerate(zip(labels, said, strict=True))
    ]
    write_csv(folder / "predictions.csv", rows)
    gap = {"chosen_epoch": {"value": 0.0, "low": -0.01, "high": 0.01}}
    counts = {"total_parameters": 792_291, "trainable_parameters": 790_307}
    result = {"leaky": False, "not_comparable": [], "gap": gap, "parameters": counts}
    write_json(folder / "metrics.json", result | (metrics or {}))
    return folder


@pytest.fixture(scope="session")
def binary_run():
    """`write_binary_run`, as a fixture so that test modules need not import one another."""
    return write_binary_run


@pytest.fixture(scope="session")
def class_run():
    """`write_class_run`, likewise."""
    return write_class_run
