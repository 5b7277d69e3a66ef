"""Which scans train and which validate, and which of their slices have a label for stage one."""

import dataclasses
import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from cnr_iemn.config import CAP, CLASSES, COVID, NORMAL, CnrIemnConfig, Scenario
from cnr_iemn.scans import SliceLabels, read_slice_labels
from preprocessing import splits
from preprocessing.errors import InputError
from preprocessing.store import Store

UNLABELLED = -1
NO_FOLD = -1


@dataclasses.dataclass(frozen=True)
class Scans:
    """The scans of a store. Arrays have one entry a scan.

    Attributes:
        store: where their slices are.
        patients: one scan each.
        diagnoses: indices into CLASSES.
        rows: rows of each scan's slices in the store, head first.
    """

    store: Store
    patients: np.ndarray
    diagnoses: np.ndarray
    rows: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, store: Store) -> "Scans":
        """The scans of a store, in its order."""
        patients = store.column("patient_id")
        names, first = np.unique(patients, return_index=True)
        names = names[np.argsort(first)]
        labels = store.column("label").astype(int)
        rows = tuple(np.flatnonzero(patients == name) for name in names)
        return cls(store, names, np.array([labels[of[0]] for of in rows]), rows)

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """For each slice of the store its number from the head, and the slices of its scan."""
        return self.store.column("slice").astype(int), self.store.column("slices").astype(int)

    def regions(self, parts: int) -> np.ndarray:
        """int (slices,): which of so many equal parts of its scan a slice lies in."""
        number, slices = self.places
        return parts * number // slices  # Paper: section 3.3.1, Figure 5: equal regions


@dataclasses.dataclass(frozen=True)
class Slices:
    """The labelled scans and slices of stage one, split.

    Attributes:
        scans: all scans of the store.
        parts: "train" or "val" for each scan.
        folds: number of each training scan's fold; NO_FOLD for a scan of which no slice trains.
        labels: class of each slice of the store; UNLABELLED for those that stage one leaves alone.
        label_hash: of all slice labels, since the store does not hold them.
        seed: of split, folds and copies.
    """

    scans: Scans
    parts: np.ndarray
    folds: np.ndarray
    labels: np.ndarray
    label_hash: str
    seed: int

    def rows_of(self, part: str, fold: int | None = None) -> np.ndarray:
        """Rows of the labelled slices of a part; of all its scans but those of one fold."""
        chosen = self.parts == part
        if fold is not None:
            chosen &= self.folds != fold
        rows = np.concatenate([self.scans.rows[i] for i in np.flatnonzero(chosen)])
        return rows[self.labels[rows] != UNLABELLED]

    def training_keys(
        self, config: CnrIemnConfig, scenario: Scenario, fold: int | None, epoch: int
    ) -> np.ndarray:
        """Items of `SliceImages` that an epoch trains on, in its order.

        Paper: section 3.3.1: 3 copies of each COVID-19 slice, 10 of each CAP slice. Ours: of the
        training part alone, as its counts also say (Inferred: 9928 = 4 x 2482, 8162 = 11 x 742).
        """
        rows, count = self.rows_of(splits.TRAIN, fold), len(self.labels)
        keys = [rows]
        if scenario in ("augmented", "multitask"):
            if config.augmentation == "every-epoch":
                keys = [rows + count * (epoch + 1)]  # a copy of its own for each epoch
            else:
                for label, copies in ((COVID, config.covid_copies), (CAP, config.cap_copies)):
                    of_class = rows[self.labels[rows] == label]
                    keys += [of_class + count * copy for copy in range(1, copies + 1)]
        return np.random.default_rng((self.seed, epoch)).permutation(np.concatenate(keys))

    def describe(self) -> str:
        """One line: scans and labelled slices of each part and class."""
        said = []
        for part in (splits.TRAIN, splits.VAL):
            scans = np.bincount(self.scans.diagnoses[self.parts == part], minlength=len(CLASSES))
            slices = np.bincount(self.labels[self.rows_of(part)], minlength=len(CLASSES))
            said.append(f"{part} {' + '.join(map(str, scans))} scans, "
                        f"{' + '.join(map(str, slices))} labelled slices")  # fmt: skip
        return f"{'; '.join(said)} ({', '.join(CLASSES)})"


