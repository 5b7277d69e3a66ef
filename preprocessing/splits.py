"""Who trains and who tests: patient-disjoint splits, the published split, and the leak check."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

from preprocessing.errors import InputError

TRAIN, VAL, TEST = "train", "val", "test"

# Ours: two samples whose thumbnails correlate at least this much count as near-duplicates.
NEAR_DUPLICATE_CORRELATION = 0.98
THUMBNAIL_FRAMES, THUMBNAIL_SIDE = 3, 10


def split_patients(
    patients: Sequence[str],
    labels: Sequence[int],
    seed: int,
    test_fraction: float = 0.30,
    val_fraction: float = 0.15,
) -> np.ndarray:
    """Split samples so that no patient is in two parts; the class ratio is kept over patients.

    Paper: Kolárik 2023, section 3.1.1: 70:30, patient-wise. Ours: stratified by class, and a
    validation part of whole patients taken from the training part (the paper names none), so
    that the checkpoint is not chosen on the test part.

    Args:
        patients: patient of each sample.
        labels: class of each sample; a patient with several classes is stratified by the first.
        seed: same seed, same split.
        test_fraction: share of the patients that test.
        val_fraction: share of *all* patients that validate.

    Returns:
        Array of "train", "val" or "test", one for each sample.

    Raises:
        InputError: too few patients of a class to have one in each part.
    """
    names, first = np.unique(patients, return_index=True)
    classes = np.asarray(labels)[first]
    part_of = {}
    for value in np.unique(classes):
        of_class = names[classes == value]
        if of_class.size < 3:
            raise InputError(
                f"class {value} has {of_class.size} patients; a patient-wise split into train, val "
                "and test needs at least 3 of each class: add patients"
            )
        n_test = min(max(round(test_fraction * of_class.size), 1), of_class.size - 2)
        n_val = min(max(round(val_fraction * of_class.size), 1), of_class.size - n_test - 1)
        rest, test = train_test_split(of_class, test_size=n_test, random_state=seed)
        train, val = train_test_split(rest, test_size=n_val, random_state=seed)
        part_of |= dict.fromkeys(train, TRAIN) | dict.fromkeys(val, VAL) | dict.fromkeys(test, TEST)
    return np.array([part_of[patient] for patient in patients])


def split_published_leaky_clips(samples: int, seed: int) -> np.ndarray:
    """The split that the printed numbers reveal. It LEAKS: tiles of one clip land on both sides.

    Inferred: the test sets of Kolárik 2023, Tables 1 and 2, hold ceil(0.2 n) of the stated clips
    in four of four data sets, unstratified, which is what a random split of clips gives and a
    patient-wise 70:30 split does not. No validation part: the checkpoint is chosen on test.

    Returns:
        Array of "train" or "test", one for each sample.
    """
    _, test = train_test_split(np.arange(samples), test_size=0.2, random_state=seed)
    parts = np.full(samples, TRAIN)
    parts[test] = TEST
    return parts


def deal_labels_anew(patients: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Permute the labels over the patients: a pipeline without leaks then learns nothing."""
    names, first, group = np.unique(patients, return_index=True, return_inverse=True)
    return np.random.default_rng(seed).permutation(labels[first])[group]


def split_groups(
    groups: Sequence[str],
    labels: Sequence[int],
    rng: np.random.Generator,
    test_per_class: int,
    val_fraction: float,
    class_names: Sequence[str],
) -> np.ndarray:
    """Split samples by whole groups: a fixed number of each class tests, a share of the rest
    validates.

    Paper: V-BreathNet, sections 3.1 and 4: 80:20, and a test of 90 images in equal parts. Ours:
    images of one patient, and near-duplicates, stay together.

    Args:
        groups: patient or group of near-duplicates of each sample.
        labels: index into `class_names` of each sample; a group of several classes counts for that
            of its first sample.
        rng: decides who goes where.
        test_per_class: samples of each class in the test part; groups that would exceed it are
            passed over, so that there may be fewer where groups are large.
        val_fraction: share of the remaining samples of each class that validate.
        class_names: for messages.

    Returns:
        Array of "train", "val" or "test", one for each sample.

    Raises:
        InputError: a class cannot fill the three parts.
    """
    names, first, of_sample, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    classes = np.asarray(labels)[first]
    part_of_group = np.full(len(names), TRAIN)
    for label, class_name in enumerate(class_names):
        order = rng.permutation(np.flatnonzero(classes == label))
        total = int(sizes[order].sum())
        test = _fill(order, sizes, test_per_class)
        rest = order[~np.isin(order, test)]
        val = _fill(rest, sizes, max(round(val_fraction * (total - test_per_class)), 1))
        if not test.size or not val.size or len(val) == len(rest):
            raise InputError(
                f"class {class_name} has {total} usable samples in {len(order)} groups: too few "
                f"for {test_per_class} test samples, a training and a validation part; add samples"
            )
        part_of_group[test], part_of_group[val] = TEST, VAL
    return part_of_group[of_sample]


def _fill(groups: np.ndarray, sizes: np.ndarray, samples: int) -> np.ndarray:
    """Groups from the front that hold this many samples together and no more."""
    chosen, left = [], samples
    for group in groups:
        if sizes[group] <= left:
            chosen.append(group)
            left -= sizes[group]
    return np.array(chosen, dtype=int)


