"""Videos to sample stores: what `prepare` does. No Keras here, so it stays small in memory."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version

import numpy as np
from tqdm import tqdm

from lungsliding_tf.control import freeze
from lungsliding_tf.kolarik2023.config import MMODE_CELL, KolarikConfig
from lungsliding_tf.kolarik2023.pictures import class_counts, save_class_counts
from lungsliding_tf.labels import (
    ABSENT,
    LABEL_NAMES,
    PRESENT,
    LabelledVideo,
    read_labels,
    unlisted_videos,
)
from preprocessing import clips, mmode, roi, store, video
from preprocessing.clips import CLIP_FRAMES, TILE_SETS, ClipCount, Tile, TileSet
from preprocessing.errors import InputError
from preprocessing.roi import Region
from preprocessing.store import SourceSamples, Store, StoreWriter
from preprocessing.video import VideoInfo
from replication.workers import write_sources

NAME_OF_LABEL = {label: name for name, label in LABEL_NAMES.items()}
# Raise it when `prepare` comes to cut other samples from the same videos: stores are then rebuilt.
RECIPE_VERSION = 1
CVAT_SUFFIX = ".cvat_annotations.json"
Samples = Iterator[tuple[np.ndarray, dict]]
RECIPE_PACKAGES = ("numpy", "opencv-python-headless", "scikit-image")


@dataclass(frozen=True)
class Source:
    """A labelled video with its regions and the tiles of each (none for M-mode).

    `problem` says why nothing can be cut from it.
    """

    labelled: LabelledVideo
    info: VideoInfo | None
    regions: list[Region]
    grids: list[list[Tile]]
    problem: str = ""


def store_name(config: KolarikConfig, cell: str) -> str:
    """Folder name of a cell's store."""
    return f"control_frozen-{cell}" if config.control_frozen else cell


def prepare_all(config: KolarikConfig, say: Callable[[str], None]) -> dict[str, Store]:
    """The store of each cell that `config` names, said and drawn (Figure 4). See `prepare`."""
    if config.write_unified:
        _write_unified(config)
    stores = {cell: prepare(config, cell, say) for cell in config.cell}
    for cell, data in stores.items():
        _say_what_is_in(data, cell, say)
    save_class_counts(config.out / "figures" / "class_counts.png", stores)
    return stores


def prepare(config: KolarikConfig, cell: str, say: Callable[[str], None]) -> Store:
    """Turn the videos of `config.data` into the sample store of one cell.

    Does nothing if the store stands and neither recipe nor sources changed. The estimated size
    is said before the work starts; what cannot be used is listed in the store's sources.csv.

    Args:
        config: the study's configuration.
        cell: one of the six tile sets, or "64-frame".
        say: receives lines for the person who waits.

    Raises:
        InputError: unusable labels or regions, no usable sample, or too little disk space.
    """
    folder = config.out / "stores" / store_name(config, cell)
    labelled = read_labels(config.data, config.allow_mixed_patients or config.control_frozen)
    sources = [_open_source(config, one) for one in labelled]
    recipe = _recipe(config, cell, sources)
    if store.is_current(folder, recipe):
        return Store(folder)
    if cell != MMODE_CELL:
        sources = [_with_grids(config, source, TILE_SETS[cell]) for source in sources]
    if folder.exists():
        say(f"{folder}: recipe or sources changed, preparing it again")
    for name in unlisted_videos(config.data, labelled):
        say(f"{name}: not named in labels.csv, left out")
    shape = _sample_shape(config, cell)
    samples = sum(_estimate(config, cell, s) for s in sources if not s.problem)
    needed = samples * int(np.prod(shape))
    say(f"{folder}: at most {samples} samples, {needed / 1e6:.1f} MB")
    store.check_space(folder, needed)
    with StoreWriter(folder, recipe, shape) as writer:
        waiting = [s for s in sources if s.labelled.file not in writer.done]
        write = partial(_write_source, config, cell)
        bar = f"prepare {folder.name}"
        write_sources(writer, write, waiting, bar, config.jobs, config.cluster)
        return writer.close()


def _open_source(config: KolarikConfig, labelled: LabelledVideo) -> Source:
    """Probe a video and find its regions.

    Raises:
        InputError: unreadable video or region file, unless `config.skip_unusable` asks to list it
            and go on.
    """
    try:
        info = video.probe(labelled.path)
        regions = find_regions(config, info)
    except InputError as error:
        if not config.skip_unusable:
            raise
        return Source(labelled, None, [], [], str(error))
    if regions is None:
        return Source(labelled, info, [], [], "unmarked: mark it with scripts/mark_roi.py")
    if not regions:
        return Source(labelled, info, [], [], "marked as having no region to use")
    return Source(labelled, info, regions, [])


