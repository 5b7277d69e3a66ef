"""Printed summaries of networks: rows that contradict their neighbours or their own shapes."""

from collections.abc import Iterator
from itertools import product
from math import prod

from replication.audit.findings import PROVEN, STRONG, Finding
from replication.audit.recorded import Layer, Tables, named

TOPIC = "Summaries of networks"
# Ours: what a first convolution may have that keeps its input's shape: odd kernels, gray or colour.
KERNELS, CHANNELS = (1, 3, 5, 7), (1, 3)


def check_layers(tables: Tables) -> Iterator[Finding]:
    """Findings on each printed summary: its sum, shapes of blocks, dense layers, first kernel."""
    by_figure: dict[str, list[Layer]] = {}
    for layer in tables.layers:
        by_figure.setdefault(layer.table, []).append(layer)
    for figure, layers in by_figure.items():
        yield from _total(tables, figure, layers)
        yield from _blocks(figure, layers)
        yield from _dense(figure, layers)
        yield from _norms(figure, layers)
        yield from _first_convolution(figure, layers)


def _total(tables: Tables, figure: str, layers: list[Layer]) -> Iterator[Finding]:
    total = sum(layer.parameters or 0 for layer in layers)
    for r in tables.metrics:
        if r.table == figure and r.metric == "trainable_parameters":
            same = total == r.value
            yield _finding(
                f"total-{figure}", figure,
                f"The rows of {named(figure)} {'add' if same else 'do not add'} up to its total",
                f"{total:,} in all rows, {r.value:,.0f} printed",
            )  # fmt: skip


def _blocks(figure: str, layers: list[Layer]) -> Iterator[Finding]:
    """A block has the shape of the last of its parts, which stand below it, one level deeper."""
    for i, block in enumerate(layers):
        last = None
        for layer in layers[i + 1 :]:
            if _depth(layer) <= _depth(block):
                break
            if _depth(layer) == _depth(block) + 1:
                last = layer
        if last is not None and block.kind == "Sequential" and last.shape != block.shape:
            yield _finding(
                f"block-{figure}-{block.layer}", figure,
                f"{block.kind} {block.layer} of {named(figure)} and its last part have different "
                "shapes: a slip, or rows are missing",
                f"{_shape(block)}, {last.kind} {last.layer} {_shape(last)}",
            )  # fmt: skip


def _dense(figure: str, layers: list[Layer]) -> Iterator[Finding]:
    """A dense layer's inputs by its parameters, against the values of the row before it."""
    for i, layer in enumerate(layers):
        if layer.kind != "Linear" or not layer.parameters:
            continue
        units = layer.shape[-1]
        inputs, rest = divmod(layer.parameters, units)
        inputs -= 1
        before = next(x for x in reversed(layers[:i]) if x.kind != "Sequential")
        values = prod(before.shape[1:])
        if rest == 0 and inputs == values:
            continue
        source = next((x for x in reversed(layers[:i]) if prod(x.shape[1:]) == inputs), None)
        known = f"; {source.kind} {source.layer} gives {_product(source)}" if source else ""
        yield _finding(
            f"dense-{figure}-{before.layer}", figure,
            f"{before.kind} {before.layer} of {named(figure)} cannot have {values:,} values",
            f"{layer.kind} {layer.layer} behind it has {layer.parameters:,} parameters = {units} x "
            f"({inputs:,} + 1){known}",
        )  # fmt: skip


def _norms(figure: str, layers: list[Layer]) -> Iterator[Finding]:
    for layer in layers:
        channels = layer.shape[1] if len(layer.shape) > 1 else 0
        if layer.kind.startswith("BatchNorm") and layer.parameters != 2 * channels:
            yield _finding(
                f"norm-{figure}-{layer.layer}", figure,
                f"{layer.kind} {layer.layer} of {named(figure)} does not fit its channels",
                f"{layer.parameters} parameters, 2 x {channels} expected",
            )  # fmt: skip


def _first_convolution(figure: str, layers: list[Layer]) -> Iterator[Finding]:
    """Whether any kernel on a gray or colour video has the printed number of parameters."""
    layer = next(x for x in layers if x.kind.startswith("Conv"))
    dimensions = int(layer.kind[4])
    fits = _kernels(layer.parameters, layer.shape[1], dimensions)
    # Behind another network the input may have any number of channels.
    if fits or any(x.kind == "RAFT" for x in layers):
        return
    text = str(layer.parameters)
    near = {int(text[:i] + d + text[i + 1 :]) for i in range(len(text)) for d in "0123456789"}
    repaired = {n: _kernels(n, layer.shape[1], dimensions) for n in sorted(near)}
    ways = "; ".join(f"{n} fits {', '.join(found)}" for n, found in repaired.items() if found)
    yield Finding(
        f"first-convolution-{figure.replace(' ', '-')}", TOPIC,
        f"{layer.kind} {layer.layer} of {named(figure)} cannot have {layer.parameters} parameters",
        f"{layer.shape[1]} filters on gray or colour, kernels of odd sides up to "
        f"{max(KERNELS)}: none has {layer.parameters}. Of the numbers that differ in one digit: "
        f"{ways or 'none fits'}", STRONG, named(figure),
    )  # fmt: skip


def _kernels(parameters: int, filters: int, dimensions: int) -> list[str]:
    """Kernels with so many parameters: square ones in space, of any odd length in time."""
    found = []
    for side, length, channels, bias in product(KERNELS, KERNELS, CHANNELS, (0, 1)):
        kernel = (length, side, side)[3 - dimensions :]
        if dimensions == 2 and length != side:
            continue
        if parameters == filters * (channels * prod(kernel) + bias):
            name = "x".join(map(str, kernel))
            found.append(f"{name} on {channels} channel{'s' * (channels > 1)}, "
                         f"{'with' if bias else 'without'} bias")  # fmt: skip
    return found


def _depth(layer: Layer) -> int:
    return int(layer.layer.split("-")[0]) if layer.layer else 0


def _shape(layer: Layer) -> str:
    return " x ".join(map(str, layer.shape))


def _product(layer: Layer) -> str:
    return f"{' x '.join(map(str, layer.shape[1:]))} = {prod(layer.shape[1:]):,}"


def _finding(name: str, figure: str, claim: str, arithmetic: str) -> Finding:
    return Finding(name.replace(" ", "-"), TOPIC, claim, arithmetic, PROVEN, named(figure))
