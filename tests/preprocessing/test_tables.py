"""Tables, lists and arrays from outside: what is read, and what is refused in one line."""

import json
import os

import numpy as np
import pytest

from preprocessing.errors import InputError
from preprocessing.tables import (
    JSON_ERRORS,
    check_inside,
    check_name,
    exists,
    open_array,
    parse_json,
    read_table,
    shown,
)


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_tables_as_spreadsheets_write_them(tmp_path):
    path = write(tmp_path / "a.csv", '\ufefffile,name\r\na.mp4, x \r\n\r\n"b,\n1",\r\nc,d,e\r\n')
    table = read_table(path)
    assert table.columns == ["file", "name"] and table.mark == ","
    assert table.rows == [
        (2, {"file": "a.mp4", "name": "x"}),
        (5, {"file": "b,\n1", "name": ""}),
        (6, {"file": "c", "name": "d"}),
    ]
    write(path, "file;x\na;1,5\nb\n")
    assert read_table(path, semicolons=True).rows == [
        (2, {"file": "a", "x": "1,5"}), (3, {"file": "b", "x": ""}),
    ]  # fmt: skip
    assert read_table(path).columns == ["file;x"]
    assert read_table(write(path, "")).columns == read_table(path).rows == []


@pytest.mark.parametrize(
    "content",
    [
        b"file\n\xff\n", "file\nä\n".encode("utf-16"),
        b'file,name\n"a.mp4,1\nb.mp4,2\n',  # a quote that swallows the rows behind it
        b'file\n"a"b\n', b"file\n" + b"x" * 140_000, None,
    ],
)  # fmt: skip
def test_tables_that_are_none_are_refused(tmp_path, content):
    path = tmp_path / "a.csv"
    if content is not None:
        write(path, content)
    with pytest.raises(InputError, match="is not a CSV table|cannot be read") as error:
        read_table(path)
    assert str(error.value).startswith(f"{path}: ") and len(str(error.value)) < 500


def test_json(tmp_path):
    path = write(tmp_path / "a.json", '{"a": [1, "é"]}')
    assert parse_json(path) == {"a": [1, "é"]}
    for content in (
        b"{", b"\xff", b"[" * 100_000, b"9" * 5000, '["\\ud800"]', b'{"a":' * 100_000, b"",
        "\ufeff1",
    ):  # fmt: skip
        with pytest.raises(JSON_ERRORS):
            parse_json(write(path, content))


def test_names_that_leave_the_folder_are_refused(tmp_path):
    check_inside("a/b.mp4", tmp_path, "table, line 2")
    with pytest.raises(InputError, match=r"^table, line 2: \.\./a lies outside .*; give its path"):
        check_inside("../a", tmp_path, "table, line 2")


def test_text_from_files_is_shown_on_one_line():
    assert shown("Jiří Ž.") == "Jiří Ž."
    assert shown("a\nb\x1b[2J\ud800") == r"a\nb\x1b[2J\ud800"
    assert len(shown("x" * 10_000)) == 200


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_names_of_files(tmp_path):
    check_name(tmp_path / "é")
    with pytest.raises(InputError, match=r"^'.*caf\\udce9': its name is not UTF-8; rename it"):
        check_name(tmp_path / os.fsdecode(b"caf\xe9"))
    assert exists(tmp_path)
    for name in ("no", "x" * 5000, "a\0b", "\ud800"):
        assert not exists(tmp_path / name)


def test_arrays_are_mapped_and_never_unpickled(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(6.0).reshape(2, 3))
    assert np.array_equal(open_array(path), np.arange(6.0).reshape(2, 3))
    whole = path.read_bytes()
    np.savez(tmp_path / "b.npz", a=np.zeros(3))
    for content in (
        whole[:-1], whole[:50], b"", (tmp_path / "b.npz").read_bytes(), json.dumps([1]).encode(),
        whole.replace(b"(2, 3)", b"(2,-3)"), whole.replace(b"'<f8'", b"'|O' "),
    ):  # fmt: skip
        with pytest.raises(InputError, match="is not a readable array"):
            open_array(write(path, content))
