"""Small cohorts of phantom scans and stores made by hand; scans are made once a session."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cnr_iemn.config import CLASSES, CnrIemnConfig
from cnr_iemn.slice_labels import PatientLabels, SliceLabels
from preprocessing.store import Store, StoreWriter

# What stands for the names in the headers of real scans; as long as what it takes the place of.
PLANTED = {b"Phantom^": b"Secret^N", b"PHANTOM-": b"ID-4711-", b"20200101": b"19310203"}


SETTINGS = dict(
    scenario=("multitask",), network=("resnext50_32x4d", "densenet161"), weights="random",
    store_size=48, input_size=32, normal_scans=4, batch_size=16, epochs=1, folds=2, rise_slices=1,
    rise_masks=128,
)  # fmt: skip


def plant_names(data: Path) -> Path:
    """Give every DICOM file below a folder of phantoms a name, a number and a date."""
    for path in data.rglob("*.dcm"):
        content = path.read_bytes()
        for phantom, person in PLANTED.items():
            assert phantom in content
            content = content.replace(phantom, person)
        path.write_bytes(content)
    return data


@pytest.fixture(scope="session")
def secrets() -> tuple[bytes, ...]:
    """What identifies the patients of `scans`, and may stand in no file that the study writes."""
    return tuple(PLANTED.values())


@pytest.fixture(scope="session")
def scans(tmp_path_factory) -> Path:
    """5 phantom scans of each class, 64 px, all but the last of each class with slice labels."""
    from cnr_iemn.phantom import write_cohort

    return plant_names(write_cohort(
        tmp_path_factory.mktemp("scans") / "data", covid=5, cap=5, normal=5, labelled_covid=4,
        labelled_cap=4, size=64, slice_spacing=25.0, seed=5, jobs=2, progress=False,
    ))  # fmt: skip


@pytest.fixture(scope="session")
def further_scans(tmp_path_factory) -> Path:
    """A further test set: one phantom scan of each class."""
    from cnr_iemn.phantom import write_cohort

    return plant_names(write_cohort(
        tmp_path_factory.mktemp("scans") / "heart", covid=1, cap=1, normal=1, labelled_covid=1,
        labelled_cap=1, size=64, slice_spacing=25.0, seed=6, kind="heart", jobs=2, progress=False,
    ))  # fmt: skip


def damage_archive(whole: bytes) -> dict[str, bytes]:
    """What a few wrong bytes make of a .npz file; each ends in an error of another kind."""
    header, listed = whole.index(b"PK\3\4"), whole.index(b"PK\1\2")  # of the first array
    lengths = (whole[header + at : header + at + 2] for at in (26, 28))
    data = header + 30 + sum(int.from_bytes(length, "little") for length in lengths)

    def changed(*places: tuple[int, bytes]) -> bytes:
        content = bytearray(whole)
        for start, new in places:
            content[start : start + len(new)] = new
        return bytes(content)

    return {
        "an impossible block": changed((data, b"\7")),
        "an unknown compression": changed((header + 8, b"c\0"), (listed + 10, b"c\0")),
        "an encryption": changed((header + 6, b"\1\0"), (listed + 8, b"\1\0")),
        "cut short": whole[: len(whole) // 2],
    }


@pytest.fixture(scope="session", name="damage_archive")
def give_damage_archive():
    """`damage_archive`, as a fixture so that test modules need not import this one."""
    return damage_archive


@pytest.fixture
def small_config(scans, tmp_path) -> CnrIemnConfig:
    """A configuration for those scans, in an empty output folder."""
    return CnrIemnConfig(data=scans, out=tmp_path / "out", **SETTINGS)


def tiny_backbone(name, input_shape, weights=None, classes=None, width=1.0):
    """Something with the face of `build_backbone` that trains in a moment."""
    import keras
    from keras import layers

    inputs = keras.Input(input_shape)
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D(name="avgpool")(x), name=name)


@pytest.fixture
def tiny_networks(monkeypatch) -> None:
    """Training takes `tiny_backbone` for the paper's networks."""
    monkeypatch.setattr("cnr_iemn.train.build_backbone", tiny_backbone)


@pytest.fixture(scope="session")
def study(scans, further_scans, tmp_path_factory):
    """A finished study of two tiny networks: configuration, stores, verdicts, what it said."""
    from cnr_iemn import train
    from cnr_iemn.data import prepare_all
    from cnr_iemn.segmentation import report_segmentation

    config = CnrIemnConfig(
        data=scans, out=tmp_path_factory.mktemp("study"), test=(further_scans,), **SETTINGS
    )
    lines: list[str] = []
    stores = prepare_all(config, lines.append)
    report_segmentation(config, stores[0], lines.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "build_backbone", tiny_backbone)
        verdicts = train.run_study(config, stores, lines.append)
    return config, stores, verdicts, lines


@pytest.fixture
def slices(study):
    """The slices of that study and the parts that they are in."""
    from cnr_iemn import split
    from cnr_iemn.slice_labels import read_slice_labels

    config, stores, _, _ = study
    return split.split_scans(config, stores[0], read_slice_labels(config.data), 0)


def write_store(
    folder: Path, scans: Sequence[tuple[str, int]], slices: int = 4, side: int = 40, **columns
) -> Store:
    """A store of noise: for each (patient, class) a scan of so many slices, head first.

    Columns of the index beyond the usual ones are given as lists of one value a slice.
    """
    rng = np.random.default_rng(0)
    sources = [{"file": patient, "sha256": patient} for patient, _ in scans]
    recipe = {"parameters": {}, "sources": sources}
    with StoreWriter(folder, recipe, (side, side, 2)) as writer:
        for patient, label in scans:
            for number in range(slices):
                sample = rng.integers(0, 256, (side, side, 2), dtype=np.uint8)
                sample[..., 1] = 255 * (sample[..., 1] > 127)
                row = {
                    "patient_id": patient, "label": label, "diagnosis": CLASSES[label],
                    "scan": patient, "file": f"{slices - number}.dcm", "slice": number,
                    "slices": slices, "location_mm": f"{-2 * number:.2f}", "origin": "real",
                    "hu_sha256": hashlib.sha256(sample.tobytes()).hexdigest(),
                    **{name: values[writer.count] for name, values in columns.items()},
                }  # fmt: skip
                writer.add(sample, row)
            writer.finish_source({"file": patient, "reason": ""})
        return writer.close()


@pytest.fixture
def make_store(tmp_path):
    """`write_store`, in an empty folder."""
    return lambda scans, **options: write_store(tmp_path / "store", scans, **options)


@pytest.fixture
def make_labels():
    """Slice labels from {patient: infected slices} and the names of normal patients."""

    def make(infected: dict[str, Sequence[bool]], normal: Sequence[str]) -> SliceLabels:
        labels = {name: PatientLabels(np.array(of, bool), None)
                  for name, of in infected.items()}  # fmt: skip
        return SliceLabels(Path("labels.npy"), labels, normal)

    return make
