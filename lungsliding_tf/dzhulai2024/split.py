"""Clips cut from sequences, and who trains, who validates and who tests."""

import dataclasses

import numpy as np

from lungsliding_tf.dzhulai2024.config import CLASSES
from lungsliding_tf.dzhulai2024.data import Stores, sequence_rows, stores_of
from lungsliding_tf.dzhulai2024.experiments import Planned
from lungsliding_tf.dzhulai2024.sources import ABSENT_CLASS, PRESENT_CLASS
from preprocessing import splits
from preprocessing.errors import InputError
from preprocessing.store import Store

LEFT_OUT = "left out"  # part of a clip that was dropped to make class ratios equal


@dataclasses.dataclass(frozen=True)
class Clips:
    """The clips of one planned network. Arrays have one entry for each.

    Attributes:
        frames: store of frames.
        flow: store of flow fields, row for row that of the frames; None where no network reads it.
        starts: row of the first frame.
        length: frames of a clip.
        labels: 1 absent, 0 present.
        parts: "train", "val", "test" or "left out".
        mean, deviation: of the gray levels that are trained on, 0 to 255.
    """

    frames: Store
    flow: Store | None
    starts: np.ndarray
    length: int
    patients: np.ndarray
    files: np.ndarray
    labels: np.ndarray
    parts: np.ndarray
    leaky: bool
    near_duplicates: int
    mean: float
    deviation: float

    def of(self, *parts: str) -> np.ndarray:
        """Positions of the parts' clips in these arrays."""
        return np.flatnonzero(np.isin(self.parts, parts))

    def trained_on(self, fits_val: bool = False) -> np.ndarray:
        """Positions of the clips that a network is trained on."""
        return self.of(splits.TRAIN, splits.VAL) if fits_val else self.of(splits.TRAIN)

    def describe(self) -> str:
        """One line: clips by class, and patients, of each part, and LEAKY if it leaks."""
        found = []
        for part in (splits.TRAIN, splits.VAL, splits.TEST):
            at = self.of(part)
            present, absent = np.bincount(self.labels[at], minlength=2)
            patients = np.unique(self.patients[at]).size
            found.append(f"{part} {present} + {absent} clips of {patients} patients")
        dropped = self.of(LEFT_OUT).size
        found += [f"{dropped} left out for equal class ratios"] if dropped else []
        found += [f"{self.near_duplicates} near-duplicates"] if self.near_duplicates else []
        return ("LEAKY: " if self.leaky else "") + ", ".join(found) + " (present + absent)"


