"""Files from strangers: nothing in them runs, leads out of its folder, or names a patient."""

import ast
import csv
import json
import os
import shutil
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import readers

from cnr_iemn.patient import MODEL_FILES, load_classifier
from cnr_iemn.scans import find_scans
from cnr_iemn.slice_labels import read_slice_labels
from lungsliding_tf.dzhulai2024.sources import read_metafile
from lungsliding_tf.labels import read_labels
from preprocessing import radiographs, roi, video
from preprocessing.ct import read_slice, read_volume
from preprocessing.errors import InputError
from preprocessing.store import Store
from preprocessing.tables import leaves_folder, open_array
from replication.weight_files import read_tensors
from vbreathnet.config import CLASSES, VBreathNetConfig
from vbreathnet.data import find_radiographs

ROOT = Path(__file__).resolve().parents[2]
CODE = ("preprocessing", "replication", "lungsliding_tf", "vbreathnet", "cnr_iemn", "scripts")

# Modules that build objects from bytes, and calls that run text or bytes as code.
UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "yaml",
              "jsonpickle", "code"}  # fmt: skip
FORBIDDEN_CALLS = {"eval", "exec", "compile", "os.system", "os.popen", "joblib.load",
                   "np.loadtxt", "np.fromregex", "np.core.records.fromfile",
                   "enable_unsafe_deserialization"}  # fmt: skip
# Calls that are safe with a certain argument only.
NEEDED_ARGUMENTS = {
    "torch.load": ("weights_only", True),
    "keras.models.load_model": ("safe_mode", True),
    "skops.io.load": ("trusted", []),
    "jinja2.Environment": ("autoescape", True),
}
FORBIDDEN_ARGUMENTS = {"allow_pickle": True, "shell": True, "safe_mode": False,
                       "weights_only": False, "autoescape": False}  # fmt: skip


def calls(tree):
    """(name as written, {argument: its value if it is a literal}, line) of each call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            arguments = {}
            for keyword in node.keywords:
                try:
                    arguments[keyword.arg] = ast.literal_eval(keyword.value)
                except ValueError:
                    arguments[keyword.arg] = ...
            yield ast.unparse(node.func), arguments, node.lineno


@pytest.mark.parametrize("package", CODE)
def test_no_code_unpickles_or_runs_what_it_reads(package):
    found = set()
    for file in sorted((ROOT / package).rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not UNPICKLERS & {name.split(".")[0] for name in names}, f"{file}:{node.lineno}"
        for name, arguments, line in calls(tree):
            where = f"{file}:{line}: {name}"
            found.add(name)
            assert name not in FORBIDDEN_CALLS, where
            for argument, value in FORBIDDEN_ARGUMENTS.items():
                assert arguments.get(argument, None) not in (value, ...), where
            for ending, (argument, value) in NEEDED_ARGUMENTS.items():
                if name == ending or name.endswith(f".{ending}"):
                    assert arguments.get(argument, None) == value, where
    if package == "replication":  # the names above are those in use
        assert {"torch.load", "keras.models.load_model", "jinja2.Environment"} <= found


class Mischief:
    """Unpickled it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture
def trap(tmp_path):
    """A path that a poisoned file would make, were it believed."""
    path = tmp_path / "it-ran"
    yield path
    assert not path.exists()


