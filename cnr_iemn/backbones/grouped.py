"""Grouped convolution as a few dense convolutions: the same variables and results, fast on a CPU.

Keras has TensorFlow compile a grouped convolution on a CPU, and its gradients then take some
hundred times longer than need be (`scripts/benchmark.py --rows grouped_convolution`). A dense
convolution whose kernel is zero outside the diagonal blocks of its groups gives the same numbers.
"""

import keras
from keras import layers, ops

# Input channels of one dense convolution. Ours: measured on ResNeXt-50; wider ones multiply more
# zeros, narrower ones are too many to call.
MERGED_CHANNELS = 32


@keras.saving.register_keras_serializable(package="cnr_iemn")
class GroupedConv2D(layers.Conv2D):
    """`keras.layers.Conv2D(groups=...)`; only how it computes differs.

    Args:
        merged: whether to compute dense convolutions of several groups each. None decides when the
            layer is called: merged where Keras finds only CPUs, the native grouped operation on a
            GPU. A saved model so runs either way on another machine.
        Others as of Conv2D. The kernel is (height, width, channels / groups, filters).
    """

    def __init__(self, *args, merged: bool | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.merged = merged

    def convolution_op(self, inputs, kernel):
        merged = _only_cpus() if self.merged is None else self.merged
        if self.groups == 1 or not merged:
            return super().convolution_op(inputs, kernel)
        height, width, depth, filters = kernel.shape
        together = _groups_together(self.groups, depth)
        parts = self.groups // together
        # (h, w, group that reads, depth, part, group that writes, its filters), zero where the two
        # groups differ, is a dense kernel for each part.
        blocks = ops.reshape(
            kernel, (height, width, 1, depth, parts, together, filters // self.groups)
        )
        diagonal = ops.reshape(
            ops.eye(together, dtype=kernel.dtype), (1, 1, together, 1, 1, together, 1)
        )
        dense = ops.reshape(
            blocks * diagonal,
            (height, width, together * depth, parts, filters // parts),
        )
        axis = -1 if self.data_format == "channels_last" else 1
        outputs = [
            super(GroupedConv2D, self).convolution_op(part, dense[:, :, :, number])
            for number, part in enumerate(ops.split(inputs, parts, axis=axis))
        ]
        return ops.concatenate(outputs, axis=axis)

    def get_config(self):
        return {**super().get_config(), "merged": self.merged}


def _groups_together(groups: int, depth: int) -> int:
    """How many groups of `depth` channels share a dense convolution: a divisor of `groups`."""
    most = max(1, MERGED_CHANNELS // depth)
    return max(number for number in range(1, most + 1) if groups % number == 0)


def _only_cpus() -> bool:
    # PyTorch, which Keras lists no devices for, trains grouped convolutions well on a CPU.
    if keras.backend.backend() == "torch":
        return False
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())
