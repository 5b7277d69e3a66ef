"""What RAFT computes without weights: correlations of all pairs, look-ups in them, upsampling.

Teed & Deng 2020, section 3.2 and appendix B. Positions are (x, y) in px of a map, with the centre
of its first pixel at 0.
"""

import math

from keras import ops


def correlation_pyramid(first, second, levels: int) -> list:
    """Dot products of all pixels of one feature map with all of another, by size of the latter.

    Args:
        first, second: float32 tensors (batch, height, width, channels) of one shape.
        levels: the first is of the second map's size, each next one of half of it.

    Returns:
        A float32 tensor (batch * height * width, w, h) a level, with the second map's width and
        height; the products are over the root of the channels.
    """
    batch, height, width, channels = ops.shape(first)
    first = ops.reshape(first, (batch, height * width, channels))
    # Columns before rows: look-ups read them in this order.
    second = ops.reshape(ops.transpose(second, (0, 3, 2, 1)), (batch, channels, width * height))
    volume = ops.matmul(first, second) / math.sqrt(channels)
    volume = ops.reshape(volume, (batch * height * width, width, height, 1))
    pyramid = [volume]
    for _ in range(levels - 1):
        pyramid.append(ops.average_pool(pyramid[-1], 2, 2))
    return [ops.squeeze(volume, axis=-1) for volume in pyramid]


def look_up(pyramid: list, positions, radius: int):
    """Correlations at a window of points around a position for each pixel, at every level.

    Linear between pixels, zero outside the map. Ours: as products with what each column and row
    weighs, which on a CPU takes two thirds of the time that gathering four corners takes, and half
    with the gradient; at 480 px they are equal.

    Args:
        pyramid: of `correlation_pyramid`.
        positions: float32 tensor (batch, height, width, 2), in px of the first level.
        radius: the window has 2 * radius + 1 points on a side, a pixel of the level apart.

    Returns:
        float32 tensor (batch, height, width, levels * (2 * radius + 1)^2). Released: the points of
        a level are ordered by x, then by y.
    """
    batch, height, width, _ = ops.shape(positions)
    points = 2 * radius + 1
    window = _numbers(points) - radius
    x, y = ops.split(ops.reshape(positions, (-1, 2)), 2, axis=-1)  # (B * H * W, 1) each
    correlations = []
    for level, volume in enumerate(pyramid):
        _, columns, rows = ops.shape(volume)
        across = linear_weights(x / 2**level + window, columns)  # (B * H * W, points, w)
        down = linear_weights(y / 2**level + window, rows)  # (B * H * W, points, h)
        found = ops.matmul(ops.matmul(across, volume), ops.swapaxes(down, -1, -2))
        correlations.append(ops.reshape(found, (batch, height, width, points**2)))
    return ops.concatenate(correlations, axis=-1)


def linear_weights(positions, size: int):
    """What each of `size` pixels weighs at positions (...): float32 (..., size)."""
    return ops.relu(1 - ops.abs(ops.expand_dims(positions, -1) - _numbers(size)))


def pixel_positions(height: int, width: int):
    """Each pixel's x and y: float32 (height, width, 2)."""
    return ops.stack(ops.meshgrid(_numbers(width), _numbers(height)), axis=-1)


def _numbers(size: int):
    return ops.cast(ops.arange(size), "float32")


def upsample_bilinear(flow, factor: int):
    """A flow (batch, height, width, 2) on a map `factor` times as large, and in px of that."""
    weights = []
    for size in ops.shape(flow)[1:3]:
        # Released: the corner pixels of both maps have the same centres.
        apart = ops.cast((size - 1) / (factor * size - 1), "float32")
        weights.append(linear_weights(_numbers(factor * size) * apart, size))
    return factor * ops.einsum("yh,xw,nhwc->nyxc", *weights, flow)


def upsample_convex(flow, mask, factor: int):
    """As `upsample_bilinear`, with fine flows as weighted means of the nine coarse ones around.

    Args:
        flow: float32 tensor (batch, height, width, 2).
        mask: float32 logits (batch, height, width, 9 * factor^2), by neighbour, row and column.
        factor: fine pixels on a side of a coarse one.
    """
    batch, height, width, _ = ops.shape(flow)
    mask = ops.softmax(ops.reshape(mask, (batch, height, width, 9, factor**2)), axis=-2)
    around = ops.image.extract_patches(factor * flow, 3, strides=1, padding="same")  # zeros outside
    around = ops.reshape(around, (batch, height, width, 9, 2))
    fine = ops.matmul(ops.swapaxes(mask, -1, -2), around)  # (B, H, W, factor^2, 2)
    fine = ops.reshape(fine, (batch, height, width, factor, factor, 2))
    fine = ops.transpose(fine, (0, 1, 3, 2, 4, 5))  # (B, H, factor, W, factor, 2)
    return ops.reshape(fine, (batch, factor * height, factor * width, 2))
