import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from replication import figures

CLASSES = ("normal", "COVID-19", "CAP")
COUNTS = np.array([[90, 8, 2], [10, 40, 0], [0, 0, 0]])


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, to read their texts and lines."""
    saved = []
    save = Figure.savefig

    def keep(figure, *args, **kwargs):
        saved.append(figure)
        return save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


def texts(axis):
    return [text.get_text() for text in axis.texts]


def history(*names):
    return [
        {"epoch": epoch, "seconds": 3.0}
        | {name: 1 / (epoch + 1) for name in names}
        | {f"val_{name}": 2 / (epoch + 1) for name in names}
        for epoch in range(3)
    ]


def test_a_confusion_matrix_has_percent_of_the_true_class_and_counts(tmp_path, drawn):
    figures.save_confusion(tmp_path / "one.png", COUNTS, CLASSES, "test $x$")
    (axis,) = drawn[0].axes
    assert texts(axis)[:6] == ["90.0 %\n90", "8.0 %\n8", "2.0 %\n2",
                               "20.0 %\n10", "80.0 %\n40", "0.0 %\n0"]  # fmt: skip
    assert texts(axis)[6:] == ["0"] * 3  # a class that does not occur has no percent
    assert [tick.get_text() for tick in axis.get_xticklabels()] == list(CLASSES)
    assert axis.get_ylabel() == "true class" and axis.get_xlabel() == "predicted class"
    np.testing.assert_allclose(axis.images[0].get_array()[:2].sum(axis=1), 1)


def test_confusion_matrices_stand_side_by_side(tmp_path, drawn):
    titles = ["ResNeXt-50", "Inception-v3", "DenseNet-161", "Wide-ResNet-50"]
    figures.save_confusion(tmp_path / "one.png", COUNTS, CLASSES, "one")
    figures.save_confusions(tmp_path / "four.png", [(t, COUNTS) for t in titles], CLASSES)
    assert [axis.get_title() for axis in drawn[1].axes] == titles
    one, four = (matplotlib.image.imread(tmp_path / f"{n}.png").shape for n in ("one", "four"))
    assert four[1] == pytest.approx(4 * one[1], rel=0.02) and four[0] == one[0]


def test_counts_that_do_not_fit_the_classes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="3 classes"):
        figures.save_confusion(tmp_path / "no.png", np.eye(2), CLASSES, "")
    assert not list(tmp_path.iterdir())


def test_curves_show_every_accuracy_and_the_loss(tmp_path, drawn):
    figures.save_curves(tmp_path / "one.png", history("accuracy", "loss"), 1, "V-BreathNet")
    several = history("diagnosis_accuracy", "diagnosis_loss", "loss", "region_accuracy")
    figures.save_curves(tmp_path / "two.png", several, 1, "DenseNet-161")
    assert [axis.get_ylabel() for axis in drawn[0].axes] == ["accuracy", "loss"]
    panels = ["diagnosis accuracy", "region accuracy", "loss"]
    assert [axis.get_ylabel() for axis in drawn[1].axes] == panels
    training, validation, kept = drawn[0].axes[0].lines
    assert list(training.get_xdata()) == [1, 2, 3]
    np.testing.assert_allclose(training.get_ydata(), [1, 1 / 2, 1 / 3])
    np.testing.assert_allclose(validation.get_ydata(), [2, 1, 2 / 3])
    assert kept.get_xdata()[0] == 2 and kept.get_label() == "kept: epoch 2"


def test_curves_show_what_is_asked_for_and_validation_where_there_is_any(tmp_path, drawn):
    names = ("loss", "accuracy", "precision", "recall")
    rows = [{k: v for k, v in row.items() if k != "val_recall"} for row in history(*names)]
    figures.save_curves(tmp_path / "four.png", rows, 2, "CMWRU", names)
    assert [axis.get_ylabel() for axis in drawn[0].axes] == list(names)
    assert [len(axis.lines) for axis in drawn[0].axes] == [3, 3, 3, 2]
    width, height = drawn[0].get_size_inches()
    assert width < 1.5 * height  # two by two, not four in a row
    assert [file.name for file in tmp_path.iterdir()] == ["four.png"]


def test_settings_are_compared_by_the_mean_of_their_runs(tmp_path, drawn):
    rows = history("loss", "recall")
    higher = [{name: 3 * value for name, value in row.items()} for row in rows]
    runs = {"0.4": [rows], "0.5": [rows, higher]}
    figures.save_comparison(tmp_path / "two.png", runs, ("loss", "recall"), "CMWRU", "dropout")
    titles = [axis.get_title() for axis in drawn[0].axes]
    assert titles == ["training loss", "validation loss", "training recall", "validation recall"]
    lines = drawn[0].axes[1].lines
    assert len(lines) == 1 + 3  # a single run is its own mean
    np.testing.assert_allclose(lines[0].get_ydata(), [2, 1, 2 / 3])
    np.testing.assert_allclose(lines[3].get_ydata(), [4, 2, 4 / 3])
    assert lines[1].get_color() == lines[3].get_color() != lines[0].get_color()
    assert lines[1].get_linewidth() < lines[3].get_linewidth()
    (legend,) = drawn[0].legends
    assert legend.get_title().get_text() == "dropout"
    assert [text.get_text() for text in legend.get_texts()] == ["0.4", "0.5"]
