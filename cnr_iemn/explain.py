"""Where the slice networks look: RISE maps (Figures 13 to 15), scored against known lesions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow as tf

from cnr_iemn.batches import positions, stack_channels
from cnr_iemn.config import CLASSES, NORMAL, CnrIemnConfig
from cnr_iemn.images import GRAY, MASK, SliceImages
from cnr_iemn.phantom import is_phantom, read_truth
from cnr_iemn.pictures import title_of
from cnr_iemn.runs import SliceRun
from cnr_iemn.segmentation import typical_slice
from cnr_iemn.split import Slices
from preprocessing import splits
from preprocessing.errors import InputError
from preprocessing.tables import NPZ_ERRORS
from replication import faithfulness, overlays
from replication.overlays import HeatmapRow
from replication.rise import RiseMaps, rise
from replication.run import RunFolder
from replication.verdict import Experiment

MAPS = "rise.npz"  # in a run folder: maps, rows of the store, labels, stored slices at map size
RISE_BATCH = 64
# Ours: each pixel's sum is divided by how often that pixel was seen, not by its expectation: the
# limit is the same, and the maps settle with a fifth of the masks.
RISE_SETTINGS = {"batch_size": RISE_BATCH, "divide_by_seen": True}
CURVE_STEPS = RISE_BATCH - 1  # with the start a full batch each for insertion and deletion


@dataclass(frozen=True)
class Explained:
    """The RISE maps of one network. Arrays have one entry a slice.

    maps: float32 (n, size, size), of the slice's own class.
    captions: str (n,).
    images: uint8 (n, size, size, 2): gray, mask.
    lesions: bool (n, size, size), nowhere where none is known.
    """

    maps: np.ndarray
    captions: np.ndarray
    images: np.ndarray
    lesions: np.ndarray


def explain_run(
    config: CnrIemnConfig,
    folder: RunFolder,
    model: keras.Model,
    slice_run: SliceRun,
    slices: Slices,
) -> dict:
    """Explain a few validating slices of each class and score the maps.

    Ours: the class explained is the slice's own, also where the network says another.

    Returns:
        "slices", mean "masks" used, "stable" slices, mean "insertion" and "deletion" over them,
        and what `score_against_lesions` returns.
    """
    rows = choose_explained(config, slices)
    labels = slices.labels[rows]
    number, total = slices.scans.places
    images = SliceImages(
        slices.scans.store.samples, config.size_of(slice_run.network), config, slice_run.seed
    )[rows]
    inputs = stack_channels(images, gray_only=False).numpy()
    at = compile_classifier(model)
    found: list[RiseMaps] = []
    scores = []
    for position, image, label in zip(positions(number, total)[rows], inputs, labels, strict=True):
        predict = at(position)
        heat = rise(predict, image, [int(label)], config.rise_masks, **RISE_SETTINGS, progress=True)
        found.append(heat)
        scores.append(
            faithfulness.insertion_deletion(
                predict, image, heat.maps[0], int(label), CURVE_STEPS, RISE_BATCH
            )
        )
    maps = np.concatenate([one.maps for one in found])
    lesions = read_lesions(config, slices, rows, maps.shape[1:])
    of_slice = [slices.scans.store.index[row] for row in rows]
    captions = [f"{row['patient_id']}, slice {row['slice']}: {CLASSES[label]}"
                for row, label in zip(of_slice, labels, strict=True)]  # fmt: skip
    save_maps(folder.path / MAPS, Explained(maps, np.array(captions), images, lesions))
    insertion, deletion = np.mean(scores, axis=0)
    return {
        "slices": len(rows),
        "masks": float(np.mean([one.masks for one in found])),
        "stable": int(sum(one.stable for one in found)),
        "insertion": float(insertion),
        "deletion": float(deletion),
        **score_against_lesions(maps, lesions, images[..., MASK]),
    }


def choose_explained(config: CnrIemnConfig, slices: Slices) -> np.ndarray:
    """Rows of the slices to explain: `rise_slices` of each class, each of another scan.

    They are the same for all networks of a seed, as in Figures 13 to 15.
    """
    chosen: list[int] = []
    for label in range(len(CLASSES)):
        of_class = []
        for scan in np.flatnonzero(slices.parts == splits.VAL):
            rows = slices.scans.rows[scan]
            rows = rows[slices.labels[rows] == label]
            # A normal slice is one of a normal scan here: its neighbours are free of lesions too.
            if rows.size and (label != NORMAL or slices.scans.diagnoses[scan] == NORMAL):
                of_class.append(typical_slice(slices.scans, rows))
        chosen += of_class[: config.rise_slices]
    return np.array(chosen)


def compile_classifier(
    model: keras.Model,
) -> Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """The multi-task model as a function of images alone, for a second input that is fixed.

    Args:
        model: of `build_slice_network` with regions.

    Returns:
        A function from a position, float32 (2,), to a function from images, float32 (n, height,
        width, 3), to class probabilities (n, classes). It is traced once for all positions.
    """

    @tf.function(reduce_retracing=True)
    def classify(images: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        positions = tf.repeat(position[None], tf.shape(images)[0], axis=0)
        return model([images, positions], training=False)["class"]

    def at(position: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        where = tf.constant(position, tf.float32)
        return lambda images: classify(tf.constant(images), where).numpy()

    return at


def save_maps(path: Path, explained: Explained) -> None:
    """Write the maps of a network, whole or not at all."""
    partial = path.with_name(f".partial.{path.name}")
    with partial.open("wb") as file:
        np.savez_compressed(file, **vars(explained))
    partial.replace(path)


def read_maps(path: Path) -> Explained:
    """What `save_maps` wrote.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return Explained(**{name: file[name] for name in file.files})
    except NPZ_ERRORS as error:
        raise InputError(
            f"{path}: holds no heat maps ({error}); delete metrics.json beside it and run again"
        ) from error


