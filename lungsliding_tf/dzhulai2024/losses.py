"""The focal loss of the paper (section III), on logits."""

from collections.abc import Sequence
from typing import Literal

import keras


def focal_loss(
    alpha: float | Literal["auto"] | None,
    gamma: float,
    reduction: str = "sum_over_batch_size",
    labels: Sequence[int] | None = None,
) -> keras.Loss:
    """The sigmoid focal loss for models that return logits.

    Keras' own equals torchvision's, which the released code takes: before the logarithm it goes
    back to the logits, so that neither value nor gradient is cut where the sigmoid is 0 or 1.
    Released: the losses that the code prints, and so those of Tables I to V, are this mean divided
    by the batch size once more.

    Args:
        alpha: weight of class 1, absent sliding; class 0 has 1 - alpha. Paper: Table IV: 0.8.
            "auto": the share of class 0 in `labels`, as in the released code. None: no weights.
        gamma: how much less confident answers count. Paper: Table IV: 1; Figure 13: 2 and 3.
        reduction: as Keras names it: the mean over the batch, or "none".
        labels: 0 and 1 of the training clips, for "auto".

    Raises:
        ValueError: gamma below 1, where the gradient of a right and fully confident answer is not
            finite; alpha outside 0..1; or "auto" without labels.
    """
    if gamma < 1:
        raise ValueError(f"gamma must be 1 or more, not {gamma}")
    if alpha == "auto":
        if labels is None or len(labels) == 0:
            raise ValueError('alpha "auto" needs the labels of the training clips')
        alpha = sum(label == 0 for label in labels) / len(labels)
    if alpha is not None and not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in 0..1, not {alpha}")
    weights = {} if alpha is None else {"apply_class_balancing": True, "alpha": float(alpha)}
    return keras.losses.BinaryFocalCrossentropy(
        gamma=gamma, from_logits=True, reduction=reduction, name="focal_loss", **weights
    )
