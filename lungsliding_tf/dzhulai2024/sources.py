"""Which videos there are, whose, what they show, and where to cut: both forms of a data folder."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lungsliding_tf.labels import ABSENT, LABELS_FILE, UNLABELLED, read_labels
from preprocessing import video
from preprocessing.errors import InputError
from preprocessing.tables import JSON_ERRORS, check_inside, exists, parse_json, shown

METAFILE = "sliding_metafile.json"
# Paper: section IV: ls_p and ls_a are 0 and 1, so that absence is the positive class.
PRESENT_CLASS, ABSENT_CLASS = 0, 1
CLASS_NUMBERS = {"ls_p": PRESENT_CLASS, "ls_a": ABSENT_CLASS}
FRAME_NAME = "frame_{}.png"  # Released: of each frame in a video's folder, from 0


@dataclass(frozen=True)
class Video:
    """One video of a data folder.

    Attributes:
        file: its name in the list, which is that of its file or folder of frames.
        patient: "" where the list names none, as the released one.
        label: 1 sliding absent, 0 present, -1 not stated.
        intervals: (first frame, end) of each usable stretch, the end not included; None is all.
    """

    file: str
    path: Path
    patient: str
    label: int
    intervals: tuple[tuple[int, int], ...] | None
    is_phantom: bool


def read_sources(data: Path, allow_mixed_patients: bool = False) -> list[Video]:
    """The videos of a folder with `sliding_metafile.json`, or else with `labels.csv`.

    Raises:
        InputError: neither is there, or what is there is malformed or names what does not exist.
    """
    if (data / METAFILE).is_file():
        return read_metafile(data / METAFILE, allow_mixed_patients)
    if not (data / LABELS_FILE).is_file():
        raise InputError(
            f"{data}: holds neither {METAFILE} (video_name, video_class, cut_interval) nor "
            f"{LABELS_FILE} (file, patient_group, lung_sliding); one of them says what is in it"
        )
    return [
        Video(
            one.file,
            one.path,
            one.patient,
            UNLABELLED if one.label == UNLABELLED else int(one.label == ABSENT),
            None,
            one.is_phantom,
        )
        for one in read_labels(data, allow_mixed_patients)
    ]


def read_metafile(path: Path, allow_mixed_patients: bool = False) -> list[Video]:
    """The videos of a list in the released form, which lie beside it.

    Released: a list of objects with video_name, video_class (ls_p or ls_a) and cut_interval (pairs
    of frame numbers). Ours: `patient_id` may name the patient and `phantom` a synthetic video.

    Raises:
        InputError: malformed, a name twice, a video that does not exist or lies elsewhere, or a
            patient with both classes.
    """
    try:
        entries = parse_json(path)
    except JSON_ERRORS as error:
        raise InputError(f"{path}: is not a JSON file ({error}); download it again") from error
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: expected a list of videos; download it again")
    videos = [_parse(path, number, entry) for number, entry in enumerate(entries, start=1)]
    for name, count in Counter(one.file for one in videos).items():
        if count > 1:
            raise InputError(
                f"{path}: names {shown(name)} twice; keep one entry with all its intervals"
            )
    classes: dict[str, set[int]] = {}
    for one in videos:
        classes.setdefault(one.patient, set()).add(one.label)
    mixed = sorted(p for p, found in classes.items() if p and len(found) > 1)
    if mixed and not allow_mixed_patients:
        raise InputError(
            f"{path}: patient {shown(mixed[0])} has videos of both classes; correct the class, or "
            "pass --allow-mixed-patients if one side slides and the other does not"
        )
    return videos


def _parse(path: Path, number: int, entry) -> Video:
    where = f"{path}, entry {number}"
    try:
        name, class_name = entry["video_name"], entry["video_class"]
        intervals = tuple(sorted((first, end) for first, end in entry["cut_interval"]))
        label = CLASS_NUMBERS[class_name]
        if not isinstance(name, str) or not name or not intervals:
            raise ValueError("an empty name, or no interval")
        if not all(type(number) is int for pair in intervals for number in pair):
            raise ValueError(f"cut_interval {intervals} holds something else than whole numbers")
        if any(first < 0 or end <= first for first, end in intervals):
            raise ValueError(f"cut_interval {intervals} has an end before its start")
        if any(a[1] > b[0] for a, b in itertools.pairwise(intervals)):
            raise ValueError(f"cut_interval {intervals} overlap")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{where}: is malformed ({shown(repr(error))}); expected video_name, video_class (ls_p "
            "or ls_a) and cut_interval, pairs of a first frame and an end"
        ) from error
    video_path = path.parent / name
    check_inside(name, path.parent, where)
    if not exists(video_path):
        raise InputError(
            f"{where}: {path.parent / shown(name)} does not exist; put its folder of frames there"
        )
    patient = _parse_patient(where, entry.get("patient_id"))
    return Video(name, video_path, patient, label, intervals, entry.get("phantom") is True)


def _parse_patient(where: str, patient) -> str:
    """The patient that an entry names: "" for none; patient 0 is one."""
    if patient is None:
        return ""
    if type(patient) not in (str, int):  # to isinstance, true and false are numbers
        raise InputError(
            f"{where}: patient_id is {shown(json.dumps(patient))}; expected text or a whole "
            "number: correct it, or leave it out if the patient is unknown"
        )
    return str(patient).strip()


def read_stretches(source: Video) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    """Each usable stretch of a video: its first frame's number, and its frames.

    Each stretch has to be read to its end before the next one is asked for.

    Yields:
        (first frame, iterator over uint8 (height, width) frames, gray, in temporal order).

    Raises:
        InputError: a frame is missing or unreadable, or of another size than those before it.
    """
    if source.intervals is None:
        yield 0, video.read_frames(source.path)
        return
    for first, end in source.intervals:
        in_folder = source.path.is_dir()
        yield first, (_numbered_frames if in_folder else _cut_frames)(source.path, first, end)


def _numbered_frames(folder: Path, first: int, end: int) -> Iterator[np.ndarray]:
    """Frames of a folder by the numbers in their names."""
    shape = None
    for number in range(first, end):
        file = folder / FRAME_NAME.format(number)
        if not file.exists():
            raise InputError(
                f"{file}: is missing, though the list cuts frames {first} to {end - 1} of this "
                "video; extract its frames again, or correct cut_interval"
            )
        frame = video.read_png(file)
        if shape not in (None, frame.shape):
            raise InputError(f"{file}: has another size than the frames before it")
        shape = frame.shape
        yield frame


def _cut_frames(path: Path, first: int, end: int) -> Iterator[np.ndarray]:
    """Frames of a video file by their position."""
    count = 0
    for number, frame in enumerate(video.read_frames(path)):
        if number >= end:
            return
        if number >= first:
            count += 1
            yield frame
    if first + count < end:
        raise InputError(
            f"{path}: ends before frame {end}, though the list cuts frames {first} to {end - 1} of "
            "this video; copy it again, or correct cut_interval"
        )
