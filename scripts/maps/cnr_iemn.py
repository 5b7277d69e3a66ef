"""The map of CNR-IEMN."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon, Rectangle

from maps.drawing import COPIES, draw_bars, draw_shares, draw_stacked, show, show_row
from maps.page import BLUE, INK, INNER, PICTURE, YELLOW, Row, Step, draw_map, write
from maps.steps import EXAMPLE, printed_number, result
from preprocessing import lungs


def map_cnr_iemn(path: Path) -> Path:
    """Scan, lung mask, channels, split, network, classes of slices, groups, patient."""
    from cnr_iemn.cohort import draw_cohort
    from cnr_iemn.config import CnrIemnConfig
    from cnr_iemn.data import Preparation, make_samples
    from cnr_iemn.scanner import render

    patient = next(p for p in draw_cohort(8, 8, 8, 0) if p.patient == "P005")
    scan, config = render(patient, 256, 6.0), CnrIemnConfig(Path(), Path())
    area = scan.lesions.sum(axis=(1, 2))
    slice_hu = scan.hu[area[: 2 * len(area) // 3].argmax()]  # lower down the liver is in the way
    sample = make_samples(Preparation.of(config), slice_hu[None], Path())[0]
    rows = [
        _ct_slices(config, scan.hu, slice_hu, sample),
        _ct_networks(config, sample),
        _ct_patient(config, scan.infected),
    ]
    note = "Box 6: all four backbones have these two heads. Box 7: the phantom's true classes."
    return draw_map(path, "CNR-IEMN: from CT slices to a patient", rows, note)


def _ct_slices(config, scan_hu: np.ndarray, slice_hu: np.ndarray, sample: np.ndarray) -> Row:
    from cnr_iemn.batches import stack_channels
    from cnr_iemn.data import to_gray

    window = config.window_low, config.window_high
    stack = [to_gray(scan_hu[k], *window) for k in np.linspace(5, len(scan_hu) - 8, 5).astype(int)]
    mask = lungs.segment_lungs(slice_hu, config.keep_regions)
    small = cv2.resize(sample, (config.input_size,) * 2, interpolation=cv2.INTER_AREA)
    channels = (255 * stack_channels(small[None], False).numpy()[0]).astype(np.uint8)
    return Row([
        Step("CT scan", partial(_draw_stack, stack), "(slices, 512, 512) in HU",
             "slices across the body, head\nfirst; -1000 to 400 HU shown",
             "preprocessing/ct.py\nread_volume"),
        Step("Lung mask", partial(_draw_mask, to_gray(slice_hu, *window), mask),
             "(slices, 512, 512), bool", "watershed; dense lesions at\nthe chest wall get lost",
             "preprocessing/lungs.py\nsegment_lungs"),
        Step("Three channels",
             partial(show_row, list(np.moveaxis(channels, -1, 0)), ["slice", "mask", "product"]),
             str(channels.shape), "0 to 1; Inception-v3 takes\n299 px",
             "cnr_iemn/batches.py\nstack_channels"),
    ])  # fmt: skip


def _draw_stack(images: Sequence[np.ndarray], axis: Axes) -> None:
    """Slices that follow one another, each covering a part of the one before."""
    side, right, down = 128, (INNER - 128) / (len(images) - 1), 11
    for k, image in enumerate(images):
        show(axis, image, k * right, k * down, side, zorder=2 * k)
        axis.add_patch(Rectangle((k * right, k * down), side, side, fill=False, ec="white",
                                 zorder=2 * k + 1))  # fmt: skip


def _draw_mask(gray: np.ndarray, mask: np.ndarray, axis: Axes) -> None:
    """A slice with the outline of its lung mask."""
    left = (INNER - PICTURE) / 2
    scale = show(axis, gray, left, 0, PICTURE)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for outline in outlines:
        corners = scale * (outline[:, 0] + 0.5) + (left, 0)
        axis.add_patch(Polygon(corners, fill=False, ec=YELLOW, lw=2.2))


def _ct_networks(config, sample: np.ndarray) -> Row:
    from cnr_iemn.images import GRAY, augment_slice

    copies = [augment_slice(sample, config.input_size, config, np.random.default_rng(k))[..., GRAY]
              for k in (1, 2)]  # fmt: skip
    return Row([
        Step("Split, then copies", _draw_slices, "307 scans, 70:30",
             "the paper's training slices;\none scan is one patient",
             "cnr_iemn/split.py: split_scans\nand Slices.training_keys"),
        Step("What a copy is",
             partial(show_row, [sample[..., GRAY], *copies], ["slice", "copy", "copy"]),
             f"({config.input_size}, {config.input_size}, 2)",
             "gray and mask move together;\nthen three channels",
             "cnr_iemn/images.py\naugment_slice"),
        Step("Two-task network", _draw_heads, "class: 3, region: 5",
             "the slice's class, and which\nfifth of the scan it lies in",
             "cnr_iemn/multitask.py\nbuild_slice_network", "network"),
    ])  # fmt: skip


def _draw_slices(axis: Axes) -> None:
    """The paper's labelled slices of its training part, and their copies."""
    from cnr_iemn.config import CLASSES
    from replication.audit.recorded import load_tables

    tables, bars = load_tables("cnr_iemn"), {}
    for name in CLASSES:
        found = tables.count("slice networks, training", "slices", name)
        copies = 0 if name == CLASSES[0] else tables.count("copies of a slice", "slices", name)
        said = f"{name}: {found:,}" + (f", {copies} copies of each" if copies else "")
        bars[said] = ((found, BLUE), (copies * found, COPIES))
    draw_stacked(bars, "striped: copies, training alone", axis)


