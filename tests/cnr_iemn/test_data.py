"""Folders of scans to a store: what is read, what is said, and what is refused."""

import dataclasses
import shutil
from collections import Counter

import numpy as np
import pytest

from cnr_iemn.config import CLASSES
from cnr_iemn.data import Preparation, make_samples, prepare, prepare_all, prepare_scan, to_gray
from cnr_iemn.phantom import read_truth
from cnr_iemn.scans import ScanFiles, find_scans
from cnr_iemn.slice_labels import read_slice_labels
from cnr_iemn.split import Scans, check_copies, label_slices
from preprocessing.ct import read_volume
from preprocessing.errors import InputError
from preprocessing.lungs import segment_lungs
from replication.records import read_csv
from replication.workers import read_ahead

COLUMNS = ["sample_id", "patient_id", "label", "diagnosis", "scan", "file", "slice", "slices",
           "location_mm", "lung_share", "origin", "hu_sha256", "lesion_pixels",
           "lost_pixels"]  # fmt: skip


def silent(line: str) -> None:
    pass


def prepare_scans(config, say=silent):
    return prepare(config, config.data, "slices", say)


@pytest.fixture(scope="module")
def prepared(scans, tmp_path_factory):
    """The scans prepared at their own size, and what was said."""
    from cnr_iemn.config import CnrIemnConfig

    lines: list[str] = []
    config = CnrIemnConfig(
        scans,
        tmp_path_factory.mktemp("prepared"),
        store_size=64,
        input_size=64,
        network=("densenet161",),
    )
    return config, prepare_scans(config, lines.append), lines


@pytest.fixture
def folder(small_config, scans, tmp_path):
    """A copy of six of the scans that a test may damage, and its configuration."""
    data = tmp_path / "data"
    shutil.copytree(scans, data)
    for path in data.glob("* subjects/*"):
        if int(path.name.lstrip("Pcapnorml")) > 2:
            shutil.rmtree(path)
    return data, dataclasses.replace(small_config, data=data)


def test_every_slice_of_every_scan_is_stored_once_head_first(prepared, scans):
    config, store, lines = prepared
    assert list(store.index[0]) == COLUMNS
    patients = dict(zip(store.column("patient_id"), store.column("diagnosis"), strict=True))
    assert Counter(patients.values()) == dict.fromkeys(CLASSES, 5)
    assert list(patients)[:2] == ["normal001", "normal002"] and list(patients)[-1] == "cap005"
    assert len(store.index) == len(list(scans.glob("* subjects/*/*.dcm")))
    assert store.samples.dtype == np.uint8 and store.samples.shape[1:] == (64, 64, 2)
    for patient, diagnosis in patients.items():
        rows = [row for row in store.index if row["patient_id"] == patient]
        assert [int(row["slice"]) for row in rows] == list(range(len(rows)))
        assert {int(row["slices"]) for row in rows} == {len(rows)}
        assert (np.diff([float(row["location_mm"]) for row in rows]) < 0).all()
        assert {int(row["label"]) for row in rows} == {CLASSES.index(diagnosis)}
    assert lines[-1].endswith(f"{len(store.index)} slices of 15 scans: 5 Normal, 5 COVID-19, 5 CAP")


def test_a_sample_is_the_window_and_the_lung_mask(prepared, scans):
    _, store, _ = prepared
    volume = read_volume(scans / "COVID-19 subjects" / "P003")
    rows = np.flatnonzero(store.column("patient_id") == "P003")
    assert store.column("file")[rows].tolist() == list(volume.files)
    for hu, row in zip(volume.hu, rows, strict=True):
        sample = store.samples[row]
        np.testing.assert_array_equal(sample[..., 0], to_gray(hu, -1000, 400))
        np.testing.assert_array_equal(sample[..., 1], 255 * segment_lungs(hu, 2))
        share = (sample[..., 1] > 0).mean()
        assert float(store.index[row]["lung_share"]) == pytest.approx(share, abs=1e-4)
    assert (store.samples[..., 1] > 0).any(axis=(1, 2)).mean() > 0.4


