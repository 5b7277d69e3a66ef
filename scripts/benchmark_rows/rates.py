"""How near a network comes to the rate of a plain large matrix product on the same cores.

Arithmetic is counted in the graph of a forward pass: two operations for each multiply-add of a
convolution or matrix product. Products with padding, or with the zeros that fill a merged grouped
convolution, are not arithmetic of the network and are left out, and so is all that is linear in
the size of the maps: batch norm, activations, pooling, the optimizer.
"""

import math
import statistics
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from benchmark_rows.measuring import Row, median_and_range, seconds_of

STEP_PASSES = 3  # by convention a training step is a forward pass and a backward pass of twice that
PRODUCT_SIDE = {"CPU": 2048, "GPU": 8192}  # 17 and 1,100 GFLOP: enough to be busy, not to wait
LEAST_SECONDS = 0.3  # of a measurement: shorter work is repeated within it
CONVOLUTIONS = ("Conv2D", "Conv3D", "DepthwiseConv2dNative")
CALLS = {"PartitionedCall": "f", "StatefulPartitionedCall": "f"}
UNCOUNTABLE = ("While", "StatelessWhile", "CudnnRNN", "CudnnRNNV2", "CudnnRNNV3")


def count_flops(model, batch: int) -> int:
    """Operations of a forward pass of `batch` samples.

    Raises:
        ValueError: the graph has a loop, whose rounds cannot be counted, or sizes that only a run
            tells.
    """
    signature = [tf.TensorSpec((batch, *one.shape[1:]), one.dtype) for one in model.inputs]
    kept = _write_out(model)
    try:
        # A new function, so that nothing is taken from an earlier trace.
        forward = tf.function(lambda *x: model(list(x) if len(x) > 1 else x[0], training=False))
        return _flops_of_graph(forward.get_concrete_function(*signature).graph)
    finally:
        for layer, name, value in kept:
            setattr(layer, name, value)


def _write_out(model) -> list[tuple]:
    """Have layers compute as they are defined: groups apart, no loop; what to put back."""
    plain = {"merged": False, "unroll": True, "use_cudnn": False}
    kept = [
        (layer, name, getattr(layer, name))
        for layer in model._flatten_layers()
        for name in plain
        if hasattr(layer, name)
    ]
    for layer, name, _ in kept:
        setattr(layer, name, plain[name])
    return kept


def _flops_of_graph(graph: tf.Graph) -> int:
    total = 0
    for op in graph.get_operations():
        if op.type in UNCOUNTABLE:
            raise ValueError(f"{op.name} is a {op.type}, whose rounds the graph does not tell")
        if op.type in CALLS:
            name = op.get_attr(CALLS[op.type]).name
            total += _flops_of_graph(graph._get_function(name).graph)
        elif op.type in CONVOLUTIONS:
            total += 2 * _convolution(op)
        elif op.type == "MatMul":
            total += 2 * _product(op, op.get_attr("transpose_a"))
        elif op.type in ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"):
            total += 2 * _product(op, op.get_attr("adj_x"))
        elif op.type == "Einsum":
            total += 2 * _einsum(op)
    return total


def _product(op, transposed: bool) -> int:
    """Multiply-adds of a matrix product, or of a batch of them."""
    inner = op.inputs[0].shape[-2 if transposed else -1]
    return _size(op.outputs[0].shape) * inner


def _einsum(op) -> int:
    """Multiply-adds of a product over named axes; each name once."""
    read = op.get_attr("equation").decode().split("->")[0].split(",")
    sizes = {
        axis: size
        for axes, tensor in zip(read, op.inputs, strict=True)
        for axis, size in zip(axes, tensor.shape, strict=True)
    }
    return _size(sizes.values()) if len(read) > 1 else 0


