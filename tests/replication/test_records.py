"""The files of a run folder: whole or not at all, and damage is told in a line."""

import pytest

from preprocessing.errors import InputError
from replication.records import read_csv, read_json, write_csv, write_json


def test_rows_are_read_back_as_text(tmp_path):
    path = tmp_path / "r.csv"
    write_csv(path, [{"name": "a, b", "value": 1.5}, {"name": "\u00e9", "value": ""}])
    assert read_csv(path) == [{"name": "a, b", "value": "1.5"}, {"name": "\u00e9", "value": ""}]
    write_csv(path, [], ["name"])
    assert read_csv(path) == [] and path.read_text().strip() == "name"
    assert [p.name for p in tmp_path.iterdir()] == ["r.csv"]


def test_an_interrupted_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "r.csv"
    write_csv(path, [{"a": 1}])
    with pytest.raises(ValueError, match="fields not in fieldnames"):
        write_csv(path, [{"a": 2}, {"a": 3, "b": 4}])
    assert read_csv(path) == [{"a": "1"}]


def test_json_is_read_back(tmp_path):
    write_json(tmp_path / "r.json", {"a": [1, None], "b": "\u00e9"})
    assert read_json(tmp_path / "r.json") == {"a": [1, None], "b": "\u00e9"}


@pytest.mark.parametrize(("read", "content"), [
    (read_csv, None), (read_csv, b"a,b\n\xff\xfe,1\n"),
    (read_json, None), (read_json, b'{"a": '), (read_json, b"\xff"),
])  # fmt: skip
def test_missing_and_damaged_files_are_one_line(tmp_path, read, content):
    path = tmp_path / "r"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read .*; delete its folder") as error:
        read(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