def test_lesions_of_phantoms_are_counted_with_what_the_mask_loses(prepared, scans):
    _, store, _ = prepared
    for patient in ("P001", "cap001", "normal001"):
        lesions = read_truth(scans, patient)[0]
        rows = np.flatnonzero(store.column("patient_id") == patient)
        for lesion, row in zip(lesions, rows, strict=True):
            of = store.index[row]
            assert int(of["lesion_pixels"]) == lesion.sum()
            lost = (lesion & (store.samples[row, ..., 1] == 0)).sum()
            assert int(of["lost_pixels"]) == lost
        assert lesions.any() == (patient != "normal001")
    assert set(store.column("origin")) == {"phantom"}


def test_lesions_are_counted_at_the_size_of_the_scan(small_config, scans):
    """Shrunken lesions and masks would lose other shares, and small lesions as a whole."""
    scan = next(one for one in find_scans(scans) if one.patient == "cap001")
    small, smaller = (
        prepare_scan(dataclasses.replace(small_config, store_size=side), scans, scan).rows
        for side in (64, 32)
    )
    lesions = read_truth(scans, "cap001")[0]
    masks = np.stack([segment_lungs(hu) for hu in read_volume(scan.path).hu])
    for rows in (small, smaller):
        assert [row["lesion_pixels"] for row in rows] == lesions.sum(axis=(1, 2)).tolist()
        lost = (lesions & ~masks).sum(axis=(1, 2))
        assert [row["lost_pixels"] for row in rows] == lost.tolist() and lost.any()


def test_a_phantom_that_lost_a_slice_no_longer_fits_its_truth(folder):
    data, config = folder
    path = data / "COVID-19 subjects" / "P001"
    count = len(list(path.iterdir()))
    sorted(path.iterdir())[2].unlink()
    scan = ScanFiles("P001", "COVID-19", path, "COVID-19 subjects/P001")
    with pytest.raises(
        InputError, match=f"P001: .* slices of {count} x 64 x 64 and has {count - 1} x .* anew"
    ):
        prepare_scan(config, data, scan)