def test_a_poisoned_array_is_refused_and_not_run(tmp_path, trap):
    path = tmp_path / "a.npy"
    np.save(path, np.array([Mischief(trap)], dtype=object), allow_pickle=True)
    np.load(path, allow_pickle=True)
    trap.unlink()  # so that is what it does
    with pytest.raises(InputError, match="not a readable array"):
        open_array(path)
    readers.write_store(tmp_path / "store")
    shutil.copyfile(path, tmp_path / "store" / "samples.npy")
    with pytest.raises(InputError, match="not a complete sample store"):
        Store(tmp_path / "store")
    (tmp_path / "labels").mkdir()
    *_, labels = readers.READERS["slice_labels"](tmp_path / "labels")
    shutil.copyfile(path, labels.path)
    with pytest.raises(InputError, match="not a readable array"):
        read_slice_labels(labels.path.parent)
    path.write_bytes(b"cbuiltins\nopen\n(S'" + str(trap).encode() + b"'\nS'w'\ntR.")
    with pytest.raises(InputError, match="not a readable array"):
        open_array(path)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_poisoned_weights_are_refused_and_not_run(tmp_path, trap, suffix):
    """Without PyTorch its files are refused unread."""
    path = tmp_path / f"a{suffix}"
    import pickle

    path.write_bytes(pickle.dumps({"x": Mischief(trap)}))
    with pytest.raises(InputError):
        read_tensors(path)
    with zipfile.ZipFile(path, "w") as file:  # the newer form
        file.writestr("a/data.pkl", pickle.dumps({"x": Mischief(trap)}, protocol=2))
        file.writestr("a/version", "3\n")
        file.writestr("a/byteorder", "little")
    with pytest.raises(InputError):
        read_tensors(path)


def test_a_poisoned_model_is_refused_and_not_run(tmp_path, trap):
    import keras

    from replication import run
    from replication.records import MODEL
    from replication.run import RunFolder

    inputs = keras.Input((2,))
    code = keras.layers.Lambda(eval(f"lambda x: [x, open({str(trap)!r}, 'w')][0]"))
    keras.Model(inputs, code(inputs)).save(tmp_path / MODEL)
    trap.unlink()  # made when the layer was built
    keras.models.load_model(tmp_path / MODEL, safe_mode=False)
    trap.unlink()  # so that is what it does
    folder = object.__new__(RunFolder)
    folder.path = tmp_path
    with pytest.raises(InputError, match="cannot be loaded .*arbitrary code"):
        run.load_model(folder)


def test_a_poisoned_classifier_is_refused_and_not_run(tmp_path, trap):
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    skops.io.dump(FunctionTransformer(os.mkdir), tmp_path / MODEL_FILES["svm"])
    with pytest.raises(InputError, match="cannot be loaded"):
        load_classifier(tmp_path, "svm")
    for content in (b"cbuiltins\nopen\n(S'x'\nS'w'\ntR.", b"", b"{}", b'{"learner": 1}'):
        (tmp_path / MODEL_FILES["xgboost"]).write_bytes(content)
        with pytest.raises(InputError, match="cannot be loaded"):
            load_classifier(tmp_path, "xgboost")


OUTSIDE = (
    "../secret.mp4", "a/../../secret.mp4", "..\\secret.mp4", "a\\..\\..\\secret.mp4",
    "/etc/passwd", "C:\\secret.mp4", "C:/secret.mp4", "\\\\server\\share\\a", "./../secret.mp4",
)  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leaves_its_folder_is_known(name):
    assert leaves_folder(name)


@pytest.mark.parametrize("name", ["a.mp4", "a/b.mp4", "a\\b.mp4", "a/../b.mp4", "..a", "a..", "é",
                                  "./a", "a:b.mp4", "", "...", "a/..b/c"])  # fmt: skip
def test_a_name_that_stays_is_taken(name):
    assert not leaves_folder(name)


@pytest.fixture
def folder(tmp_path):
    """A data folder with a video, films and a scan, and a secret beside it."""
    data = tmp_path / "data"
    for name in ("a", *CLASSES, "ct/COVID-19/P001"):
        (data / name).mkdir(parents=True)
    readers.write_video(data / "a" / "a.mp4", "mp4v", readers.moving())
    shutil.copyfile(data / "a" / "a.mp4", tmp_path / "secret.mp4")
    for name in CLASSES:
        readers.write_frame(data / name / "a.png")
    return data


def read_rectangles(data):
    return roi.import_rectangles(data / "r.csv", data)


