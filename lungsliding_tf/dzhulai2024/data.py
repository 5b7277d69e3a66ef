"""Videos to sample stores: what `prepare` does. No Keras here unless RAFT measures the flow.

A sample is a frame, so that clips of any length are cut from one store. A sequence is a run of
frames that follow one another: one stretch of a video, or one crop of it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np

from lungsliding_tf.control import freeze
from lungsliding_tf.dzhulai2024.config import CLASSES, CROP_SIZE, FLOW_NETWORKS, DzhulaiConfig
from lungsliding_tf.dzhulai2024.experiments import Planned, plan
from lungsliding_tf.dzhulai2024.flow import (
    make_flow_method,
    measure_flow,
    require_raft_weights,
    smallest_side,
)
from lungsliding_tf.dzhulai2024.sources import (
    ABSENT_CLASS,
    PRESENT_CLASS,
    Video,
    read_sources,
    read_stretches,
)
from preprocessing import clips, roi, store, video
from preprocessing.clips import Tile, TileSet
from preprocessing.errors import InputError
from preprocessing.store import SourceSamples, Store, StoreWriter
from replication.workers import write_sources

# Raise it when `prepare` comes to make other samples of the same videos: stores are then rebuilt.
RECIPE_VERSION = 1
RECIPE_PACKAGES = ("numpy", "opencv-python-headless", "scikit-image")
CROPS = TileSet(CROP_SIZE, None)
SEQUENCE_COLUMNS = ("file", "sequence")
Sequence = tuple[dict, np.ndarray]  # what its index rows say, and uint8 (frames, side, side)
# What a run reads: frames and flow by (crops, flow step); step 0 is the frames themselves.
Stores = dict[tuple[bool, int], Store]


def prepare_all(config: DzhulaiConfig, say: Callable[[str], None]) -> Stores:
    """Every store that the planned networks read: frames or crops, and flow between them.

    Raises:
        InputError: unusable data, or flow by RAFT without its weights.
    """
    check_flow(config)
    wanted = {(one.config.crops, one.flow_step) for one in plan(config)}
    stores: Stores = {}
    for crops in sorted({crops for crops, _ in wanted}):
        stores[crops, 0] = prepare_frames(config, crops, say)
        for step in sorted(step for c, step in wanted if c == crops and step):
            stores[crops, step] = prepare_flow(config, stores[crops, 0], crops, step, say)
    return stores


def check_flow(config: DzhulaiConfig) -> None:
    """Refuse, before the first minute of work, flow by RAFT without its weights.

    Raises:
        InputError: as `require_raft_weights`.
    """
    if config.flow.startswith("raft") and any(o.network in FLOW_NETWORKS for o in plan(config)):
        require_raft_weights(config)


def stores_of(one: Planned, stores: Stores) -> tuple[Store, Store | None]:
    """The frames that a planned network's clips are cut from, and the flow if it reads that."""
    flow = stores[one.config.crops, one.flow_step] if one.flow_step else None
    return stores[one.config.crops, 0], flow


def prepare_frames(config: DzhulaiConfig, crops: bool, say: Callable[[str], None]) -> Store:
    """Turn the videos of `config.data` into a store of gray frames or crops.

    Does nothing if the store stands and neither recipe nor sources changed.

    Raises:
        InputError: unusable list or video, no usable frame, or too little disk space.
    """
    name = ("crops" if crops else "frames") + ("-control_frozen" if config.control_frozen else "")
    folder = config.out / "stores" / name
    sources = read_sources(config.data, config.allow_mixed_patients or config.control_frozen)
    side = CROP_SIZE if crops else config.size
    recipe = _frames_recipe(config, crops, side, sources)
    if store.is_current(folder, recipe):
        return Store(folder)
    if folder.exists():
        say(f"{folder}: recipe or sources changed, preparing it again")
    store.check_space(folder, sum(_most_frames(config, crops, s) for s in sources) * side**2)
    with StoreWriter(folder, recipe, (side, side)) as writer:
        waiting = [one for one in sources if one.file not in writer.done]
        write = partial(_write_source, config, crops, side)
        write_sources(writer, write, waiting, f"prepare {name}", config.jobs, config.cluster)
        prepared = writer.close()
    _say_what_is_in(prepared, say)
    return prepared


def _frames_recipe(config: DzhulaiConfig, crops: bool, side: int, sources: list[Video]) -> dict:
    """What determines the frames."""
    return {
        "study": "dzhulai2024",
        "version": RECIPE_VERSION,
        "crops": crops,
        "parameters": {
            "side": side,
            "max_crops": config.max_crops if crops else None,
            "control_frozen": config.control_frozen,
            "frozen_clips_of": clip_length(config) if config.control_frozen else None,
        },
        "packages": {name: version(name) for name in RECIPE_PACKAGES},
        "sources": [
            {
                "file": one.file,
                "bytes": store.file_bytes(one.path),
                "sha256": store.file_sha256(one.path),
                "regions": _regions_hash(one.path) if crops else "",
                "patient": one.patient,
                "label": one.label,
                "intervals": one.intervals,
                "phantom": one.is_phantom,
            }
            for one in sources
        ],
    }


