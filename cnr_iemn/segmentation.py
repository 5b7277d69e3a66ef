"""What lung segmentation does to lesions: Figures 1 and 12, sections 4.4 and 4.5, as numbers."""

from collections.abc import Callable, Sequence

import numpy as np

from cnr_iemn import pictures
from cnr_iemn.config import CAP, CLASSES, COVID, CnrIemnConfig
from cnr_iemn.slice_labels import read_slice_labels
from cnr_iemn.split import Scans, label_slices
from preprocessing.store import Store
from replication.records import write_csv

RESAMPLES, SEED = 2000, 0
# Paper: Figure 1 has slices of COVID-19, COVID-19 and CAP, Figure 12 of COVID-19, CAP and CAP.
FIGURES = {"figure_1": (COVID, COVID, CAP), "figure_12": (COVID, CAP, CAP)}


def report_segmentation(
    config: CnrIemnConfig, store: Store, say: Callable[[str], None]
) -> list[dict]:
    """Draw the figures and say what share of the lesions the lung masks lose, by class.

    The share needs lesion masks, which phantoms have. It is also written to segmentation.csv.

    Returns:
        A row for each class with lesions; none where lesions are not known.
    """
    scans = Scans.of(store)
    figures = config.out / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for name, diagnoses in FIGURES.items():
        rows = choose_slices(config, scans, diagnoses)
        slices = [store.samples[row] for row in rows]
        titles = [f"{store.index[row]['patient_id']}, slice {store.index[row]['slice']}"
                  for row in rows]  # fmt: skip
        if rows:
            pictures.save_segmentation(figures / f"{name}.png", slices, titles)
    found = [row for row in (lost_lesions(scans, d) for d in (COVID, CAP)) if row]
    for row in found:
        say(
            f"{row['class']}: lung masks lose {row['lost']:.2f} [{row['low']:.2f}, "
            f"{row['high']:.2f}] of the lesions' area (mean over {row['scans']} scans, median "
            f"{row['median']:.2f}; sections 4.4, 4.5)"
        )
    if found:
        write_csv(config.out / "segmentation.csv", found)
    return found


def lost_lesions(scans: Scans, diagnosis: int) -> dict | None:
    """Share of a scan's lesions outside its lung masks, over the scans of a diagnosis.

    Returns:
        "class", "scans", mean "lost" with its 95 % bootstrap interval over scans ("low", "high"),
        and "median", all in 0..1; None where no lesion is known.
    """
    lesion, lost = (
        np.array([float(value or "nan") for value in scans.store.column(name)])
        for name in ("lesion_pixels", "lost_pixels")
    )
    of_diagnosis = [scans.rows[i] for i in np.flatnonzero(scans.diagnoses == diagnosis)]
    of_scan = [(lesion[rows].sum(), lost[rows].sum()) for rows in of_diagnosis]
    shares = np.array([lost / lesion for lesion, lost in of_scan if lesion > 0])
    if not shares.size:
        return None
    drawn = np.random.default_rng(SEED).integers(0, len(shares), (RESAMPLES, len(shares)))
    low, high = np.percentile(shares[drawn].mean(axis=1), (2.5, 97.5))
    return {
        "class": CLASSES[diagnosis],
        "scans": len(shares),
        "lost": float(shares.mean()),
        "low": float(low),
        "high": float(high),
        "median": float(np.median(shares)),
    }


def choose_slices(config: CnrIemnConfig, scans: Scans, diagnoses: Sequence[int]) -> list[int]:
    """A row of the store for each of `diagnoses`, of another scan each time, where there are any.

    See `typical_slice`.
    """
    labels = label_slices(config, scans, read_slice_labels(config.data, config.labels))
    chosen: list[int] = []
    waiting = list(diagnoses)
    for diagnosis, rows in zip(scans.diagnoses, scans.rows, strict=True):
        infected = rows[labels[rows] == diagnosis]
        if diagnosis in waiting and infected.size:
            waiting.remove(diagnosis)
            chosen.append(typical_slice(scans, infected))
    return chosen


def typical_slice(scans: Scans, rows: np.ndarray) -> int:
    """Of some slices of a scan that with most lesion where lesions are known, else the middle one.

    Ours: the paper does not say how its examples were chosen.
    """
    lesion = [scans.store.index[row]["lesion_pixels"] or "0" for row in rows]
    largest = int(np.argmax(np.array(lesion, dtype=int)))
    return int(rows[largest] if int(lesion[largest]) else rows[len(rows) // 2])