def find_regions(config: KolarikConfig, info: VideoInfo) -> list[Region] | None:
    """The whole picture, the marked regions, or else CVAT polygons that lie beside the video.

    None if nobody marked the video, an empty list if somebody found nothing to mark.
    """
    if config.region == "whole":
        return [clips.whole_picture(info)]
    marked = roi.load_regions(info.path, info, config.roi_dir)
    cvat = info.path.with_name(info.path.stem + CVAT_SUFFIX)
    if marked is None and cvat.exists():
        return roi.import_cvat(cvat, info)
    return marked if marked is None else list(dict.fromkeys(marked))  # each region once


def _with_grids(config: KolarikConfig, source: Source, tile_set: TileSet) -> Source:
    """A source with the tiles of its regions.

    Raises:
        InputError: a region smaller than a tile, unless `config.skip_unusable`.
    """
    if source.problem:
        return source
    try:
        return replace(source, grids=_tile_grids(config, source.info, source.regions, tile_set))
    except InputError as error:
        if not config.skip_unusable:
            raise
        return replace(source, problem=str(error))


def _tile_grids(
    config: KolarikConfig, info: VideoInfo, regions: list[Region], tile_set: TileSet
) -> list[list[Tile]]:
    """The tiles of each region; a region that holds none is an InputError."""
    geometry = video.unified_geometry(info, config.stretch)
    grids = []
    for region in regions:
        polygon = geometry.to_unified(np.array(region.polygon))
        grids.append(clips.tile_grid(polygon, tile_set))
        if not grids[-1]:
            width, height = np.ptp(polygon, axis=0).round().astype(int)
            raise InputError(
                f"{info.path}: its region of {width}x{height} px (at 640x480) holds no tile of "
                f"{tile_set.px} px; mark a larger one, or pass --skip-unusable to leave it out"
            )
    return grids


def _write_unified(config: KolarikConfig) -> None:
    """Write each labelled video as `unified/<file>.mp4` below the output folder, unless it stands.

    What cannot be read is left out with `config.skip_unusable`; sources.csv says why.
    """
    labelled = read_labels(config.data, config.allow_mixed_patients or config.control_frozen)
    folder = config.out / ("unified-stretched" if config.stretch else "unified")
    for one in tqdm(labelled, "unify", unit="video", disable=None):
        target = folder / f"{one.file}.mp4"
        if target.exists() and target.stat().st_mtime >= one.path.stat().st_mtime:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            video.write_mp4(target, video.unify(one.path, config.stretch))
        except InputError:
            if not config.skip_unusable:
                raise


def _recipe(config: KolarikConfig, cell: str, sources: list[Source]) -> dict:
    """What determines a store's content."""
    parameters = {
        "region": config.region,
        "stretch": config.stretch,
        "max_tiles": config.max_tiles,
        "control_frozen": config.control_frozen,
    }
    if cell == MMODE_CELL:
        for name in ("mmode_frames", "mmode_height", "mmode_columns"):
            parameters[name] = getattr(config, name)
    return {
        "study": "kolarik2023",
        "version": RECIPE_VERSION,
        "cell": cell,
        "parameters": parameters,
        "packages": {name: version(name) for name in RECIPE_PACKAGES},
        "sources": [
            {
                "file": s.labelled.file,
                "bytes": store.file_bytes(s.labelled.path),
                "sha256": store.file_sha256(s.labelled.path),
                "patient": s.labelled.patient,
                "label": s.labelled.label,
                "phantom": s.labelled.is_phantom,
                "regions": [[r.first_frame, r.last_frame, r.polygon] for r in s.regions],
            }
            for s in sources
        ],
    }


def _sample_shape(config: KolarikConfig, cell: str) -> tuple[int, ...]:
    if cell == MMODE_CELL:
        return (config.mmode_height, config.mmode_frames)
    return (CLIP_FRAMES, TILE_SETS[cell].px, TILE_SETS[cell].px)


def _estimate(config: KolarikConfig, cell: str, source: Source) -> int:
    """At most how many samples a video gives, from its header and regions."""
    if cell == MMODE_CELL:
        windows = _most_unified_frames(source.info, 0, None) // config.mmode_frames
        return windows * config.mmode_columns * len(source.regions)
    tiles = 0
    for region, grid in zip(source.regions, source.grids, strict=True):
        most = _most_unified_frames(source.info, region.first_frame, region.last_frame)
        whole_clips = most // CLIP_FRAMES
        tiles += whole_clips * min(len(grid), config.max_tiles or len(grid))
    return tiles * 2 if config.control_frozen else tiles


def _most_unified_frames(info: VideoInfo, first: int, last: int | None) -> int:
    """At most how many unified frames a span of native ones gives; headers may promise too few."""
    end = info.declared_frames - 1 + roi.FRAME_SLACK
    span = min(end if last is None else last, end) - first + 1
    return math.ceil(span / info.fps * video.UNIFIED_FPS) + 1


