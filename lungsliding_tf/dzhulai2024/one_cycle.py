"""Adam as the released code sets it up in torch: one-cycle schedule, coupled weight decay.

Paper: Dzhulai 2024, section III: Adam, a learning rate scheduler, gradient clipping, weight decay.
Released: torch's Adam, OneCycleLR with its defaults, stepped after every batch of the first
`sched_epochs` epochs, and clip_grad_value_.
"""

import math

import keras
import tensorflow as tf
from keras import ops

from replication.fused import FusedAdam

# Released: OneCycleLR's defaults.
RISE = 0.3  # share of the steps in which the rate rises
FIRST_DIVISOR = 25.0  # the peak over the first rate
LAST_DIVISOR = 1e4  # the first rate over the last
BETA_1 = (0.95, 0.85)  # at both ends, and at the peak of the rate
# Released: Adam's defaults in torch; Keras' epsilon is 1e-7.
BETA_2 = 0.999
EPSILON = 1e-8


@keras.saving.register_keras_serializable(package="dzhulai2024")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """A value that goes from `first` to `peak` and on to `last` along two half cosines.

    Torch's OneCycleLR: the peak is at step 0.3 `steps` - 1, the end at `steps` - 1. After the last
    batch the scheduler is stepped once more, when the cosine has turned: what later steps, if there
    are any, keep lies a little back from `last` towards `peak`.

    Args:
        first, peak, last: values at step 0, at the peak and at the end.
        steps: of the cycle, one or more.

    Raises:
        ValueError: no steps.
    """

    def __init__(self, first: float, peak: float, last: float, steps: int):
        if steps < 1:
            raise ValueError(f"steps must be 1 or more, not {steps}")
        self.first, self.peak, self.last, self.steps = first, peak, last, steps

    def __call__(self, step):
        step = ops.minimum(ops.cast(step, "float32"), float(self.steps))
        # Up to three steps the peak lies before step 0, and only the fall is left.
        top = RISE * self.steps - 1
        up = _half_cosine(self.first, self.peak, step / top)
        down = _half_cosine(self.peak, self.last, (step - top) / (self.steps - 1 - top))
        return ops.where(step <= top, up, down)

    def get_config(self):
        return {
            "first": self.first,
            "peak": self.peak,
            "last": self.last,
            "steps": self.steps,
        }


def _half_cosine(start, end, share):
    return end + (start - end) / 2 * (1 + ops.cos(math.pi * share))


@keras.saving.register_keras_serializable(package="dzhulai2024")
class OneCycleAdam(FusedAdam):
    """Torch's Adam with weight decay, on a one-cycle schedule of learning rate and beta 1.

    The schedule goes by `iterations`, which is saved with the optimizer's state, so that a resumed
    run goes on where it was.

    Args:
        max_learning_rate: at the peak.
        steps: of the cycle: sched_epochs times the steps of an epoch.
        weight_decay: times each trainable weight is added to its gradient, biases and batch norm
            included. (Keras' own `weight_decay` shrinks weights beside Adam, which is AdamW.)
        clipvalue: the loss' gradients are cut at plus and minus this value, before the decay is
            added; None leaves them.
        name: of the optimizer.

    Raises:
        ValueError: no steps.
    """

    def __init__(
        self,
        max_learning_rate: float,
        steps: int,
        weight_decay: float = 0.0,
        clipvalue: float | None = None,
        name: str = "one_cycle_adam",
    ):
        first = max_learning_rate / FIRST_DIVISOR
        super().__init__(
            OneCycle(first, max_learning_rate, first / LAST_DIVISOR, steps),
            beta_2=BETA_2,
            epsilon=EPSILON,
            clipvalue=clipvalue,
            name=name,
        )
        self.max_learning_rate = max_learning_rate
        self.steps = steps
        self.coupled_weight_decay = weight_decay
        self.beta_1_schedule = OneCycle(BETA_1[0], BETA_1[1], BETA_1[0], steps)

    def update_step(self, gradient, variable, learning_rate):
        """Update one weight by its gradient, already cut, by the kernel that FusedAdam takes."""
        place = self._get_variable_index(variable)  # Keras hands over TensorFlow's own variable
        dtype = variable.dtype
        step = tf.cast(self.iterations + 1, dtype)
        beta_1 = tf.cast(self.beta_1_schedule(self.iterations), dtype)
        beta_2 = tf.cast(self.beta_2, dtype)
        beta_2_power = beta_2**step
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[place].value.handle,
            v=self._velocities[place].value.handle,
            # As torch: the present beta 1 to the power of the step, though it was another before.
            beta1_power=beta_1**step,
            beta2_power=beta_2_power,
            lr=tf.cast(learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            # Torch adds epsilon to the corrected root, the kernel to the uncorrected one.
            epsilon=tf.cast(self.epsilon, dtype) * tf.sqrt(1 - beta_2_power),
            grad=tf.cast(gradient, dtype) + tf.cast(self.coupled_weight_decay, dtype) * variable,
        )

    def get_config(self):
        return {
            "max_learning_rate": self.max_learning_rate,
            "steps": self.steps,
            "weight_decay": self.coupled_weight_decay,
            "clipvalue": self.clipvalue,
            "name": self.name,
        }
