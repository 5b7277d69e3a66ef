"""Section 4's second look: the test images again, cropped to the chest."""

import csv
from collections.abc import Callable
from pathlib import Path

import cv2
import keras
import numpy as np

from preprocessing import splits
from preprocessing.errors import InputError
from preprocessing.radiographs import read_radiograph, resize_radiograph
from replication.batches import to_network_input
from vbreathnet.config import VBreathNetConfig
from vbreathnet.data import lung_mask_path
from vbreathnet.split import Samples

WRONG_CROPPED, ALL_CROPPED = "test-wrong-cropped", "test-all-cropped"
MARGIN = 0.03  # Ours: around the lungs, as a share of the image's side

Box = tuple[float, float, float, float]  # left, top, right, bottom as shares of width and height


def score_cropped_test(
    config: VBreathNetConfig,
    model: keras.Model,
    samples: Samples,
    predictions: list[dict],
    scaling: str,
    say: Callable[[str], None],
) -> list[dict]:
    """The test part again in two versions: only the wrong images cropped, and all of them.

    Paper: section 4 cropped the five wrong images to the chest, away from the diaphragm, and
    Table 4 counts the two that then came out right. Ours: all 90 cropped as well, since a crop
    chosen for being wrong can only help.

    Returns:
        Rows for predictions.csv with the splits "test-wrong-cropped" and "test-all-cropped";
        none without lung masks and boxes.

    Raises:
        InputError: --crops cannot be read, or an image is gone from the data folder.
    """
    test = [row for row in predictions if row["split"] == splits.TEST]
    boxes = find_boxes(config, samples, [row["sample_id"] for row in test])
    if not boxes:
        say("no cropped test: the data folder has no lung masks, and --crops was not given")
        return []
    without = len(test) - len(boxes)
    if without:
        say(f"cropped test: {without} of {len(test)} images have no box and stay as they are")
    cropped = {number: _cropped_row(config, model, row, boxes[number], scaling)
               for row in test if (number := row["sample_id"]) in boxes}  # fmt: skip
    scores = [f"score_{name}" for name in config.classes]
    result = []
    for name in (WRONG_CROPPED, ALL_CROPPED):
        for row in test:
            said = max(range(len(scores)), key=lambda i, row=row: float(row[scores[i]]))
            chosen = name == ALL_CROPPED or said != row["label"]
            taken = cropped.get(row["sample_id"], row) if chosen else row
            result.append({**taken, "split": name})
    return result


def find_boxes(config: VBreathNetConfig, samples: Samples, numbers: list[int]) -> dict[int, Box]:
    """Chest boxes of samples, from --crops, else from lung masks beside the images."""
    given = read_boxes(config.crops) if config.crops else {}
    boxes = {}
    for number in numbers:
        file = samples.store.index[number]["file"]
        if file in given:
            boxes[number] = _as_shares(config.data / file, given[file])
            continue
        mask = lung_mask_path(config.data, file)
        if not config.crops and mask is not None:
            boxes[number] = box_of_mask(cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE), mask)
    return boxes


def read_boxes(path: Path) -> dict[str, tuple[float, float, float, float]]:
    """x, y, width and height for each file of a --crops table.

    Raises:
        InputError: no such table, a column is missing or a number is none.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        return {
            row["file"]: tuple(float(row[name]) for name in ("x", "y", "width", "height"))
            for row in rows
        }
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: is not a table with columns file, x, y, width, height ({error!r})"
        ) from error


def box_of_mask(mask: np.ndarray | None, path: Path) -> Box:
    """The bounding box of a lung mask with a margin.

    Raises:
        InputError: the mask cannot be read or is empty.
    """
    if mask is None or not mask.any():
        raise InputError(f"{path}: is not a lung mask (unreadable or empty); correct or delete it")
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = mask.shape
    edges = (columns[0] / width, rows[0] / height,
             (columns[-1] + 1) / width, (rows[-1] + 1) / height)  # fmt: skip
    wider = np.add(edges, (-MARGIN, -MARGIN, MARGIN, MARGIN))
    return tuple(np.clip(wider, 0, 1).tolist())


def _as_shares(path: Path, box: tuple[float, float, float, float]) -> Box:
    height, width = read_radiograph(path).shape
    x, y, w, h = box
    if w < 1 or h < 1 or x < 0 or y < 0 or x + w > width or y + h > height:
        raise InputError(
            f"{path}: the box {w:g}x{h:g} at ({x:g}, {y:g}) does not lie in its {width}x{height} "
            "pixels; correct --crops"
        )
    return x / width, y / height, (x + w) / width, (y + h) / height


def _cropped_row(
    config: VBreathNetConfig, model: keras.Model, row: dict, box: Box, scaling: str
) -> dict:
    """A prediction row of an image, cropped from its file so that no resolution is lost."""
    image = read_radiograph(config.data / row["file"])
    height, width = image.shape
    left, top, right, bottom = np.round(np.multiply(box, (width, height, width, height))).astype(
        int
    )
    small = resize_radiograph(image[top:bottom, left:right], config.image_size)
    scores = model.predict(to_network_input(small[None], scaling=scaling), verbose=0)[0]
    named = {f"score_{n}": f"{s:.9g}" for n, s in zip(config.classes, scores, strict=True)}
    return {**row, **named, "cropped": 1}
