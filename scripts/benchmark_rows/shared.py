"""Rows of what the studies share: metrics and starting up."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmark_rows.measuring import Row, compare, median_and_range, ratio_row

ROOT = Path(__file__).resolve().parents[2]


def auroc_row(repeats: int, folder: Path) -> list[Row]:
    """The rank AUROC that the bootstrap uses against scikit-learn's."""
    from sklearn.metrics import roc_auc_score

    from replication.metrics import auroc

    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 400), rng.random(400)

    def hundred(function):
        for _ in range(100):
            function(labels, scores)

    ratios, ours, theirs = compare(lambda: hundred(auroc), lambda: hundred(roc_auc_score), repeats)
    return [ratio_row("100 AUROC of 400 scores", "scikit-learn", ratios, ours, theirs, None)]


def start_row(repeats: int, folder: Path) -> list[Row]:
    """A second call of the front door, up to its help text, against a start of Python alone."""
    help_text = [sys.executable, str(ROOT / "scripts" / "replicate.py"), "--help"]

    def start(command):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    bare = [sys.executable, "-c", "pass"]
    ratios, ours, theirs = compare(lambda: start(help_text), lambda: start(bare), repeats)
    return [
        Row(
            "second start of scripts/replicate.py",
            f"{ours:.2f} s",
            f"Python alone: {theirs:.2f} s",
            median_and_range(ratios, 1),
            "< 5 s",
            ours < 5,
        )
    ]


ROWS = {"auroc": auroc_row, "start": start_row}
