"""Which scans train and which validate, and which of their slices have a label for stage one."""

import dataclasses
import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from cnr_iemn.config import CAP, CLASSES, COVID, NORMAL, CnrIemnConfig, Scenario
from cnr_iemn.slice_labels import SliceLabels, read_slice_labels
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
    """Split the scans and label their slices. Each scan is one patient's: see `check_copies`.

    Raises:
        InputError: labels that do not fit; too few scans with labelled slices of a class, to split
            them or to deal them into `folds`.
    """
    scans = Scans.of(store)
    if config.shuffle_labels:
        diagnoses = np.random.default_rng((seed, 1)).permutation(scans.diagnoses)
        scans = dataclasses.replace(scans, diagnoses=diagnoses)
    slice_labels = label_slices(config, scans, labels)
    has_labels = np.array([(slice_labels[rows] != UNLABELLED).any() for rows in scans.rows])
    # Not each labelled scan of a class has slices of it: labels may be of uninfected slices alone.
    shows_class = np.array([
        (slice_labels[rows] == diagnosis).any()
        for rows, diagnosis in zip(scans.rows, scans.diagnoses, strict=True)
    ])  # fmt: skip
    strata = 3 * scans.diagnoses + has_labels + shows_class
    for name, known in _count_by_class(scans, shows_class).items():
        if known < 2:
            raise InputError(
                f"{config.data}: {known} scans of {name} have slices with that label; stage one "
                "needs two or more of each class, to train and to validate"
            )
    rng = np.random.default_rng(seed)
    parts = np.full(len(scans.patients), splits.TRAIN)
    for stratum in np.unique(strata):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        held_out = min(max(round(config.val_fraction * len(members)), 1), len(members) - 1)
        parts[members[:held_out]] = splits.VAL
    train = parts == splits.TRAIN
    if "multitask" in config.scenario:
        _check_folds(config, _count_by_class(scans, train & shows_class))
    folds = _deal_folds(config, strata, train & has_labels, rng)
    label_hash = hashlib.sha256(slice_labels.astype(np.int8).tobytes()).hexdigest()
    return Slices(scans, parts, folds, slice_labels, label_hash, seed)


def label_slices(config: CnrIemnConfig, scans: Scans, labels: SliceLabels) -> np.ndarray:
    """int (slices,): class of each slice of the store, or UNLABELLED.

    Paper: section 3.3: slices with evidence of infection have their scan's class; all slices of
    the first 30 normal scans are normal. Ours: with shuffled diagnoses all slices have the class
    that their scan was dealt: infected slices would still differ from the others.
    """
    result = np.full(len(scans.store.index), UNLABELLED)
    files, locations = scans.store.column("file"), scans.store.column("location_mm").astype(float)
    normal_left = config.normal_scans
    for patient, diagnosis, rows in zip(scans.patients, scans.diagnoses, scans.rows, strict=True):
        if diagnosis == NORMAL:
            if normal_left > 0:
                result[rows] = NORMAL
                normal_left -= 1
            continue
        infected = labels.infection(patient, files[rows].tolist(), locations[rows])
        if infected is None:
            continue
        if config.shuffle_labels:
            infected = np.ones_like(infected)
        result[rows[infected]] = diagnosis
        if config.uninfected_as_normal:
            result[rows[~infected]] = NORMAL
    return result


def check_copies(folders: Sequence[Path], stores: Sequence[Store]) -> None:
    """Refuse a scan that shares a slice with another one, of the same folder or of another.

    Ours: slices are compared by their HU. Names of files, headers and what else lies in a scan's
    folder may differ: a renamed copy would train here and validate there.

    Args:
        folders: the data folder of each store, named in errors: `--data`, then those of `--test`.

    Raises:
        InputError: names the two scans.
    """
    first_of: dict[str, tuple[int, str]] = {}
    for number, store in enumerate(stores):
        for row in store.index:
            scan = (number, row["scan"])
            other = first_of.setdefault(row["hu_sha256"], scan)
            if not row["hu_sha256"] or other == scan:
                continue
            one, two = (folders[k] / file for k, file in (scan, other))
            if number == other[0]:
                rule = "be in a folder once, or it trains and validates"
            else:
                rule = "test once" if other[0] else "train or test, not both"
            raise InputError(
                f"{one}: holds the same slice ({row['file']}) as {two}; a scan may {rule}: remove "
                "one of the two"
            )


def _count_by_class(scans: Scans, chosen: np.ndarray) -> dict[str, int]:
    """How many of the chosen scans, bool (scans,), each class has."""
    counts = np.bincount(scans.diagnoses[chosen], minlength=len(CLASSES))
    return dict(zip(CLASSES, counts.tolist(), strict=True))


def _check_folds(config: CnrIemnConfig, training: dict[str, int]) -> None:
    """Refuse more folds than training scans of a class: some would lack it, or be empty."""
    name = min(training, key=training.get)
    if config.folds > training[name]:
        most = f"{training[name]} at most, or " if training[name] > 1 else ""
        raise InputError(
            f"--folds is {config.folds}, and {training[name]} scans of {name} with labelled slices "
            f"train; each fold needs one of each class: give {most}0, or label more scans"
        )


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
