"""A folder of phantoms: whole or absent, one process at a time, and nothing left beside it."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from preprocessing.errors import InputError
from replication.occupied import in_turn
from replication.phantoms import new_folder

RECIPE = {"generator": "phantom dots 1", "seed": 0}
WRITE = f"""
import sys
from pathlib import Path
from replication.phantoms import new_folder
with new_folder(Path(sys.argv[1]), "recipe.json", {RECIPE}, "dots") as partial:
    (partial / "a.txt").write_text("a")
    print("in", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that writes `tmp_path / "set"` until it is sent a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(tmp_path / "set")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline().strip() == "in"
    yield process
    process.kill()
    process.communicate()


def write(out, **changes) -> bool:
    """Write a folder; whether that was needed."""
    with new_folder(Path(out), "recipe.json", RECIPE | changes, "dots") as folder:
        if folder is not None:
            (folder / "a.txt").write_text("ours")
        return folder is not None


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_left_goes_with_the_next_one(tmp_path, other):
    other.kill()
    other.wait()
    (left,) = [name for name in names(tmp_path) if "partial" in name]
    assert left == f".set.partial-{other.pid}"
    (tmp_path / ".set.outdated-1").mkdir()  # of one killed a moment later
    others = [".set2.partial-1", ".set.partial-old", "set.partial-1"]
    for name in others:
        (tmp_path / name).mkdir()
    assert write(tmp_path / "set")
    assert names(tmp_path) == sorted([*others, "set"])
    assert names(tmp_path / "set") == ["a.txt", "recipe.json"]
    (tmp_path / ".set.outdated-1").mkdir()  # of one killed when all but this was done
    assert not write(tmp_path / "set") and names(tmp_path) == sorted([*others, "set"])


def test_a_second_process_waits_and_finds_it_whole(tmp_path, other, monkeypatch):
    said = []

    def say(line):
        said.append(line)
        other.stdin.write("go on\n")
        other.stdin.flush()

    monkeypatch.setattr("replication.phantoms.in_turn", partial(in_turn, say=say))
    assert not write(tmp_path / "set")
    assert said == [f"{tmp_path / 'set'}: another process has it in hand, waiting for it"]
    assert (tmp_path / "set" / "a.txt").read_text() == "a" and names(tmp_path) == ["set"]


def test_an_interrupted_one_leaves_what_was_there(tmp_path):
    write(tmp_path / "set")
    with pytest.raises(KeyboardInterrupt):
        with new_folder(tmp_path / "set", "recipe.json", RECIPE | {"seed": 1}, "dots"):
            raise KeyboardInterrupt
    assert not write(tmp_path / "set") and names(tmp_path) == ["set"]


def test_the_working_folder_is_not_replaced(tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for out in (".", here, "new/.."):
        with pytest.raises(InputError, match="is where you are, .*; name a new folder"):
            write(out)
    assert names(here) == [] and names(tmp_path) == ["here"]
    assert write("new/../new") and not write("new")
    monkeypatch.chdir(here / "new")
    assert not write(".")  # it holds just this


@pytest.mark.skipif(os.name == "nt", reason="Windows asks for a right to make links")
def test_a_link_to_another_disk_stays_one(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "set").symlink_to(tmp_path / "disk" / "set")
    assert write(tmp_path / "set") and write(tmp_path / "set", seed=1)
    assert (tmp_path / "set").is_symlink() and names(tmp_path / "disk") == ["set"]
