"""Who trains, who chooses the checkpoint and who tests: the split samples of a store."""

import dataclasses

import numpy as np

from lungsliding_tf.kolarik2023.config import MMODE_CELL, KolarikConfig
from lungsliding_tf.labels import ABSENT, PRESENT
from preprocessing import splits
from preprocessing.errors import InputError
from preprocessing.store import Store
from replication.batches import make_dataset


@dataclasses.dataclass(frozen=True)
class Samples:
    """The labelled samples of a store, split. Arrays have one entry for each."""

    store: Store
    rows: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    parts: np.ndarray
    leaky: bool
    near_duplicates: int

    def of(self, part: str) -> np.ndarray:
        """Positions of a part's samples in these arrays."""
        return np.flatnonzero(self.parts == part)

    def describe(self) -> str:
        """One line: samples and patients of each part, near-duplicates, and LEAKY if it leaks."""
        parts = [
            f"{part} {len(self.of(part))} samples of "
            f"{np.unique(self.patients[self.of(part)]).size} patients"
            for part in (splits.TRAIN, splits.VAL, splits.TEST)
        ]
        near = (
            f"; {self.near_duplicates} near-duplicates across parts" if self.near_duplicates else ""
        )
        return ("LEAKY: " if self.leaky else "") + ", ".join(parts) + near

    def batches(self, config: KolarikConfig, positions: np.ndarray, channels: int):
        """The samples at these positions as a tf.data.Dataset; see `make_dataset`."""
        return make_dataset(
            self.store.samples,
            self.rows[positions],
            self.labels[positions],
            config.batch_size,
            channels,
            config.scaling,
        )


def split_samples(config: KolarikConfig, store: Store, seed: int) -> Samples:
    """The labelled samples of a store with their parts, checked for leaks.

    Raises:
        InputError: too few patients, or a leak that nobody asked for.
    """
    patients, labels = store.column("patient_id"), store.column("label").astype(int)
    files = store.column("file")
    rows = np.flatnonzero(labels >= 0)
    patients, labels, files = patients[rows], labels[rows], files[rows]
    if config.shuffle_labels:
        labels = splits.deal_labels_anew(patients, labels, seed)
    published = config.protocol == "published-leaky-clips"
    _check_both_classes(store, patients, labels, least=1 if published else 3)
    if published:
        parts = splits.split_published_leaky_clips(len(rows), seed)
    else:
        strata = np.zeros_like(labels) if config.control_frozen else labels
        parts = splits.split_patients(
            patients, strata, seed, config.test_fraction, config.val_fraction
        )
    clips = [store.samples[row] for row in rows]  # views, nothing is read yet
    if store.recipe["cell"] == MMODE_CELL:
        clips = [image[None] for image in clips]  # an image is a clip of one frame
    found = splits.find_leaks(patients, files, store.file_hashes, parts, clips)
    leaky = splits.check_split(found, leaks_requested=published)
    return Samples(store, rows, patients, labels, parts, leaky, found.near_duplicates)


def _check_both_classes(store: Store, patients: np.ndarray, labels: np.ndarray, least: int) -> None:
    """Refuse a store with fewer than `least` patients of a class."""
    for label, name in ((PRESENT, "present"), (ABSENT, "absent")):
        found = np.unique(patients[labels == label]).size
        if found < least:
            raise InputError(
                f"{store.folder}: has {found} patients with sliding {name}, training needs at "
                f"least {least} of each class: add labelled videos (lung_sliding in labels.csv)"
            )
