"""Section 4's second look: the test images again, cropped to the chest."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from preprocessing import roi, splits
from preprocessing.errors import InputError
from preprocessing.radiographs import (
    MINIMUM_SIDE,
    picture_info,
    read_radiograph,
    resize_radiograph,
)
from preprocessing.roi import Region
from preprocessing.store import file_sha256
from preprocessing.video import VideoInfo
from replication.batches import to_network_input
from vbreathnet.config import VBreathNetConfig
from vbreathnet.data import lung_mask_path, read_lung_mask
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
        none without lung masks and drawn boxes.

    Raises:
        InputError: a region file or a lung mask cannot be used, or an image is gone from the data
            folder.
    """
    test = [row for row in predictions if row["split"] == splits.TEST]
    drawn, masked = find_boxes(config, samples, [row["sample_id"] for row in test])
    boxes = drawn | masked
    if not boxes:
        say(
            "no cropped test: the test images have no lung masks and no region files; draw boxes "
            "with scripts/mark_roi.py --radiographs"
        )
        return []
    say(
        f"cropped test: {len(test)} images, {len(drawn)} with a drawn box, {len(masked)} with that "
        f"of their lung mask, {len(test) - len(boxes)} without, which stay as they are"
    )
    cropped = _cropped_rows(config, model, [r for r in test if r["sample_id"] in boxes], boxes,
                            scaling)  # fmt: skip
    scores = [f"score_{name}" for name in config.classes]
    result = []
    for name in (WRONG_CROPPED, ALL_CROPPED):
        for row in test:
            said = max(range(len(scores)), key=lambda i, row=row: float(row[scores[i]]))
            chosen = name == ALL_CROPPED or said != row["label"]
            taken = cropped.get(row["sample_id"], row) if chosen else row
            result.append({**taken, "split": name})
    return result


def find_boxes(
    config: VBreathNetConfig, samples: Samples, numbers: list[int]
) -> tuple[dict[int, Box], dict[int, Box]]:
    """Chest boxes of samples: those drawn, and those of lung masks for images nobody marked.

    An image that was marked as having nothing to mark is in neither.

    Raises:
        InputError: no folder --roi-dir; a region file or a mask that cannot be used.
    """
    if config.roi_dir is not None and not config.roi_dir.is_dir():
        raise InputError(
            f"--roi-dir {config.roi_dir}: no such folder; name the one of the region files"
        )
    drawn, masked = {}, {}
    for number in numbers:
        file = samples.store.index[number]["file"]
        image = config.data / file
        region_file = roi.roi_path(image, config.roi_dir)
        if region_file.exists():
            info = picture_info(image)
            regions = roi.load_regions(image, info, config.roi_dir)
            if regions:
                drawn[number] = box_of_regions(regions, info, region_file)
        elif (mask := read_lung_mask(config.data, file)) is not None:
            masked[number] = box_of_mask(mask)
    return drawn, masked


def fingerprint_of_marks(config: VBreathNetConfig, samples: Samples) -> str:
    """SHA-256 of the region files and lung masks of all images that are not trained on, as hex."""
    digest = hashlib.sha256()
    for number in samples.rows[samples.parts != splits.TRAIN]:
        file = samples.store.index[number]["file"]
        region_file = roi.roi_path(config.data / file, config.roi_dir)
        for path in (region_file, lung_mask_path(config.data, file)):
            if path is not None and path.exists():
                digest.update(f"{file} {file_sha256(path)} ".encode())
    return digest.hexdigest()


def box_of_regions(regions: list[Region], info: VideoInfo, path: Path) -> Box:
    """The bounding box of all regions marked in an image, without a margin: it was drawn as meant.

    Args:
        regions: at least one.
        info: size of the image.
        path: the region file, for the message.

    Raises:
        InputError: the box is too small for a chest.
    """
    corners = np.concatenate([region.polygon for region in regions])
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    if min(right - left, bottom - top) < MINIMUM_SIDE:
        raise InputError(
            f"{path}: its box is {right - left:g}x{bottom - top:g} pixels, "
            f"too small for a chest (at least {MINIMUM_SIDE} a side); mark the image again"
        )
    return left / info.width, top / info.height, right / info.width, bottom / info.height


def box_of_mask(mask: np.ndarray) -> Box:
    """The bounding box of a lung mask, bool (height, width) and not empty, with a margin."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = mask.shape
    edges = (columns[0] / width, rows[0] / height,
             (columns[-1] + 1) / width, (rows[-1] + 1) / height)  # fmt: skip
    wider = np.add(edges, (-MARGIN, -MARGIN, MARGIN, MARGIN))
    return tuple(np.clip(wider, 0, 1).tolist())


def crop_to(image: np.ndarray, box: Box, side: int) -> np.ndarray:
    """What lies in a box: uint8 (side, side), from uint8 (height, width)."""
    height, width = image.shape
    left, top, right, bottom = np.round(np.multiply(box, (width, height, width, height))).astype(
        int
    )
    return resize_radiograph(image[top:bottom, left:right], side)


def _cropped_rows(
    config: VBreathNetConfig,
    model: keras.Model,
    rows: list[dict],
    boxes: dict[int, Box],
    scaling: str,
) -> dict[int, dict]:
    """Prediction rows of images, by their number, cropped from their files at full resolution."""
    small = [
        crop_to(read_radiograph(config.data / row["file"]), boxes[row["sample_id"]],
                config.image_size)
        for row in rows
    ]  # fmt: skip
    # All at once: a call of `predict` takes longer than its image.
    scores = model.predict(to_network_input(np.stack(small), scaling=scaling), verbose=0)
    return {
        row["sample_id"]: {
            **row,
            **{f"score_{n}": f"{s:.9g}" for n, s in zip(config.classes, of_row, strict=True)},
            "cropped": 1,
        }
        for row, of_row in zip(rows, scores, strict=True)
    }
