"""The map of V-BreathNet."""

from functools import partial
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

from maps.drawing import COPIES, PARTS, draw_bars, draw_stacked, show_row
from maps.page import BLUE, INK, PURPLE, Row, Step, draw_map
from maps.steps import EXAMPLE, network, result, verdict
from preprocessing import duplicates, radiographs, sharpness, splits


def map_vbreathnet(path: Path) -> Path:
    """Films, filters, size, split, copies, network, classes, Grad-CAM, verdict."""
    from vbreathnet.cohort import draw_cohort
    from vbreathnet.phantom import render

    films = {film.name: render(film, 299) for film in draw_cohort(8, 0)}
    images = {name: film.image for name, film in films.items()}
    covid = films["COVID-7"]
    rows = [
        _film_files(images),
        _film_samples(images["Viral Pneumonia-7"]),
        Row([
            result("Three scores",
                    partial(draw_bars, ("COVID-19", "normal", "viral pneumonia"), EXAMPLE),
                    "(images, 3), sum 1", "softmax; the largest names\nthe class",
                    "vbreathnet/evaluate.py\nscore_samples"),
            result("Where it looks",
                    partial(show_row, [covid.image, _random_heat(covid.image), 255 - 170 *
                                        covid.lesions.astype(np.uint8)],
                            ["film", "Grad-CAM,\nuntrained", "known\nlesions"]),
                    "(224, 224), 0 to 1", "which places raise the score;\nhere of random weights",
                    "replication/heatmaps.py\ngradcam, smoothgrad"),
            verdict("vbreathnet", "section 4", "V-BreathNet", "val", "accuracy"),
        ]),
    ]  # fmt: skip
    note = "Box 6: above a block px of its maps, below it how many: these filters form the V."
    return draw_map(path, "V-BreathNet: normal, COVID-19 or pneumonia?", rows, note)


def _film_files(images: dict[str, np.ndarray]) -> Row:
    resize = radiographs.resize_radiograph
    shown = [images[name] for name in ("Normal-2", "COVID-4", "Viral Pneumonia-7")]
    bad = [resize(images[name], 224) for name in ("Normal-2", "Normal-1", "Normal-5")]
    said = [f"{sharpness.laplacian_variance(one):.0f} / {sharpness.contrast(one):.0f}\n{name}"
            for one, name in zip(bad, ("kept", "blurred", "flat"), strict=True)]  # fmt: skip
    films = [images["Normal-2"], resize(images["Normal-2"], 240), images["Normal-3"]]
    hashes = [np.unpackbits(duplicates.difference_hash(one)) for one in films]
    same, other = (int(np.sum(hashes[0] != one)) for one in hashes[1:])
    return Row([
        Step("Chest radiographs", partial(show_row, shown, ["normal", "COVID-19", "pneumonia"]),
             f"{shown[0].shape}, gray levels", "PNG, JPEG or DICOM; the\nfolder names the class",
             "preprocessing/radiographs.py\nread_radiograph"),
        Step("Bad films leave", partial(show_row, bad, said), "sharpness / contrast",
             "variance of the Laplacian;\nSD of the gray levels",
             "preprocessing/sharpness.py\nvbreathnet/quality.py"),
        Step("Size, duplicates",
             partial(show_row, [resize(one, 224) for one in films],
                     ["a film", f"resized:\n{same} of 256", f"another:\n{other} of 256"]),
             str(bad[0].shape), "bits of a hash differ; up to 12\nis one film, in one part",
             "preprocessing/radiographs.py\npreprocessing/duplicates.py"),
    ])  # fmt: skip


def _film_samples(film: np.ndarray) -> Row:
    from vbreathnet.augment import AugmentedImages
    from vbreathnet.config import VBreathNetConfig
    from vbreathnet.model import build_vbreathnet

    config = VBreathNetConfig(Path(), Path())
    image = radiographs.resize_radiograph(film, config.image_size)
    copies = AugmentedImages(image[None], 0, config.rotation, config.shift, config.zoom)
    shown = list(copies[np.array([0, 2, 5])])
    layers = [*(f"block{k}_pool" for k in range(1, 7)), "dense", "scores"]
    return Row([
        Step("Split, then balance", _draw_film_parts, f"{config.per_class:,} of each class",
             "80:20; 30 of each class test;\ncopies in training alone",
             "vbreathnet/split.py\npreprocessing/splits.py"),
        Step("Copies", partial(show_row, shown, ["film", "copy 2", "copy 5"]),
             str((*image.shape, 3)), "turned, shifted, scaled; 0 to\n1; gray three times",
             "vbreathnet/augment.py\nreplication/batches.py"),
        network("V-BreathNet", build_vbreathnet, layers, "six blocks, two dense layers",
                 "vbreathnet/model.py\nbuild_vbreathnet"),
    ])  # fmt: skip


def _draw_film_parts(axis: Axes) -> None:
    """How Table 1's images are split, and how many copies training gets."""
    from vbreathnet.config import CLASSES, VBreathNetConfig
    from vbreathnet.data import TABLE_1

    config = VBreathNetConfig(Path(), Path())
    labels = np.repeat(np.arange(len(CLASSES)), list(TABLE_1.values()))
    parts = splits.split_groups(np.arange(len(labels)), labels, np.random.default_rng(0),
                                config.test_per_class, config.val_fraction, CLASSES)  # fmt: skip
    train_each = round(config.per_class * (1 - config.val_fraction))
    bars = {}
    for k, name in enumerate(("COVID-19", "normal", "pneumonia")):
        train, val, test = (int(np.sum((parts == part) & (labels == k))) for part in PARTS)
        train, val = min(train, train_each), min(val, config.per_class - train_each)
        bars[name] = ((train, BLUE), (train_each - train, COPIES), (val, PURPLE), (test, INK))
    draw_stacked(bars, "train, striped: copies; then val, test", axis)


def _random_heat(film: np.ndarray) -> np.ndarray:
    """Grad-CAM of a network that has learnt nothing, as a picture."""
    import keras

    from replication.batches import to_network_input
    from replication.heatmaps import gradcam
    from vbreathnet.model import build_vbreathnet

    keras.utils.set_random_seed(0)
    image = radiographs.resize_radiograph(film, 224)
    heat = gradcam(build_vbreathnet(), to_network_input(image[None]), 0)[0]
    return (255 * colormaps["inferno"](heat)[..., :3]).astype(np.uint8)