TABLES = {
    "labels.csv": ("file,patient_group,lung_sliding\n{},1,present\n", read_labels),
    "manifest.csv": (
        "file,patient_id\n{},1\n",
        lambda data: find_radiographs(VBreathNetConfig(data=data, out=data), print),
    ),
    "r.csv": ("file,x,y,width,height\n{},1,1,9,9\n", read_rectangles),
    "ct/slice_labels.csv": (
        "file,patient,diagnosis,infection\n{},P001,COVID-19,1\n",
        lambda data: read_slice_labels(data / "ct"),
    ),
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", OUTSIDE)
def test_tables_may_not_lead_out_of_their_folder(folder, table, name):
    text, read = TABLES[table]
    (folder / table).write_text(text.format(name))
    with pytest.raises(InputError, match="lies outside") as error:
        read(folder)
    assert table in str(error.value) and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", OUTSIDE)
def test_lists_may_not_lead_out_of_their_folder(folder, name):
    path = folder / "sliding_metafile.json"
    entry = {"video_name": name, "video_class": "ls_p", "cut_interval": [[0, 2]]}
    path.write_text(json.dumps([entry]))
    with pytest.raises(InputError, match="lies outside"):
        read_metafile(path)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_real_links_are_followed(folder):
    """Large data lie on another disk: a link is the owner's own doing, text in a table is not."""
    (folder / "link.mp4").symlink_to(folder.parent / "secret.mp4")
    (folder / "labels.csv").write_text("file,patient_group,lung_sliding\nlink.mp4,1,present\n")
    assert sum(1 for _ in video.read_frames(read_labels(folder)[0].path)) == readers.FRAMES
    elsewhere = folder.parent / "elsewhere"
    (folder / "ct" / "COVID-19").rename(elsewhere)
    (folder / "ct" / "COVID-19").symlink_to(elsewhere)
    assert [scan.patient for scan in find_scans(folder / "ct")] == ["P001"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_names_in_another_encoding_are_refused(folder):
    """SimpleITK ends the process on them, and no table in UTF-8 can hold them."""
    odd = folder / os.fsdecode(b"caf\xe9")
    odd.mkdir()
    films = VBreathNetConfig(data=folder, out=folder / "out")
    for source, write in (
        (odd / "a.dcm", lambda path: readers.write_ct(path, 0.0)),
        (odd / "b.mp4", lambda path: readers.write_video(path, "mp4v", readers.moving())),
        (folder / "COVID" / os.fsdecode(b"\xff.png"), readers.write_frame),
        (folder / "ct/COVID-19" / os.fsdecode(b"P\xff"), lambda path: path.mkdir()),
    ):
        plain = folder.parent / f"plain{source.suffix}"
        write(plain)
        plain.rename(source)
    for read, path in (
        (read_slice, odd / "a.dcm"), (read_volume, odd), (video.probe, odd / "b.mp4"),
        (radiographs.read_radiograph, odd / "a.dcm"), (find_scans, folder / "ct"),
        (lambda _: find_radiographs(films, print), folder),
    ):  # fmt: skip
        with pytest.raises(InputError, match="is not UTF-8; rename it") as error:
            read(path)
        str(error.value).encode()


# What the studies' commands leave behind.

SECRETS = ("Planted^Surname", "PLANTED-4711", "Planted Hospital", "PLANTED-ACC", "Planted^Doctor",
           "19310203", "PLANTED-STATION", "Planted Street")  # fmt: skip
PERSON = dict(zip(("0010|0010", "0010|0020", "0008|0080", "0008|0050", "0008|0090", "0010|0030",
                   "0008|1010", "0010|1040"), SECRETS, strict=True))  # fmt: skip
PAYLOADS = ("<script>alert(1)<script>", "<img src=x onerror=alert(1)>", "\"'>&amp;<b>", "{{7*7}}",
            "![x](http:x)|`a`", "é\u202eü", "line\nbreak", "=1+1")  # fmt: skip


def run(*command) -> str:
    """What a command said; it has to end well."""
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


def contents(folder: Path):
    """(where, bytes) of each file below, and of each file in zip files there."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, path.read_bytes()
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as file:
                    for name in file.namelist():
                        yield f"{path}!{name}", name.encode() + file.read(name)


def assert_names_nobody(folder: Path, said: str) -> None:
    seen = 0
    for where, content in contents(folder):
        seen += 1
        found = [s for s in SECRETS if s.encode() in content or s.encode("utf-16-le") in content]
        assert not found, (where, found)
    assert seen > 20
    assert not [secret for secret in SECRETS if secret in said]


def plant(path: Path, new: Path | None = None) -> None:
    """Write a picture or a slice anew as DICOM of a certain person."""
    import SimpleITK

    image = SimpleITK.ReadImage(str(path))
    fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    if new:
        fields |= {"0008|0060": "DX"}
    for key, value in (fields | PERSON).items():
        image.SetMetaData(key, value)
    writer = SimpleITK.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.KeepOriginalImageUIDOn()
    target = new or path
    writer.SetFileName(str(target.with_name("x.dcm")))
    writer.Execute(image)
    target.with_name("x.dcm").rename(target)
    assert all(secret.encode() in target.read_bytes() for secret in SECRETS)


class Page(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.handlers, self.sources, self.texts = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.handlers += [name for name, _ in attributes if name.startswith("on")]
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.texts.append(data)


@pytest.mark.slow
def test_no_output_of_the_radiograph_study_names_a_person(tmp_path):
    """And names of files and patients are text on the page, whatever they look like."""
    from vbreathnet.phantom import write_cohort

    data = write_cohort(tmp_path / "films", per_class=8, size=100, seed=2, progress=False)
    rows = []
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file)):
            old = data / row["file"]
            payload = PAYLOADS[number % len(PAYLOADS)].replace("/", "")
            new = old.with_name(f"{payload}-{number}.dcm" if os.name != "nt" else f"{number}.dcm")
            plant(old, new)
            old.unlink()
            row["file"] = new.relative_to(data).as_posix()
            row["patient_id"] = f"{payload} {row['patient_id']}"
            rows.append(row)
    with (data / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    out = tmp_path / "out"
    said = run(
        "scripts/train_vbreathnet.py", "--data", data, "--out", out, "--model", "v-breathnet",
        "--image-size", 96, "--test-per-class", 2, "--per-class", 8, "--batch-size", 8,
        "--epochs", 1, "--min-sharpness", 0, "--min-contrast", 0, "--smooth-samples", 2,
    )  # fmt: skip
    said += run("scripts/report.py", out)
    assert_names_nobody(out, said)
    page = Page((out / "report.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags and not page.handlers
    assert all(source.startswith(("data:image/", "#")) for source in page.sources)


@pytest.mark.slow
def test_no_output_of_the_ct_study_names_a_person(tmp_path):
    from cnr_iemn.phantom import write_cohort

    data = write_cohort(
        tmp_path / "scans", covid=4, cap=4, normal=4, labelled_covid=4, labelled_cap=4, size=64,
        slice_spacing=25.0, seed=5, jobs=2, progress=False,
    )  # fmt: skip
    for path in data.rglob("*.dcm"):
        plant(path)
    out = tmp_path / "out"
    said = run(
        "scripts/train_cnr_iemn.py", "--data", data, "--out", out, "--scenario", "multitask",
        "--network", "resnext50_32x4d", "densenet161", "--weights", "random", "--width", "0.25",
        "--store-size", 48, "--input-size", 32, "--normal-scans", 4, "--batch-size", 16,
        "--epochs", 1, "--folds", 2, "--rise-slices", 1, "--rise-masks", 128,
    )  # fmt: skip
    said += run("scripts/report.py", out)
    assert_names_nobody(out, said)


def test_errors_about_a_person_s_file_do_not_name_the_person(tmp_path):
    readers.write_frame(tmp_path / "a.png")
    plant(tmp_path / "a.png", tmp_path / "a.dcm")
    picture = cv2.imread(str(tmp_path / "a.png"))
    assert picture is not None
    for read in (read_slice, read_volume):
        with pytest.raises(InputError) as error:
            read(tmp_path / "a.dcm" if read is read_slice else tmp_path)
        assert not [secret for secret in SECRETS if secret in str(error.value)]