def _write_source(
    config: KolarikConfig, cell: str, source: Source, writer: StoreWriter | SourceSamples
) -> dict:
    """Add one video's samples to the store and say in one row what became of it."""
    count, before, problem = ClipCount(), writer.count, source.problem
    if not problem:
        cut = _mmode_samples if cell == MMODE_CELL else _tile_samples
        try:
            for sample, place in cut(config, cell, source, count):
                writer.add(sample, _index_row(source.labelled, place))
        except InputError as error:  # cut short: seen only where the frames end
            if not config.skip_unusable:
                raise
            writer.discard_source()  # the clips before would be a part of the video that luck chose
            problem = str(error)
    samples = writer.count - before
    if not problem and not samples:
        problem = _why_nothing(config, cell, count)
    return {
        "file": source.labelled.file,
        "patient_id": source.labelled.patient,
        "class": NAME_OF_LABEL[source.labelled.label],
        "used": "yes" if samples else "no",
        "reason": problem,
        "clips": count.clips,
        "samples": samples,
        "flat_tiles_left_out": count.flat_tiles,
        "clips_without_region": count.clips_without_region,
        "black_lead_in_frames": count.lead_in_frames,
        "frames_after_last_clip": count.dropped_frames,
    }


def _tile_samples(config: KolarikConfig, cell: str, source: Source, count: ClipCount) -> Samples:
    """(uint8 (60, px, px), place) pairs of a video; each with a frozen copy for the control."""
    tile_set = TILE_SETS[cell]
    for clip in clips.read_clips(source.info, config.stretch, count):
        covering = clips.covering(source.regions, clip)
        count.clips_without_region += not covering
        for region in covering:
            number = source.regions.index(region)
            tiles = [
                (tile, clips.cut_tile(clip, tile, tile_set.px)) for tile in source.grids[number]
            ]
            varied = [(tile, sample) for tile, sample in tiles if not clips.is_flat(sample)]
            count.flat_tiles += len(tiles) - len(varied)
            for tile, sample in clips.spread(varied, config.max_tiles):
                place = {"clip": clip.number, "start_frame": clip.start, "region": number,
                         "row": tile.row, "column": tile.column, "x": tile.x,
                         "y": tile.y}  # fmt: skip
                if not config.control_frozen:
                    yield sample, place
                    continue
                name = f"{source.labelled.file}/{clip.number}/{number}/{tile.row}/{tile.column}"
                yield sample, {**place, "class": "moving"}
                yield freeze(sample, clip.native, name), {**place, "class": "frozen"}


def _mmode_samples(config: KolarikConfig, cell: str, source: Source, count: ClipCount) -> Samples:
    """(uint8 (height, 64), place) pairs of a video."""
    images = mmode.read_mmode(
        source.info,
        source.regions,
        config.stretch,
        count,
        config.mmode_columns,
        config.mmode_height,
        config.mmode_frames,
    )
    for window, number, m in images:
        if clips.is_flat(m.image):
            count.flat_tiles += 1
            continue
        yield m.image, {"clip": window.number, "start_frame": window.start, "region": number,
                        "row": 0, "column": 0, "x": m.x, "y": m.top}  # fmt: skip


def _index_row(labelled: LabelledVideo, place: dict) -> dict:
    """A sample's row in index.csv, less its sample_id.

    In the control experiment the classes are moving (1) and frozen (0), whatever the video's label.
    """
    place = dict(place)
    name = place.pop("class", NAME_OF_LABEL[labelled.label])
    return {
        "patient_id": labelled.patient,
        "label": {"moving": PRESENT, "frozen": ABSENT}.get(name, labelled.label),
        "class": name,
        "file": labelled.file,
        **place,
        "origin": "phantom" if labelled.is_phantom else "real",
    }


def _why_nothing(config: KolarikConfig, cell: str, count: ClipCount) -> str:
    frames = config.mmode_frames if cell == MMODE_CELL else CLIP_FRAMES
    if count.clips == 0:
        return (f"too short: {count.dropped_frames} frames at 30 fps after "
                f"{count.lead_in_frames} black ones, a clip needs {frames}")  # fmt: skip
    if count.clips_without_region == count.clips:
        return "no clip lies wholly within the frames its regions are marked for"
    return "every tile is flat: the region shows no tissue"


def _say_what_is_in(store: Store, cell: str, say: Callable[[str], None]) -> None:
    counts = ", ".join(f"{n} {name}" for name, n in class_counts(store).items())
    say(f"{cell}: {len(store.samples)} samples ({counts}) from {len(store.sources)} videos")
    for source in store.sources:
        if source["reason"]:
            say(f"{cell}: {source['file']} not used: {source['reason']}")
    for column in ("flat_tiles_left_out", "clips_without_region", "frames_after_last_clip",
                   "black_lead_in_frames"):  # fmt: skip
        total = sum(int(source[column]) for source in store.sources)
        if total:
            say(f"{cell}: {total} {column.replace('_', ' ')}")
