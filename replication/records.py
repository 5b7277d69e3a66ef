"""The files of a run folder: their names, and writing them whole or not at all."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from preprocessing.errors import InputError
from preprocessing.store import write_text

CONFIG, ENVIRONMENT, HISTORY = "config.json", "environment.json", "history.csv"
PREDICTIONS, METRICS, MODEL, FIGURES = "predictions.csv", "metrics.json", "model.keras", "figures"
# What was declared before the run: the margin within which its numbers agree with printed ones.
DECLARED = "declared.json"
MARGIN = 0.03  # Ours: 3 points; no paper names a difference that would matter


def read_json(path: Path) -> dict:
    """A JSON file of a run or store.

    Raises:
        InputError: missing, damaged, or no object with names.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("no object in curly brackets")
        return content
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); delete its folder and run again"
        ) from error


def write_json(path: Path, content: dict) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(content, indent=1))


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a header.

    Raises:
        InputError: missing, or not UTF-8 text.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); delete its folder and run again"
        ) from error


def write_csv(path: Path, rows: list[dict], columns: Sequence[str] | None = None) -> None:
    """Write rows with one header, whole or not at all.

    Args:
        path: CSV to write.
        rows: with equal keys.
        columns: the header; needed only where there may be no row.
    """
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns or list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)