def _draw_heads(axis: Axes) -> None:
    """Backbone, joined with the place of the slice, and the two heads."""
    from cnr_iemn.backbones import BACKBONES

    features = " or ".join(sorted({str(number) for number, _ in BACKBONES.values()}))
    for x, y, wide, tall, name, said, fill in (
        (0, 16, 100, 92, "backbone", features, "#f3c9ad"),
        (0, 126, 100, 40, "position", "2 values", "white"),
        (130, 40, 44, 92, "join", "", "white"),
        (INNER - 60, 16, 59, 56, "class", "3", "#bfe3d6"),
        (INNER - 60, 100, 59, 56, "region", "5", "#bfe3d6"),
    ):
        axis.add_patch(Rectangle((x, y), wide, tall, fc=fill, ec=INK, lw=1))
        for line, down in ((name, -9 if said else 0), (said, 11)):
            write(axis, x + wide / 2, y + tall / 2 + down, line, 15.5, wide - 4, ha="center")
    for start, end in (((100, 62), (130, 70)), ((100, 146), (130, 118)),
                       ((174, 70), (INNER - 60, 46)), ((174, 104), (INNER - 60, 126))):  # fmt: skip
        axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": INK})


def _ct_patient(config, infected: np.ndarray) -> Row:
    from cnr_iemn.config import CLASSES, COVID, NORMAL
    from cnr_iemn.patient import group_percentages

    predicted = np.where(infected, COVID, NORMAL)
    shares = group_percentages(predicted, config.groups, len(CLASSES))
    grouped = shares.reshape(config.groups, len(CLASSES))
    printed = printed_number("cnr_iemn", "5", "CNR-IEMN", "val", "accuracy")
    return Row([
        result("A class for each slice",
                partial(draw_shares, np.eye(len(CLASSES))[predicted], CLASSES),
                f"({len(predicted)},), 0 to 2", "of all slices of a scan, also\nwithout a label",
                "cnr_iemn/evaluate.py\nscore_slices"),
        result(f"{config.groups} groups of slices", partial(draw_shares, grouped, CLASSES),
                f"{len(shares)} shares a network", "share of each class in each\n"
                "group; four networks: 240", "cnr_iemn/patient.py\ngroup_percentages"),
        result("XGBoost: patient",
                partial(draw_bars, CLASSES, (EXAMPLE[1], EXAMPLE[0], EXAMPLE[2])),
                "(scans, 3), sum 1", f"accuracy beside {printed} of\nTable 5; then the verdict",
                "cnr_iemn/patient.py, diagnose.py\nreplication/judging.py: judge"),
    ])  # fmt: skip
