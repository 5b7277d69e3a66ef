"""Where a network looks: overlays of right and wrong cases, layers compared, mass in lungs."""

from pathlib import Path

import cv2
import keras
import numpy as np

from preprocessing import splits
from replication import heatmaps, overlays
from replication.batches import to_network_input
from replication.overlays import OverlayRow
from replication.run import RunFolder
from vbreathnet.config import VBreathNetConfig
from vbreathnet.data import read_lung_mask
from vbreathnet.split import Samples

# Paper: section 4 sets the first layer beside deeper ones. Ours: which those are.
COMPARED_LAYERS = ("block1_relu", "block2_relu", "block4_relu", "block6_relu")


def explain_run(
    config: VBreathNetConfig,
    folder: RunFolder,
    model: keras.Model,
    samples: Samples,
    predictions: list[dict],
    scaling: str,
) -> dict:
    """Draw heat maps (Figure 3) and measure how much of Grad-CAM lies inside the lungs.

    Ours: the class explained is the one that the network names.

    Returns:
        For the test images that have a lung mask: `gradcam_mass`, the mean share of Grad-CAM
        (class predicted) inside the lungs, `lung_area`, the lungs' mean share of the image, which
        a map without any preference would reach, and `images`. Empty without masks.
    """
    cases = choose_cases(config, predictions, len(samples.store.samples))
    _save_overlays(config, folder, model, samples, cases, scaling)
    _save_layers(config, folder, model, samples, cases, scaling)
    return _mass_in_lungs(config, model, samples, predictions, scaling)


def choose_cases(config: VBreathNetConfig, predictions: list[dict], images: int) -> list[dict]:
    """For each class its surest right case and its surest wrong one, of test, else of val.

    Only originals, whose numbers are below that of the store's images.

    Ours: the paper shows one COVID-19 patient (Figure 3) and does not say how it was chosen.
    """
    cases = []
    for label in range(len(config.classes)):
        for right in (True, False):
            for part in (splits.TEST, splits.VAL):
                found = [
                    row for row in predictions
                    if row["split"] == part and row["label"] == label and row["sample_id"] < images
                    and (said(config, row) == label) == right
                ]  # fmt: skip
                if found:
                    cases.append(max(found, key=lambda row: score(config, row)))
                    break
    return cases


def said(config: VBreathNetConfig, row: dict) -> int:
    """The class that a prediction row names."""
    return int(np.argmax([float(row[f"score_{name}"]) for name in config.classes]))


def score(config: VBreathNetConfig, row: dict) -> float:
    """The score of that class."""
    return max(float(row[f"score_{name}"]) for name in config.classes)


def resized_lung_mask(config: VBreathNetConfig, file: str) -> np.ndarray | None:
    """bool (image_size, image_size), or None where the data folder has no mask of an image."""
    mask = read_lung_mask(config.data, file)
    if mask is None:
        return None
    size = (config.image_size, config.image_size)
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0


def _save_overlays(config, folder: RunFolder, model, samples: Samples, cases, scaling) -> None:
    """A sheet for each class: its right and its wrong case."""
    images = _images(samples, cases)
    inputs = to_network_input(images, scaling=scaling)
    classes = [said(config, row) for row in cases]
    smooth = heatmaps.smoothgrad(model, inputs, classes, samples=config.smooth_samples)
    cams = heatmaps.gradcam(model, inputs, classes)
    for label, name in enumerate(config.classes):
        rows = [
            OverlayRow(_caption(config, case), image, saliency, cam,
                       resized_lung_mask(config, case["file"]))
            for case, image, saliency, cam in zip(cases, images, smooth, cams, strict=True)
            if case["label"] == label
        ]  # fmt: skip
        if rows:
            path = folder.figures() / f"heatmaps-{name.lower().replace(' ', '_')}.png"
            overlays.save_overlays(path, rows, f"{folder.path.parent.name}: {name}")


def _save_layers(config, folder: RunFolder, model, samples: Samples, cases, scaling) -> None:
    """Grad-CAM of the first and of deeper layers, for the surest right case of each class."""
    names = [layer.name for layer in model.layers]
    compared = [name for name in COMPARED_LAYERS if name in names]
    if not compared:
        return  # the baselines: the paper compares the layers of V-BreathNet
    right = [case for case in cases if said(config, case) == case["label"]]
    if not right:
        return
    images, labels = _images(samples, right), [case["label"] for case in right]
    inputs = to_network_input(images, scaling=scaling)
    maps = {name: heatmaps.gradcam(model, inputs, labels, name) for name in compared}
    for number, (case, image) in enumerate(zip(right, images, strict=True)):
        name = config.classes[case["label"]].lower().replace(" ", "_")
        path = folder.figures() / f"layers-{name}.png"
        of_case = {layer: of_layer[number] for layer, of_layer in maps.items()}
        overlays.save_layer_comparison(path, image, of_case, _caption(config, case))


def _mass_in_lungs(config, model, samples: Samples, predictions, scaling) -> dict:
    rows, masks = [], []
    for row in predictions:
        mask = resized_lung_mask(config, row["file"]) if row["split"] == splits.TEST else None
        if mask is not None:
            rows.append(row)
            masks.append(mask)
    if not rows:
        return {}
    inputs = to_network_input(_images(samples, rows), scaling=scaling)
    cams = heatmaps.gradcam(model, inputs, [said(config, row) for row in rows])
    mass = heatmaps.lung_mass(cams, np.array(masks))
    return {
        "images": len(rows),
        "gradcam_mass": float(np.nanmean(mass)),
        "lung_area": float(heatmaps.lung_area(np.array(masks)).mean()),
        "maps_without_evidence": int(np.isnan(mass).sum()),
    }


def _images(samples: Samples, rows: list[dict]) -> np.ndarray:
    """uint8 (len(rows), side, side): the originals behind prediction rows."""
    images = samples.store.samples
    return np.stack([images[row["sample_id"] % len(images)] for row in rows])


def _caption(config: VBreathNetConfig, row: dict) -> str:
    name = config.classes[row["label"]]
    answer = config.classes[said(config, row)]
    return f"{Path(row['file']).stem}: {name}, said {answer} {score(config, row):.2f}"