@dataclasses.dataclass(frozen=True)
class TestSet:
    """Further scans that train nothing.

    Attributes:
        name: "test-1", "test-2" and so on.
        scans: its scans.
        labels: class of each slice, UNLABELLED where there is none.
    """

    name: str
    scans: Scans
    labels: np.ndarray


def read_test_sets(config: CnrIemnConfig, stores: Sequence[Store]) -> list[TestSet]:
    """The test sets in the order of `--test`, with the slice labels that their folders hold."""
    found = []
    for number, (data, store) in enumerate(zip(config.test, stores, strict=True), start=1):
        scans = Scans.of(store)
        labels = label_slices(config, scans, read_slice_labels(data, config.labels))
        if not np.isin(labels, (COVID, CAP)).any():
            # Normal slices alone, which need no label, would make an accuracy of one class.
            labels[:] = UNLABELLED
        found.append(TestSet(f"test-{number}", scans, labels))
    return found


def split_scans(config: CnrIemnConfig, store: Store, labels: SliceLabels, seed: int) -> Slices:
    """Split the scans, label slices, and check for leaks.

    Raises:
        InputError: labels that do not fit, or a class with too few scans or labelled scans.
    """
    scans = Scans.of(store)
    if config.shuffle_labels:
        diagnoses = np.random.default_rng((seed, 1)).permutation(scans.diagnoses)
        scans = dataclasses.replace(scans, diagnoses=diagnoses)
    slice_labels = label_slices(config, scans, labels)
    has_labels = np.array([(slice_labels[rows] != UNLABELLED).any() for rows in scans.rows])
    strata = 2 * scans.diagnoses + has_labels
    for diagnosis, name in enumerate(CLASSES):
        known = int((has_labels & (scans.diagnoses == diagnosis)).sum())
        if known < 2:
            raise InputError(
                f"{config.data}: {known} scans of {name} have slice labels; stage one needs two or "
                "more of each class, to train and to validate"
            )
    rng = np.random.default_rng(seed)
    parts = np.full(len(scans.patients), splits.TRAIN)
    for stratum in np.unique(strata):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        held_out = min(max(round(config.val_fraction * len(members)), 1), len(members) - 1)
        parts[members[:held_out]] = splits.VAL
    files = np.array([store.index[rows[0]]["scan"] for rows in scans.rows])
    splits.check_split(
        splits.find_leaks(scans.patients, files, store.file_hashes, parts), leaks_requested=False
    )
    folds = _deal_folds(config, strata, (parts == splits.TRAIN) & has_labels, rng)
    label_hash = hashlib.sha256(slice_labels.astype(np.int8).tobytes()).hexdigest()
    return Slices(scans, parts, folds, slice_labels, label_hash, seed)


def label_slices(config: CnrIemnConfig, scans: Scans, labels: SliceLabels) -> np.ndarray:
    """int (slices,): class of each slice of the store, or UNLABELLED.

    Paper: section 3.3: slices with evidence of infection have their scan's class; all slices of
    the first 30 normal scans are normal. Ours: with shuffled diagnoses all slices have the class
    that their scan was dealt: infected slices would still differ from the others.
    """
    result = np.full(len(scans.store.index), UNLABELLED)
    files = scans.store.column("file")
    normal_left = config.normal_scans
    for patient, diagnosis, rows in zip(scans.patients, scans.diagnoses, scans.rows, strict=True):
        if diagnosis == NORMAL:
            if normal_left > 0:
                result[rows] = NORMAL
                normal_left -= 1
            continue
        infected = labels.infection(patient, files[rows].tolist())
        if infected is None:
            continue
        if config.shuffle_labels:
            infected = np.ones_like(infected)
        result[rows[infected]] = diagnosis
        if config.uninfected_as_normal:
            result[rows[~infected]] = NORMAL
    return result


def _deal_folds(
    config: CnrIemnConfig, strata: np.ndarray, train: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A fold for each scan that trains stage one, each stratum dealt out evenly."""
    folds = np.full(len(strata), NO_FOLD)
    if not config.folds:
        return folds
    for stratum in np.unique(strata[train]):
        members = rng.permutation(np.flatnonzero(train & (strata == stratum)))
        folds[members] = np.arange(len(members)) % config.folds
    return folds
