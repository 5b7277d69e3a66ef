"""Data flows one way: preprocessing <- replication <- the papers' packages <- scripts."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAPERS = {"lungsliding_tf", "vbreathnet", "cnr_iemn"}
HOUSE = {"preprocessing", "replication", *PAPERS}
ALLOWED = {
    "preprocessing": {"preprocessing"},
    "replication": {"preprocessing", "replication"},
    **{paper: {"preprocessing", "replication", paper} for paper in PAPERS},
}
# What turns files into arrays needs no Keras; only the marking tool draws.
PREPROCESSING_LIBRARIES = {"numpy", "scipy", "cv2", "SimpleITK", "skimage", "sklearn"}
DRAWING_FILES = "marking"
MODEL_FILES = [
    "lungsliding_tf/kolarik2023/resnet3d.py",
    "lungsliding_tf/kolarik2023/mmode_resnet.py",
    "lungsliding_tf/dzhulai2024/rcm2d.py",
    "lungsliding_tf/dzhulai2024/cmwru.py",
    "lungsliding_tf/dzhulai2024/cmwra.py",
    "lungsliding_tf/dzhulai2024/per_frame.py",
    "lungsliding_tf/dzhulai2024/raft.py",
    "lungsliding_tf/dzhulai2024/raft_encoders.py",
    "lungsliding_tf/dzhulai2024/raft_sampling.py",
    "lungsliding_tf/dzhulai2024/raft_update.py",
    "vbreathnet/model.py",
    "vbreathnet/transfer.py",
    "cnr_iemn/multitask.py",
    "cnr_iemn/backbones/resnet.py",
    "cnr_iemn/backbones/densenet.py",
    "cnr_iemn/backbones/inception.py",
    "cnr_iemn/backbones/grouped.py",
    "cnr_iemn/backbones/narrow.py",
]


def imported_modules(file: Path) -> set[str]:
    """The modules that a file imports, at any depth."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add(node.module)
    return names


def imported(file: Path) -> set[str]:
    """Their top-level names."""
    return {name.split(".")[0] for name in imported_modules(file)}


def python_files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", sorted(p for p in HOUSE if (ROOT / p).exists()))
def test_imports_follow_the_arrows(package):
    files = python_files(package)
    assert files
    for file in files:
        upstream = imported(file) & (HOUSE | {"scripts", "tests"})
        assert upstream <= ALLOWED[package], f"{file} imports {upstream - ALLOWED[package]}"


def test_preprocessing_stays_free_of_keras_and_of_drawing():
    import sys

    for file in python_files("preprocessing"):
        others = imported(file) - set(sys.stdlib_module_names) - {"preprocessing"}
        allowed = PREPROCESSING_LIBRARIES
        if file.name.startswith(DRAWING_FILES):
            allowed = allowed | {"matplotlib"}
        assert others <= allowed, f"{file} imports {others - allowed}"


@pytest.mark.parametrize("file", MODEL_FILES)
def test_model_files_run_on_every_keras_backend(file):
    models = {model.removesuffix(".py").replace("/", ".") for model in MODEL_FILES}
    others = {name.split(".")[0] for name in imported_modules(ROOT / file) - models}
    assert others <= {"keras", "math", "dataclasses"}


def test_the_two_lung_sliding_papers_do_not_import_one_another():
    for one, other in (("kolarik2023", "dzhulai2024"), ("dzhulai2024", "kolarik2023")):
        for file in python_files(f"lungsliding_tf/{one}"):
            assert f"lungsliding_tf.{other}" not in file.read_text(encoding="utf-8"), file


def test_scripts_are_not_installed():
    from setuptools import find_packages
    from setuptools.config.setupcfg import read_configuration

    options = read_configuration(ROOT / "setup.cfg")["options"]
    assert set(find_packages(str(ROOT), include=["*"])) >= set(options["packages"])
    assert not [p for p in options["packages"] if p.split(".")[0] not in HOUSE]