def _convolution(op) -> int:
    """Multiply-adds of a convolution, channels last: taps that meet data, not padding."""
    if not op.get_attr("data_format").decode().endswith("C"):
        raise ValueError(f"{op.name}: channels have to be last")
    kernel, outputs = op.inputs[1].shape, op.outputs[0].shape
    sizes, before = _without_padding(op.inputs[0])
    taps = 1
    for axis in range(1, len(outputs) - 1):
        stride, dilation = (op.get_attr(name)[axis] for name in ("strides", "dilations"))
        size, tap = sizes[axis], kernel[axis - 1]
        start = before[axis]
        if op.get_attr("padding") == b"SAME":
            start += max((outputs[axis] - 1) * stride + (tap - 1) * dilation + 1 - size, 0) // 2
        taps *= sum(
            0 <= output * stride + number * dilation - start < size
            for output in range(outputs[axis])
            for number in range(tap)
        )
    return _size((outputs[0], taps, *kernel[-2:]))


def _without_padding(tensor) -> tuple[list, list]:
    """Sizes of a tensor before it was padded, and the padding in front of each axis."""
    op = tensor.op
    if op.type not in ("Pad", "PadV2"):
        return list(tensor.shape), [0] * len(tensor.shape)
    return list(op.inputs[0].shape), [front for front, _ in tf.get_static_value(op.inputs[1])]


def _size(shape) -> int:
    sizes = list(shape)
    if None in sizes:
        raise ValueError("a size is only known when the network runs")
    return math.prod(sizes)


def matrix_product(dtype: str = "float32", side: int | None = None) -> tuple[Callable, int]:
    """A product of two square matrices on the device that networks run on, and its operations."""
    device = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    side = side or PRODUCT_SIDE[device]
    numbers = np.random.default_rng(0).standard_normal((2, side, side), np.float32)
    one, other = (tf.cast(matrix, dtype) for matrix in numbers)
    # Reading a number waits for a GPU to end.
    return lambda: tf.linalg.matmul(one, other)[0, 0].numpy(), 2 * side**3


def share_row(
    name: str,
    work: Callable,
    flops: int,
    repeats: int,
    dtype: str = "float32",
    side: int | None = None,
) -> Row:
    """Work and matrix products in turns: its rate as a share of theirs.

    Args:
        name: of the row.
        work: what is measured.
        flops: its operations.
        repeats: turns.
        dtype: that the network multiplies in; if not float32 its product is a second reference.
        side: of the matrices; large if not given.
    """
    products = {kind: matrix_product(kind, side) for kind in dict.fromkeys(("float32", dtype))}
    turns = _take_turns({"work": (work, flops), **products}, repeats)
    rates = {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}
    described = ", ".join(f"{kind} {rates[kind] / 1e9:.0f}" for kind in products)
    rows = round((products["float32"][1] / 2) ** (1 / 3))
    shares = [
        f"{median_and_range([100 * turn['work'] / turn[kind] for turn in turns], 0)} %"
        for kind in products
    ]
    return Row(
        name,
        f"{flops / rates['work']:.3f} s, {rates['work'] / 1e9:.0f} GFLOP/s",
        f"product of {rows} x {rows}: {described} GFLOP/s",
        f"{flops / 1e9:.3g} GFLOP",
        "-",
        None,
        f"; of {dtype}'s ".join(shares),
    )


def _take_turns(parts: dict[str, tuple[Callable, int]], repeats: int) -> list[dict[str, float]]:
    """Operations a second of each part in each turn, from a function and its operations.

    The products stand before and after the work of a turn, which takes longer than they do: what
    else a machine does comes and goes within seconds.
    """
    for function, _ in parts.values():
        function()  # traces, and allocates
    calls = {
        key: math.ceil(LEAST_SECONDS / max(seconds_of(function), 1e-6))
        for key, (function, _) in parts.items()
    }
    order = [key for key in parts if key != "work"]
    order = [*order, "work", *order]
    turns = []
    for _ in range(repeats):
        measured = [(key, _rate(*parts[key], calls[key])) for key in order]
        turns.append({
            key: statistics.harmonic_mean([rate for one, rate in measured if one == key])
            for key in parts
        })  # fmt: skip
    return turns


def _rate(function: Callable, flops: int, calls: int) -> float:
    """Operations a second over some calls."""
    return flops * calls / seconds_of(lambda: [function() for _ in range(calls)])