def join_groups(*groupings: Sequence[str]) -> np.ndarray:
    """Groups of samples that share a name in any of several groupings, however indirectly.

    An empty name stands for not known and joins nothing.

    Returns:
        Array of names, one for each sample: the first name, in order of the groupings, of the
        group's first sample; or `sample-<number>` where it has none.
    """
    count = len(groupings[0])
    edges = [np.empty((0, 2), dtype=int)]
    for grouping in map(np.asarray, groupings):
        known = np.flatnonzero(grouping != "")
        _, first, inverse = np.unique(grouping[known], return_index=True, return_inverse=True)
        edges.append(np.stack([known, known[first][inverse]], axis=1))
    pairs = np.concatenate(edges)
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    _, first = np.unique(component, return_index=True)
    names = []
    for sample in first:
        known = [str(grouping[sample]) for grouping in groupings if grouping[sample] != ""]
        names.append(known[0] if known else f"sample-{sample}")
    return np.array(names)[component]


@dataclass(frozen=True)
class LeakReport:
    """What stands on both sides of a split.

    `patients` and `files` (pairs of names of one identical file) are leaks;
    `near_duplicates` counts samples that look like one in another part.
    """

    patients: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    near_duplicates: int

    @property
    def leaky(self) -> bool:
        """Whether a patient or a file is in two parts."""
        return bool(self.patients or self.files)

    def describe(self) -> str:
        """One line that names the first leaks."""
        parts = []
        if self.patients:
            shown = ", ".join(self.patients[:3])
            parts.append(f"{len(self.patients)} patients are in more than one part ({shown} ...)")
        if self.files:
            one, other = self.files[0]
            parts.append(
                f"{len(self.files)} files are in two parts under two names ({one}, {other})"
            )
        return "; ".join(parts) or "no patient and no file is in two parts"


def find_leaks(
    patients: Sequence[str],
    files: Sequence[str],
    file_hashes: dict[str, str],
    parts: Sequence[str],
    samples: Sequence[np.ndarray] | None = None,
) -> LeakReport:
    """Look for patients, files and samples that stand in more than one part of a split.

    Args:
        patients, files, parts: of each sample.
        file_hashes: content hash of each file name.
        samples: n clips, uint8 (frames, height, width), for the near-duplicate count; they are
            read one at a time. None skips it.
    """
    parts_of_patient, files_of_hash = defaultdict(set), defaultdict(set)
    for patient, file, part in zip(patients, files, parts, strict=True):
        parts_of_patient[patient].add(part)
        files_of_hash[file_hashes[file]].add((file, part))
    leaking_patients = tuple(sorted(p for p, found in parts_of_patient.items() if len(found) > 1))
    leaking_files = []
    for found in files_of_hash.values():
        ordered = sorted(found)
        for one, other in zip(ordered, ordered[1:], strict=False):
            if one[0] != other[0] and one[1] != other[1]:
                leaking_files.append((one[0], other[0]))
    near = 0 if samples is None else count_near_duplicates(samples, parts)
    return LeakReport(leaking_patients, tuple(leaking_files), near)


def check_split(report: LeakReport, leaks_requested: bool) -> bool:
    """Refuse a leaking split unless the published protocol was asked for.

    Returns:
        Whether the split leaks: then every number made with it has to be shown as LEAKY.

    Raises:
        InputError: it leaks and nobody asked for that.
    """
    if report.leaky and not leaks_requested:
        raise InputError(
            f"the split leaks: {report.describe()}; name them as one patient "
            "(or ask for the published protocol by name)"
        )
    return report.leaky


def count_near_duplicates(samples: Sequence[np.ndarray], parts: Sequence[str]) -> int:
    """How many samples of val nearly equal one of train, or of test one of train or val.

    Compares thumbnails (three frames, 10x10 px each, mean and scale removed) by correlation.
    """
    parts = np.asarray(parts)
    thumbnails = _thumbnails(samples)
    count = 0
    for part, earlier in ((VAL, (TRAIN,)), (TEST, (TRAIN, VAL))):
        ours, theirs = parts == part, np.isin(parts, earlier)
        if ours.any() and theirs.any():
            nearest = NearestNeighbors(n_neighbors=1).fit(thumbnails[theirs])
            distance, _ = nearest.kneighbors(thumbnails[ours])
            # For unit vectors |a - b|^2 = 2 - 2 correlation.
            count += int((distance[:, 0] ** 2 <= 2 - 2 * NEAR_DUPLICATE_CORRELATION).sum())
    return count


def _thumbnails(samples: Sequence[np.ndarray]) -> np.ndarray:
    """Unit-length float32 (n, 300) descriptions of n clips (frames, height, width)."""
    thumbnails = []
    for clip in samples:
        frames = np.linspace(0, len(clip) - 1, THUMBNAIL_FRAMES).astype(int)
        picture = np.asarray(clip)[frames].astype(np.float32)
        for axis in (1, 2):
            picture = np.add.reduceat(picture, _block_edges(picture.shape[axis]), axis=axis)
        thumbnails.append(picture.ravel())
    centred = np.array(thumbnails) - np.mean(thumbnails, axis=1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)


def _block_edges(size: int) -> np.ndarray:
    return np.unique(np.linspace(0, size, THUMBNAIL_SIDE, endpoint=False).astype(int))
