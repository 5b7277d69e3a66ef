"""labels.csv of a lung sliding data set: which videos there are, whose, and what they show."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from preprocessing.errors import InputError
from preprocessing.tables import check_inside, exists, read_table, shown
from preprocessing.video import list_videos

LABELS_FILE = "labels.csv"
ABSENT, PRESENT, UNLABELLED = 0, 1, -1
LABEL_NAMES = {"absent": ABSENT, "present": PRESENT, "not_stated": UNLABELLED}
REQUIRED_COLUMNS = ("file", "patient_group", "lung_sliding")


@dataclass(frozen=True)
class LabelledVideo:
    """One row of labels.csv. `label` is 1 sliding present, 0 absent, -1 not stated."""

    file: str
    path: Path
    patient: str
    label: int
    is_phantom: bool


def read_labels(data: Path, allow_mixed_patients: bool = False) -> list[LabelledVideo]:
    """Read and check `labels.csv` of a data folder.

    Args:
        data: folder with labels.csv (columns file, patient_group, lung_sliding) and the videos.
        allow_mixed_patients: whether a patient may have one video with and one without sliding.

    Raises:
        InputError: no such file, a column or a value is missing, a file it names does not exist
            or is named twice, a patient has both classes.
    """
    table = data / LABELS_FILE
    if not table.is_file():
        raise InputError(f"{table}: not found; --data needs a folder with labels.csv in it "
                         f"(columns {', '.join(REQUIRED_COLUMNS)})")  # fmt: skip
    read = read_table(table, semicolons=True)  # which some spreadsheets export
    missing = [c for c in REQUIRED_COLUMNS if not read.rows or c not in read.columns]
    if missing:
        raise InputError(f"{table}: lacks the columns {', '.join(missing)} or has no rows")
    videos = [_parse(table, data, line, row) for line, row in read.rows]
    _check_unique(table, videos)
    if not allow_mixed_patients:
        _check_one_class_a_patient(table, videos)
    return videos


def unlisted_videos(data: Path, videos: list[LabelledVideo]) -> list[str]:
    """Videos in the data folder that labels.csv does not name, relative to the folder."""
    known = {v.path.resolve() for v in videos}
    return [shown(str(p.relative_to(data))) for p in list_videos(data) if p.resolve() not in known]


def _parse(table: Path, data: Path, line: int, row: dict) -> LabelledVideo:
    where = f"{table}, line {line}"
    for column in REQUIRED_COLUMNS:
        if not row[column]:
            raise InputError(f"{where}: {column} is empty; every video needs one")
    name, file = row["lung_sliding"], row["file"]
    if name not in LABEL_NAMES:
        expected = ", ".join(LABEL_NAMES)
        raise InputError(f"{where}: lung_sliding is '{shown(name)}'; expected {expected}")
    check_inside(file, data, where)
    path = data / file
    if not exists(path):
        raise InputError(
            f"{where}: {data / shown(file)} does not exist; correct the name or remove the line"
        )
    phantom = row.get("phantom") == "yes"
    return LabelledVideo(file, path, row["patient_group"], LABEL_NAMES[name], phantom)


def _check_unique(table: Path, videos: list[LabelledVideo]) -> None:
    seen = set()
    for video in videos:
        if video.path.resolve() in seen:
            raise InputError(f"{table}: names {shown(video.file)} twice; keep one line")
        seen.add(video.path.resolve())


def _check_one_class_a_patient(table: Path, videos: list[LabelledVideo]) -> None:
    classes = defaultdict(set)
    for video in videos:
        classes[video.patient].add(video.label)
    mixed = sorted(p for p, found in classes.items() if {ABSENT, PRESENT} <= found)
    if mixed:
        raise InputError(
            f"{table}: patient {shown(mixed[0])} is labelled both present and absent; correct the "
            "label, or pass --allow-mixed-patients if one side slides and the other does not"
        )