def _regions_hash(path: Path) -> str:
    marked = roi.roi_path(path)
    return store.file_sha256(marked) if marked.exists() else ""


def _most_frames(config: DzhulaiConfig, crops: bool, source: Video) -> int:
    """About how many frames or crops of a video the store takes at most, by what is stated of it.

    Of a video that cannot be used none: what is wrong with it is said at its turn.
    """
    try:
        info = video.probe(source.path)
        there = info.declared_frames
        stretches = source.intervals or ((0, there),)
        # A folder may hold the frames of its stretches alone, under their numbers in the video.
        count = sum(min(end - first, there) for first, end in stretches)
        if crops:
            size = (info.height, info.width)
            grids = [
                clips.tile_grid(np.array(region.polygon), CROPS, size)
                for region in roi.load_regions(source.path, info) or ()
            ]
            count *= sum(len(clips.spread(tiles, config.max_crops)) for tiles in grids)
    except InputError:
        return 0
    return 2 * count if config.control_frozen else count


def _write_source(
    config: DzhulaiConfig,
    crops: bool,
    side: int,
    source: Video,
    writer: StoreWriter | SourceSamples,
) -> dict:
    """Add one video's frames to the store and say in one row what became of it."""
    before, sequences, problem = writer.count, 0, ""
    make = _crop_sequences(config, source) if crops else _frame_sequences(source, side)
    try:
        if config.control_frozen:
            make = _with_frozen(make, source, clip_length(config))
        for place, frames in make:
            for number, frame in enumerate(frames, start=place["start"]):
                writer.add(frame, _index_row(source, place, sequences, number))
            sequences += 1
    except InputError as error:
        if not config.skip_unusable:
            raise
        writer.discard_source()  # what luck had read of it would be another video
        problem, sequences = str(error), 0
    used = writer.count - before
    return {
        "file": source.file,
        "patient_id": source.patient,
        "class": CLASSES[source.label] if source.label >= 0 else "not_stated",
        "used": "yes" if used else "no",
        "reason": problem or ("" if used else "marked as having no region to use"),
        "sequences": sequences,
        "frames": used,
    }


def _frame_sequences(source: Video, side: int) -> Iterator[Sequence]:
    """The stretches of a video as whole frames of `side` px."""
    for start, frames in read_stretches(source):
        # Paper: section III: resized to a specified size, bilinear. Ours: area averages where that
        # shrinks the frame; plain bilinear sampling would alias speckle into flicker.
        yield {"start": start}, np.stack([_resized(frame, side) for frame in frames])


def _resized(frame: np.ndarray, side: int) -> np.ndarray:
    shrinks = min(frame.shape) >= side
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(frame, (side, side), interpolation=interpolation)


def _crop_sequences(config: DzhulaiConfig, source: Video) -> Iterator[Sequence]:
    """The stretches of a video as crops of its marked regions, in native pixels.

    Raises:
        InputError: nobody marked the video, or no crop fits into a region.
    """
    info = video.probe(source.path)
    regions = roi.load_regions(source.path, info)
    if regions is None:
        raise InputError(
            f"{source.path}: no region is marked, which crops are cut from; mark it with "
            "scripts/mark_roi.py, or leave --crops out"
        )
    for start, frames in read_stretches(source):
        whole = np.stack(list(frames))
        end = start + len(whole) - 1
        for region in regions:
            if region.first_frame > start or region.last_frame < end:
                # Elsewhere it shows something else.
                raise InputError(
                    f"{source.path}: a region is marked for frames {region.first_frame} to "
                    f"{region.last_frame}, and crops are cut from frames {start} to {end}; mark it "
                    "for all of these, or correct cut_interval"
                )
            tiles = clips.tile_grid(np.array(region.polygon), CROPS, whole.shape[1:])
            if not tiles:
                raise InputError(
                    f"{source.path}: its region holds no crop of {CROP_SIZE} px; mark a larger one"
                )
            cut = [(tile, _cut(whole, tile)) for tile in tiles]
            varied = [(tile, crop) for tile, crop in cut if not clips.is_flat(crop)]
            for tile, crop in clips.spread(varied, config.max_crops):
                yield {"start": start, "row": tile.row, "column": tile.column}, crop


def _cut(frames: np.ndarray, tile: Tile) -> np.ndarray:
    crop = frames[:, tile.y : tile.y + CROP_SIZE, tile.x : tile.x + CROP_SIZE]
    return np.ascontiguousarray(crop)


def clip_length(config: DzhulaiConfig) -> int:
    """Frames of the control experiment's clips, which are the same for all of its networks."""
    return config.frames_of(config.network[0])