def test_a_gap_goes_into_the_store_where_labels_by_position_meet_it(folder):
    data, config = folder
    (data / "phantom.json").unlink()
    path = data / "Cap subjects" / "cap002"
    files = read_volume(path).files
    (path / files[len(files) // 2]).unlink()
    lines: list[str] = []
    scans = Scans.of(prepare_scans(config, lines.append))
    assert len([line for line in lines if line.startswith(f"{path}: gap of 50 mm")]) == 1
    with pytest.raises(InputError, match="do not fit cap002: slices are missing from its series"):
        label_slices(config, scans, read_slice_labels(data))


def test_a_renamed_copy_of_a_scan_is_found_by_its_slices(folder):
    data, config = folder
    (data / "phantom.json").unlink()
    one, copy = data / "COVID-19 subjects" / "P001", data / "Cap subjects" / "cap009"
    copy.mkdir()
    for number, path in enumerate(sorted(one.iterdir())[:-3]):
        header = path.read_bytes().replace(b"19310203", b"20240101")  # another date
        (copy / f"{number}.ima").write_bytes(header)
    (copy / "Thumbs.db").write_bytes(b"x")
    store = prepare_scans(config)
    with pytest.raises(InputError, match="cap009: holds the same slice .* as .*P001; a scan may"):
        check_copies([data], [store])
    shutil.rmtree(copy)
    check_copies([data], [prepare_scans(config)])


def test_labels_of_slices_are_not_in_the_store(prepared, scans):
    """Other labels need no second reading: neither columns nor hashes hold them."""
    config, store, _ = prepared
    names = {source["file"] for source in store.recipe["sources"]}
    assert len(names) == 15 and not any("abel" in name for name in names)
    assert not [name for name in store.index[0] if "infect" in name]


def test_no_file_of_the_store_names_a_person(prepared, secrets, scans):
    config, _, _ = prepared
    assert any(secret in next(scans.rglob("*.dcm")).read_bytes() for secret in secrets)
    files = [path for path in config.out.rglob("*") if path.is_file()]
    assert len(files) == 4
    for path in files:
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret in content], path


def test_real_scans_need_no_truth(folder):
    data, config = folder
    (data / "phantom.json").unlink()
    store = prepare_scans(config)
    assert set(store.column("origin")) == {"real"}
    assert set(store.column("lesion_pixels")) == set(store.column("lost_pixels")) == {""}
    assert store.samples.shape[1:] == (48, 48, 2)
    assert set(np.unique(store.samples[..., 1])) == {0, 255}


def test_unchanged_scans_are_not_read_again_and_changed_ones_are(folder, monkeypatch):
    data, config = folder
    first = prepare_scans(config).fingerprint
    with monkeypatch.context() as patch:
        patch.setattr("cnr_iemn.data._write_store", None)
        assert prepare_scans(config).fingerprint == first
    lines: list[str] = []
    other = dataclasses.replace(config, window_high=500.0)
    second = prepare_scans(other, lines.append).fingerprint
    assert second != first and any("recipe or sources changed" in line for line in lines)
    shutil.rmtree(data / "Cap subjects" / "cap002")
    assert "cap002" not in prepare_scans(other).column("patient_id")
    (data / "phantom.json").unlink()  # no phantoms, no truth that a slice less would contradict
    prepare_scans(other)
    sorted((data / "Cap subjects" / "cap001").iterdir())[0].unlink()
    assert len(prepare_scans(other).index) == len(list(data.glob("* subjects/*/*.dcm")))


def test_labels_may_change_without_a_second_reading(folder, monkeypatch):
    data, config = folder
    first = prepare_scans(config).fingerprint
    for path in data.glob("*-level-labels*"):
        path.unlink()
    monkeypatch.setattr("cnr_iemn.data._write_store", None)
    assert prepare_scans(config).fingerprint == first


@pytest.mark.parametrize("cores", [1, 2])
def test_an_unreadable_scan_stops_and_what_was_done_is_kept(folder, monkeypatch, cores):
    """Also of the scans that are read at the same time."""
    data, config = folder
    monkeypatch.setattr("cnr_iemn.data.cpu_count", lambda: cores)
    damaged = sorted((data / "Normal subjects" / "normal002").iterdir())[1]
    content = damaged.read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError) as error:
        prepare_scans(config)
    assert "\n" not in str(error.value) and str(damaged) in str(error.value)
    assert not (config.out / "stores" / "slices").exists()
    kept = read_csv(config.out / "stores" / "slices.partial" / "sources.csv")
    assert [row["file"] for row in kept] == ["Normal subjects/normal001"]
    damaged.write_bytes(content)
    read = []

    def remember(prepare_one, scans, jobs, cluster):
        read.extend(scan.patient for scan in scans)
        return read_ahead(prepare_one, scans, jobs, cluster)

    monkeypatch.setattr("cnr_iemn.data.read_ahead", remember)
    store = prepare_scans(config)
    assert read == ["normal002", "P001", "P002", "cap001", "cap002"]
    assert list(dict.fromkeys(store.column("patient_id"))) == [
        "normal001", "normal002", "P001", "P002", "cap001", "cap002"
    ]  # fmt: skip


def test_each_test_folder_has_a_store_of_its_own(small_config, further_scans, tmp_path):
    folders = [shutil.copytree(further_scans, tmp_path / name) for name in ("a", "b")]
    config = dataclasses.replace(small_config, data=further_scans, test=tuple(folders))
    stores = prepare_all(config, silent)
    assert [store.folder.name for store in stores] == ["slices", "slices-test-1", "slices-test-2"]
    assert {len(store.index) for store in stores} == {len(list(further_scans.rglob("*.dcm")))}


@pytest.fixture
def unread(folder, monkeypatch):
    """That configuration; a scan that is read fails."""
    monkeypatch.setattr("cnr_iemn.data.prepare", None)
    return folder