def split_clips(one: Planned, stores: Stores, seed: int) -> Clips:
    """Cut the sequences into clips and split them, checked for leaks.

    Raises:
        InputError: no sequence is as long as a clip, no patients are known, too few of a class, or
            a leak that nobody asked for.
    """
    config = one.config
    frames, flow = stores_of(one, stores)
    starts = cut_clips(frames, one.frames)
    labels = frames.column("label").astype(int)[starts]
    starts, labels = starts[labels >= 0], labels[labels >= 0]
    patients, files = (frames.column(name)[starts] for name in ("patient_id", "file"))
    by_video = config.split == "released-videos"
    if not by_video and not np.all(patients != ""):
        raise InputError(
            f"{config.data}: names no patient for {files[patients == ''][0]}, and a patient-wise "
            "split needs one: add patient_id to its entry, or pass --split released-videos to "
            "split by video as the released code does"
        )
    patients = np.where(patients == "", files, patients)
    if config.shuffle_labels:
        labels = splits.deal_labels_anew(patients, labels, seed)
    groups = files if by_video else patients
    _check_both_classes(frames, groups, labels, "videos" if by_video else "patients", one.frames)
    # In the control experiment every group has both classes alike.
    strata = np.zeros_like(labels) if config.control_frozen else labels
    parts = splits.split_patients(groups, strata, seed, config.test_fraction, config.val_fraction)
    clips = [frames.samples[start : start + one.frames] for start in starts]  # nothing read yet
    leaks = splits.find_leaks(patients, files, frames.file_hashes, parts, clips)
    leaky = splits.check_split(leaks, leaks_requested=by_video)
    _check_parts(frames, parts, labels)
    if config.equal_ratios:
        parts = equalise_ratios(parts, labels, seed)
        _check_parts(frames, parts, labels, "; --no-equal-ratios keeps all clips")
    if config.overfit_clips:
        parts = _keep_few(parts, labels, config.overfit_clips // 2, frames)
    trained = [splits.TRAIN, splits.VAL] if one.fits_val else [splits.TRAIN]
    mean, deviation = _gray_levels([clips[i] for i in np.flatnonzero(np.isin(parts, trained))])
    return Clips(frames, flow, starts, one.frames, patients, files, labels, parts, leaky,
                 leaks.near_duplicates, mean, deviation)  # fmt: skip


def cut_clips(frames: Store, length: int) -> np.ndarray:
    """Rows where clips start: `length` frames that follow one another, none in two clips.

    Released: as many as fit into a stretch, from its beginning; the rest is dropped.

    Raises:
        InputError: every sequence is shorter.
    """
    sequences = sequence_rows(frames)
    starts = [
        start for rows in sequences for start in range(rows.start, rows.stop - length + 1, length)
    ]
    if not starts:
        longest = max(len(rows) for rows in sequences)
        raise InputError(
            f"{frames.folder}: no clip of {length} frames fits into any stretch, the longest has "
            f"{longest}; ask for fewer frames"
        )
    return np.array(starts)


def equalise_ratios(parts: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Parts with clips of the present class dropped until all have the lowest ratio among them.

    Paper: section IV: the ratios of the classes are made the same by dropping some examples of
    class 0. Released: down to the lowest ratio of present to absent clips.
    """
    rng = np.random.default_rng((seed, 1))
    names = [name for name in (splits.TRAIN, splits.VAL, splits.TEST) if np.any(parts == name)]
    present = {name: np.flatnonzero((parts == name) & (labels == PRESENT_CLASS)) for name in names}
    absent = {name: int(np.sum((parts == name) & (labels == ABSENT_CLASS))) for name in names}
    ratio = min(present[name].size / absent[name] for name in names)
    parts = parts.astype(object)
    for name in names:
        kept = int(absent[name] * ratio + 1e-9)
        parts[rng.permutation(present[name])[kept:]] = LEFT_OUT
    return parts.astype(str)


def _check_parts(frames: Store, parts: np.ndarray, labels: np.ndarray, advice: str = "") -> None:
    """Refuse a part without clips of a class: by mixed patients, or by dropping too many."""
    for part in (splits.TRAIN, splits.VAL, splits.TEST):
        for label, name in enumerate(CLASSES):
            if not np.any((parts == part) & (labels == label)):
                raise InputError(
                    f"{frames.folder}: the {part} part has no clip with sliding {name}; add "
                    f"videos of that class{advice}"
                )


def _keep_few(parts: np.ndarray, labels: np.ndarray, each: int, frames: Store) -> np.ndarray:
    """Parts whose training part is the first few clips of each class.

    Raises:
        InputError: there are not as many.
    """
    parts = parts.astype(object)
    for label, name in enumerate(CLASSES):
        of_class = np.flatnonzero((parts == splits.TRAIN) & (labels == label))
        if of_class.size < each:
            raise InputError(
                f"{frames.folder}: has {of_class.size} training clips with sliding {name}; "
                f"--overfit-clips asks for {each} of each class"
            )
        parts[of_class[each:]] = LEFT_OUT
    return parts.astype(str)


def _check_both_classes(
    frames: Store, groups: np.ndarray, labels: np.ndarray, kind: str, length: int
) -> None:
    """Refuse data with fewer than 3 groups of a class: one for each part."""
    for label, name in enumerate(CLASSES):
        found = np.unique(groups[labels == label]).size
        if found < 3:
            raise InputError(
                f"{frames.folder}: has clips of {length} frames of {found} {kind} with sliding "
                f"{name}, training needs 3 at least, one for each part: add videos, or ask for "
                "fewer frames"
            )


def _gray_levels(clips: list[np.ndarray]) -> tuple[float, float]:
    """Mean and standard deviation of all pixels (section III), read clip by clip."""
    count = total = squares = 0.0
    for clip in clips:
        values = np.bincount(np.ravel(clip), minlength=256)
        levels = np.arange(256)
        count += values.sum()
        total += values @ levels
        squares += values @ levels**2
    mean = total / count
    return float(mean), float(np.sqrt(squares / count - mean**2))
