"""Experiments as tables: settings, our numbers with 95 % intervals, and the floors beside them."""

from collections.abc import Sequence

from replication.experiments import Experiment
from replication.paired import show
from replication.verdict import mean_interval

SETTINGS = ("scaling", "precision", "epochs", "batch_size", "learning_rate", "max_tiles",
            "image_size", "input_size", "width", "augmentation", "dropout", "batch_norm_momentum",
            "weights", "folds", "frames", "side", "flow", "alpha", "protocol", "split")  # fmt: skip


def experiment_rows(experiments: Sequence[Experiment]) -> list[dict[str, str]]:
    """A row for each experiment of one study: means over seeds, 95 % intervals."""
    cells = _clip_cells
    if experiments[0].classes:
        cells = _level_cells if "level" in experiments[0].config else _image_cells
    return [
        {"experiment": e.title, "settings": _settings(e), "seeds": str(e.seeds), **cells(e)}
        for e in experiments
    ]


def _level_cells(e: Experiment) -> dict[str, str]:
    """For slices and patients: accuracies on the validation part, floors, the pointing game."""
    pointing = "-"
    if e.has("rise", "pointing_game"):
        keys = ("pointing_game", "chance", "chance_in_lungs", "stable", "slices")
        hit, chance, in_lungs, stable, slices = (e.mean("rise", key) for key in keys)
        pointing = f"{hit:.2f} ({chance:.2f}, {in_lungs:.2f}); {round(stable, 1):g} of {slices:g}"
    return {
        "n, val": f"{e.mean('val', e.level, 'n'):.0f} {e.level}s",
        "accuracy": _shown(e, "val", e.level, "accuracy"),
        "balanced accuracy": _shown(e, "val", e.level, "balanced_accuracy"),
        "floors, balanced accuracy": ", ".join(
            f"{name} {e.mean('floors', name, 'balanced_accuracy', 'floor'):.3f}"
            for name in _floor_names(e)
        ),
        "RISE's maximum in the lesion (by chance, in the lungs); stable maps": pointing,
    }


def _image_cells(e: Experiment) -> dict[str, str]:
    """For studies of several classes: accuracies, the gap, floors and Grad-CAM in the lungs."""
    gap = lungs = "-"
    if e.has("gap", "chosen_epoch"):
        value, low, high = (e.mean("gap", "chosen_epoch", key) for key in ("value", "low", "high"))
        gap = show(value, (low, high), "+")
    if e.has("lungs"):
        mass, area = e.mean("lungs", "gradcam_mass"), e.mean("lungs", "lung_area")
        lungs = f"{mass:.2f} of its mass, area {area:.2f}"
    return {
        "accuracy, val": _shown(e, "val", "image", "accuracy"),
        "accuracy, test": _shown(e, "test", "image", "accuracy"),
        "macro F1, test": _shown(e, "test", "image", "macro_f1"),
        "training less val": gap,
        "floors, accuracy val / test": ", ".join(
            f"{name} {e.mean('floors', name, 'val', 'floor'):.3f} / "
            f"{e.mean('floors', name, 'test', 'floor'):.3f}"
            for name in _floor_names(e)
        ),
        "Grad-CAM in the lungs": lungs,
    }


def _clip_cells(e: Experiment) -> dict[str, str]:
    """For studies of one class against the other: AUROC over patients and clips."""
    clips, patients = (round(e.mean("test", "clip", key)) for key in ("n", "patients"))
    return {
        "test clips / patients": f"{clips} / {patients}",
        "AUROC, patients": _shown(e, "test", "patient", "auroc"),
        "AUROC, clips": _shown(e, "test", "clip", "auroc"),
        "accuracy, clips": _shown(e, "test", "clip", "accuracy"),
        "floors, AUROC over patients": _clip_floors(e),
    }


def _clip_floors(e: Experiment) -> str:
    if e.has("control_floors"):
        names = e.results[0]["control_floors"]
        values = (f"{n.replace('_', ' ')} {e.mean('control_floors', n):.3f}" for n in names)
        return "accuracy: " + ", ".join(values)
    return ", ".join(
        f"{name.replace('_', ' ')} {e.mean('floors', name, 'patient', 'floor'):.3f}"
        for name in _floor_names(e)
    ) or "-"  # fmt: skip


def _floor_names(e: Experiment) -> list[str]:
    return list(e.results[0]["floors"]) if e.has("floors") else []


def _settings(e: Experiment) -> str:
    return ", ".join(f"{name} {e.config[name]}" for name in SETTINGS if name in e.config)


def _shown(e: Experiment, part: str, level: str, metric: str) -> str:
    if not e.has(part):
        return "-"
    return show(e.mean(part, level, metric, "value"), mean_interval(e, part, level, metric))