def _with_frozen(sequences: Iterator[Sequence], source: Video, length: int) -> Iterator[Sequence]:
    """Each sequence, cut to whole clips, and a copy of it in which each clip stands still.

    Clips are frozen one by one: the noise of a copy is then that of its own clip.
    """
    for number, (place, frames) in enumerate(sequences):
        frames = frames[: len(frames) // length * length]
        if not len(frames):
            continue
        yield {**place, "class": "moving"}, frames
        frozen = [
            freeze(
                frames[start : start + length], np.arange(length), f"{source.file}/{number}/{start}"
            )
            for start in range(0, len(frames), length)
        ]
        yield {**place, "class": "frozen"}, np.concatenate(frozen)


def _index_row(source: Video, place: dict, sequence: int, frame: int) -> dict:
    """A frame's row in index.csv, less its sample_id.

    In the control experiment the classes are moving (0) and frozen (1), whatever the video's label.
    """
    label = {"moving": PRESENT_CLASS, "frozen": ABSENT_CLASS}.get(place.get("class"), source.label)
    return {
        "patient_id": source.patient,
        "label": label,
        "class": place.get("class", CLASSES[label] if label >= 0 else "not_stated"),
        "file": source.file,
        "sequence": sequence,
        "frame": frame,
        "row": place.get("row", 0),
        "column": place.get("column", 0),
        "origin": "phantom" if source.is_phantom else "real",
    }


def _say_what_is_in(prepared: Store, say: Callable[[str], None]) -> None:
    used = [one for one in prepared.sources if one["used"] == "yes"]
    sequences = sum(int(one["sequences"]) for one in used)
    name = prepared.folder.name
    say(f"{name}: {len(prepared.samples)} frames of {sequences} sequences from {len(used)} videos")
    for one in prepared.sources:
        if one["reason"]:
            say(f"{name}: {one['file']} not used: {one['reason']}")


# ---- flow -------------------------------------------------------------------------------------


def prepare_flow(
    config: DzhulaiConfig, frames: Store, crops: bool, step: int, say: Callable[[str], None]
) -> Store:
    """The optical flow of a store's sequences, measured once.

    Returns:
        A store of float16 (n, side, side, 2), row for row that of the frames: the displacement to
        the frame `step` later, x and y in px. The last `step` rows of a sequence are zero.
    """
    name = f"{'crops-' if crops else ''}flow-{config.flow}-step{step}"
    folder = config.out / "stores" / (name + ("-control_frozen" if config.control_frozen else ""))
    recipe = {
        "study": "dzhulai2024",
        "version": RECIPE_VERSION,
        "frames": frames.fingerprint,
        "flow": config.flow,
        "step": step,
        "packages": {name: version(name) for name in RECIPE_PACKAGES},
        "sources": frames.recipe["sources"],
    }
    if config.flow.startswith("raft"):
        recipe["weights"] = store.file_sha256(require_raft_weights(config))
        recipe["updates"] = config.raft_updates
    if store.is_current(folder, recipe):
        return Store(folder)
    shape = (*frames.samples.shape[1:], 2)
    store.check_space(folder, len(frames.samples) * int(np.prod(shape)) * 2)
    by_file: dict[str, list[range]] = {}
    for rows in sequence_rows(frames):
        by_file.setdefault(frames.index[rows.start]["file"], []).append(rows)
    with StoreWriter(folder, recipe, shape, np.float16) as writer:
        waiting = [source for source in by_file.items() if source[0] not in writer.done]
        write = partial(_write_flow, config, frames, step)
        write_sources(writer, write, waiting, f"prepare {name}", config.jobs, config.cluster)
        prepared = writer.close()
    say(f"{prepared.folder.name}: flow by {config.flow}, {step} frame(s) apart")
    return prepared


def _write_flow(
    config: DzhulaiConfig,
    frames: Store,
    step: int,
    source: tuple[str, list[range]],
    writer: StoreWriter | SourceSamples,
) -> dict:
    """Add the flow of a file's sequences to the store and say in one row how many they are."""
    file, sequences = source
    for rows in sequences:
        _write_flow_of(config, frames, step, rows, writer)
    return {"file": file, "reason": "", "sequences": len(sequences)}


def _write_flow_of(
    config: DzhulaiConfig,
    frames: Store,
    step: int,
    rows: range,
    writer: StoreWriter | SourceSamples,
) -> None:
    """The flow of one sequence; a sequence of `step` frames or fewer has none."""
    sequence = np.asarray(frames.samples[rows.start : rows.stop])
    fields = np.zeros((len(rows), *writer.shape), np.float16)
    if len(sequence) > step:
        method = make_flow_method(config)
        fields[:-step] = measure_flow(method, sequence, step, smallest_side(config.flow))
    for row, field in zip(rows, fields, strict=True):
        entry = frames.index[row]
        writer.add(field, {name: entry[name] for name in ("patient_id", "label", "file", "frame")})


def sequence_rows(frames: Store) -> list[range]:
    """The rows of each sequence of a store of frames, in its order."""
    keys = [tuple(row[name] for name in SEQUENCE_COLUMNS) for row in frames.index]
    starts = [i for i in range(len(keys)) if i == 0 or keys[i] != keys[i - 1]]
    return [range(a, b) for a, b in zip(starts, [*starts[1:], len(keys)], strict=True)]