def save_heatmap_sheets(
    config: CnrIemnConfig, folder: Path, experiments: Sequence[Experiment]
) -> None:
    """A row for each slice: it, its segmented lungs, and the map of each network.

    Of seed 0, to rise.png. Networks that were explained by other slices, or of which slices are
    said to be of another class, have a sheet of their own: rise-2.png and so on. Nothing is drawn
    before a multi-task network was explained.
    """
    sheets: dict[tuple[str, ...], dict[str, Explained]] = {}
    for e in experiments:
        if e.has("rise") and e.config["seed"] == 0:
            name = e.name.partition(" (")[0]  # of its folder, without the seeds that it is of
            explained = read_maps(config.out / "runs" / e.config["study"] / name / "seed0" / MAPS)
            sheets.setdefault(tuple(explained.captions), {})[title_of(e)] = explained
    for outdated in folder.glob("rise-*.png"):
        outdated.unlink()
    for number, explained_by in enumerate(sheets.values(), start=1):
        path = folder / ("rise.png" if number == 1 else f"rise-{number}.png")
        _save_sheet(path, explained_by)


def _save_sheet(path: Path, explained_by: dict[str, Explained]) -> None:
    """One sheet, of networks that were explained by the same slices."""
    first = next(iter(explained_by.values()))
    side = first.images.shape[1:3]
    rows = [
        HeatmapRow(
            caption=str(caption),
            image=first.images[number, ..., GRAY],
            lungs=first.images[number, ..., MASK],
            maps={name: cv2.resize(of.maps[number], side) for name, of in explained_by.items()},
            lesions=first.lesions[number] if first.lesions[number].any() else None,
        )
        for number, caption in enumerate(first.captions)
    ]
    overlays.save_heatmap_rows(path, rows, "RISE of the slice's own class (Figures 13-15)")


def describe(experiment: Experiment) -> str:
    """A line on the maps of a network."""
    mean = experiment.mean
    line = (
        f"RISE, {mean('rise', 'slices'):.0f} slices, {mean('rise', 'masks'):.0f} masks each, "
        f"{round(mean('rise', 'stable'), 1):g} maps stable: "
        f"insertion {mean('rise', 'insertion'):.3f}, deletion {mean('rise', 'deletion'):.3f}"
    )
    if all("pointing_game" in result["rise"] for result in experiment.results):
        line += (
            f"; maximum inside the lesion {mean('rise', 'pointing_game'):.2f} of "
            f"{mean('rise', 'lesions'):.0f} infected slices (by chance "
            f"{mean('rise', 'chance'):.2f}, in the lungs {mean('rise', 'chance_in_lungs'):.2f})"
        )
    return line


def read_lesions(
    config: CnrIemnConfig, slices: Slices, rows: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """bool (rows, *size): the lesions in these slices of phantoms; of others none is known."""
    masks = np.zeros((len(rows), *size), dtype=bool)
    if is_phantom(config.data):
        for mask, row in zip(masks, rows, strict=True):
            of_slice = slices.scans.store.index[row]
            lesions = read_truth(config.data, of_slice["patient_id"])[0][int(of_slice["slice"])]
            share = cv2.resize(lesions.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            mask[:] = share > 0.5
    return masks


def score_against_lesions(maps: np.ndarray, lesions: np.ndarray, lungs: np.ndarray) -> dict:
    """The pointing game over the slices with known lesions; nothing where none is known.

    Args:
        maps: (n, height, width).
        lesions: bool (n, height, width).
        lungs: (n, height, width), nonzero inside.

    Returns:
        "lesions" (slices), mean "pointing_game", and what guessing scores: "chance" anywhere in
        the picture, "chance_in_lungs" anywhere in the lung mask.
    """
    known = lesions.any(axis=(1, 2))
    if not known.any():
        return {}
    maps, lesions, lungs = maps[known], lesions[known], lungs[known]
    return {
        "lesions": int(known.sum()),
        "pointing_game": float(faithfulness.pointing_game(maps, lesions).mean()),
        "chance": float(faithfulness.pointing_chance(lesions).mean()),
        "chance_in_lungs": float(np.nanmean(faithfulness.pointing_chance(lesions, lungs))),
    }
