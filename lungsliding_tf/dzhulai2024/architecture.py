"""The printed summaries of Figures 2, 8 and 15 beside our networks at the published size."""

import math
from collections.abc import Iterator, Sequence
from itertools import takewhile

import keras

from lungsliding_tf.dzhulai2024.cmwra import build_cmwra
from lungsliding_tf.dzhulai2024.cmwru import build_cmwru
from lungsliding_tf.dzhulai2024.experiments import STUDY
from lungsliding_tf.dzhulai2024.rcm2d import build_rcm2d
from replication.architecture import build_bare, count, judge_counts, judge_fact
from replication.audit.recorded import Layer, load_tables
from replication.claims import FAILS, HOLDS, ClaimVerdict

FIGURES = {
    "figure 2": ("RCM2d_Small", build_rcm2d),
    "figure 8": ("CMWRA", build_cmwra),
    "figure 15": ("CMWRU", build_cmwru),
}
# Rows that carry parameters or change the shape, by how PyTorch's and Keras' names begin. ReLU,
# dropout and the frames of blocks do neither.
KINDS = {
    "Conv": "Conv",
    "BatchNorm": ("BatchNormalization", "ClipBatchNormalization"),
    "MaxPool": "MaxPooling",
    "Linear": "Dense",
    "GRU": "GRU",
    "Flatten": ("Flatten", "Reshape"),
}
# A block's shortcut is one row, two layers here: convolution and batch norm, with its own count.
SHORTCUT_KIND, SHORTCUT = "Sequential", "shortcut"
FRAMES_AS_BATCH = ("figure 2",)  # the 2D network sees a clip's frames as a batch
# Rows that other printed rows, or the released class, refute.
SLIPS = {
    ("figure 8", "2-23"): "a slip: row 2-24 has 256 x (1,310,720 + 1) parameters",
    ("figure 15", "1-1"): "a slip: the released class has 8 filters of 3x5x5 without bias, 600",
}


def judge_architecture() -> list[ClaimVerdict]:
    """A verdict for the total of Figure 2, and for all rows of each figure together."""
    printed = load_tables(STUDY).layers
    verdicts, counts = [], {}
    for figure, (name, build) in FIGURES.items():
        network = build_bare(build)
        counts[name] = count(network)
        rows = [row for row in printed if row.table == figure]
        verdicts += _judge_figure(figure, name, rows, network)
    return [*judge_counts(STUDY, counts), *verdicts]


def _judge_figure(
    figure: str, name: str, rows: Sequence[Layer], network: keras.Model
) -> Iterator[ClaimVerdict]:
    """One verdict on shapes, one on parameters, and one for each slip.

    The two say of how many rows they are: those of ReLU, dropout and optical flow have no
    counterpart to be held against.
    """
    pairs = _pair(rows, network)
    right = {"output shapes": [], "parameters": []}
    for row, layers in pairs:
        ours = {"output shapes": _shape(figure, row, layers[-1]), "parameters": _parameters(layers)}
        printed = {"output shapes": row.shape, "parameters": row.parameters or 0}
        for what, same in right.items():
            if (figure, row.layer) in SLIPS and printed[what] != ours[what]:
                claim = f"{name}: {what} of row {row.layer}"
                reason = SLIPS[figure, row.layer]
                yield judge_fact(claim, figure, name, printed[what], ours[what], reason)
            else:
                same.append((row.layer, printed[what] == ours[what]))
    for block, last, layer in _blocks(rows, pairs, network):
        shape = _shape(figure, block, layer)
        if block.shape != shape and last.shape == shape:
            claim = f"{name}: output shapes of row {block.layer}"
            reason = f"a slip: its last row, {last.kind} {last.layer}, is {_spelled(last.shape)}"
            yield judge_fact(claim, figure, name, block.shape, shape, reason)
        else:
            right["output shapes"].append((block.layer, block.shape == shape))
    for what, same in right.items():
        wrong = [layer for layer, equal in same if not equal]
        ours = f"{len(same) - len(wrong)} of {len(same)} the same, of {len(rows)} rows"
        ours += f", not those of {', '.join(wrong)}" if wrong else ""
        claim = f"{name}: {what} of its rows"
        yield ClaimVerdict(claim, figure, name, FAILS if wrong else HOLDS, ours)


def _blocks(
    rows: Sequence[Layer], pairs: Sequence[tuple[Layer, list[keras.layers.Layer]]],
    network: keras.Model,
) -> Iterator[tuple[Layer, Layer, keras.layers.Layer]]:  # fmt: skip
    """Each row with rows one level deeper below it, the last of these, and our last layer in it."""
    ours = {row.layer: layers[-1] for row, layers in pairs}
    for i, block in enumerate(rows):
        parts = _below(rows, i)
        counted = [row for row in parts if row.layer in ours]
        if not counted or block.layer in ours:
            continue
        layer = ours[counted[-1].layer]
        if parts[-1] is rows[-1]:  # the network's end, whose rows may be cut off
            layer = network.layers[-1]
        last = [row for row in parts if _depth(row) == _depth(block) + 1][-1]
        yield block, last, layer


def _below(rows: Sequence[Layer], i: int) -> list[Layer]:
    """The rows that stand deeper, right below a row."""
    depth = _depth(rows[i])
    return list(takewhile(lambda row: _depth(row) > depth, rows[i + 1 :]))


def _depth(row: Layer) -> int:
    return int(row.layer.split("-")[0]) if row.layer else 0


def _spelled(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _pair(
    rows: Sequence[Layer], network: keras.Model
) -> list[tuple[Layer, list[keras.layers.Layer]]]:
    """Each row that counts beside our layers: kind by kind in the order of both.

    Raises:
        ValueError: a figure has more or fewer of a kind.
    """
    pairs = []
    shortcuts = [layer for layer in network.layers if SHORTCUT in layer.name]
    # Our layers' order is that of the graph, where the shortcut's stand among the block's.
    shortcuts = sorted(shortcuts, key=lambda layer: layer.name.split(SHORTCUT)[0])
    blocks = [row for row in rows if row.kind == SHORTCUT_KIND and row.parameters]
    pairs += zip(blocks, zip(shortcuts[::2], shortcuts[1::2], strict=True), strict=True)
    for kind, ours in KINDS.items():
        of_kind = [row for row in rows if row.kind.startswith(kind)]
        layers = [
            layer for layer in network.layers
            if type(layer).__name__.startswith(ours) and layer not in shortcuts
        ]  # fmt: skip
        # The last rows of Figure 15 are cut off.
        pairs += zip(of_kind, ([layer] for layer in layers[: len(of_kind)]), strict=True)
    return [(row, list(layers)) for row, layers in pairs]


def _shape(figure: str, row: Layer, layer: keras.layers.Layer) -> tuple[int, ...]:
    """Our output as PyTorch would print it: channels before time and space."""
    sizes = tuple(layer.output.shape[1:])
    if row.kind == "GRU":  # all steps are printed; ours returns the last
        return (row.shape[0], row.shape[1], *sizes)
    if figure in FRAMES_AS_BATCH and len(sizes) > 1:
        return (sizes[0], sizes[-1], *sizes[1:-1])
    return (row.shape[0], sizes[-1], *sizes[:-1])


def _parameters(layers: Sequence[keras.layers.Layer]) -> int:
    return sum(math.prod(v.shape) for layer in layers for v in layer.trainable_variables)