def test_folders_and_labels_are_looked_at_before_any_scan_is_read(unread, further_scans, tmp_path):
    data, config = unread
    none = tmp_path / "none"
    further = shutil.copytree(further_scans, tmp_path / "further")
    (further / "Index.csv").write_text("Diagnosis,Folder/ID\n")
    for test, match in (
        (none, f"{none}: is not a folder"),
        (further, "Index.csv: has no row"),
        (data / "truth" / "..", "is named twice by --data and --test"),
    ):
        with pytest.raises(InputError, match=match):
            prepare_all(dataclasses.replace(config, test=(test,)), silent)
    array = data / "Slice-level-labels-updated-1.npy"
    np.save(array, np.load(array)[1:])
    with pytest.raises(InputError, match="that does not fit Index.csv"):
        prepare_all(config, silent)


def test_names_that_fit_nothing_are_told(folder, monkeypatch):
    data, config = folder
    monkeypatch.setattr("cnr_iemn.data.prepare", lambda *_: None)
    lines: list[str] = []
    (data / "Cap subjects" / "cap002").rename(data / "Cap subjects" / "cap_002")
    shutil.copytree(data / "Cap subjects", data / "Cap subjets")
    prepare_all(config, lines.append)
    assert lines == [
        f"{data}: no class folders, so ignored: Cap subjets",
        f"{data / 'Slice-level-labels-updated-1.npy'}: labels 5 patients without a scan here: "
        "cap002, cap003, cap004, P003, P004",
    ]
    table = "file,patient,diagnosis,infection\nIM1.dcm,P00l,COVID-19,1\n"
    (data / "slice_labels.csv").write_text(table)
    lines.clear()
    prepare_all(config, lines.append)
    assert lines[1:] == [
        f"{data / 'slice_labels.csv'}: labels 1 patients without a scan here: P00l"
    ]


def test_the_window_is_linear_between_its_ends():
    hu = np.array([-3000, -1000, -999, -300, 399, 400, 3000], np.int16)
    gray = to_gray(hu, -1000, 400)
    assert gray.dtype == np.uint8
    assert gray.tolist() == [0, 0, 0, 128, 255, 255, 255]  # -300: 127.5 to the even number
    ramp = to_gray(np.arange(-1000, 401, dtype=np.int16), -1000, 400)
    expected = np.rint(255 * (np.arange(1401) / 1400))
    assert np.abs(ramp - expected).max() <= 1 and (np.diff(ramp.astype(int)) >= 0).all()
    assert to_gray(np.array([[50]]), 0, 100)[0, 0] == 128


def test_slices_that_are_not_square_are_refused(tmp_path):
    with pytest.raises(InputError, match="slices of 64 x 48; expected square ones"):
        make_samples(Preparation(-1000, 400, 2, 64), np.zeros((2, 64, 48), np.int16), tmp_path)


def test_slices_are_brought_to_the_size_of_the_store(tmp_path):
    hu = np.full((1, 96, 96), -1000, np.int16)
    hu[0, 24:72, 24:72] = 400
    for side in (48, 96, 128):
        (sample,) = make_samples(Preparation(-1000, 400, 2, side), hu, tmp_path)
        assert sample.shape == (side, side, 2)
        assert sample[..., 0].mean() == pytest.approx(255 / 4, abs=2)


def test_one_region_keeps_one_lung():
    rows, columns = np.mgrid[:128, :128]
    hu = np.full((128, 128), -1000, np.int16)
    hu[(rows - 64) ** 2 / 50**2 + (columns - 64) ** 2 / 60**2 < 1] = 40
    for middle, radius in ((38, 17), (92, 19)):
        hu[(rows - 64) ** 2 / 30**2 + (columns - middle) ** 2 / radius**2 < 1] = -850
    both, one = (
        make_samples(Preparation(-1000, 400, keep, 128), hu[None], "x")[0, ..., 1] > 0
        for keep in (2, 1)
    )
    assert both[64, 38] and both[64, 92]
    assert one[64, 92] and not one[64, 38]
