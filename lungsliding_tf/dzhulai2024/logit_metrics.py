"""Keras' metrics of a training curve, for networks that end in a logit."""

import keras
from keras import ops


class _OfLogits:
    """Keras' binary metrics take probabilities; thresholds are then those of the paper, 0.5."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_true, ops.sigmoid(y_pred), sample_weight)


@keras.saving.register_keras_serializable(package="dzhulai2024")
class LogitAccuracy(_OfLogits, keras.metrics.BinaryAccuracy):
    """Share of right answers."""


@keras.saving.register_keras_serializable(package="dzhulai2024")
class LogitPrecision(_OfLogits, keras.metrics.Precision):
    """Share of absent ones among those called absent."""


@keras.saving.register_keras_serializable(package="dzhulai2024")
class LogitRecall(_OfLogits, keras.metrics.Recall):
    """Share of those called absent among the absent ones."""


def curve_metrics() -> list[keras.Metric]:
    """What Figures 3 to 6 and 19 to 21 draw besides the loss."""
    return [
        LogitAccuracy(name="accuracy"),
        LogitPrecision(name="precision"),
        LogitRecall(name="recall"),
    ]
