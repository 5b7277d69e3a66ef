import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from preprocessing import store
from preprocessing.errors import InputError
from preprocessing.store import Store, StoreWriter


def recipe(*files, size=4):
    return {"study": "test", "size": size, "sources": [{"file": f, "sha256": f} for f in files]}


def add_source(writer, name, values):
    for value in values:
        writer.add(np.full((4, 4), value, np.uint8), {"patient_id": name, "value": value})
    writer.finish_source({"file": name, "reason": ""})


def test_round_trip(tmp_path):
    with StoreWriter(tmp_path / "s", recipe("a", "b"), (4, 4)) as writer:
        add_source(writer, "a", [1, 2])
        add_source(writer, "b", [3])
        done = writer.close()
    assert done.samples.shape == (3, 4, 4) and done.samples.dtype == np.uint8
    assert isinstance(done.samples, np.memmap)
    assert done.samples[:, 0, 0].tolist() == [1, 2, 3]
    assert [r["sample_id"] for r in done.index] == ["0", "1", "2"]
    assert done.column("patient_id").tolist() == ["a", "a", "b"]
    assert done.file_hashes == {"a": "a", "b": "b"}
    assert [p.name for p in tmp_path.iterdir()] == ["s"]
    assert store.is_current(tmp_path / "s", recipe("a", "b"))
    assert not store.is_current(tmp_path / "s", recipe("a", "b", size=5))


def test_another_process_opens_the_same_store_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with StoreWriter(Path("s"), recipe("a"), (4, 4)) as writer:
        add_source(writer, "a", [1, 2])
        sent = pickle.dumps(writer.close())
    assert len(sent) < 500  # its name
    monkeypatch.chdir("/")
    assert pickle.loads(sent).samples[:, 0, 0].tolist() == [1, 2]
    with StoreWriter(tmp_path / "s", recipe("a", size=5), (4, 4)) as writer:
        add_source(writer, "a", [3])
        writer.close()
    store._open_again.cache_clear()
    with pytest.raises(InputError, match="was prepared anew meanwhile"):
        pickle.loads(sent)


def test_an_unfinished_store_is_never_taken_for_whole_and_is_taken_up_again(tmp_path):
    writer = StoreWriter(tmp_path / "s", recipe("a", "b"), (4, 4))
    add_source(writer, "a", [1, 2])
    writer.add(np.full((4, 4), 9, np.uint8), {"patient_id": "b", "value": 9})
    writer.__exit__()  # what is left of a process that was interrupted in source b
    assert not (tmp_path / "s").exists()
    with pytest.raises(InputError, match="not a complete sample store"):
        Store(tmp_path / "s.partial")
    with StoreWriter(tmp_path / "s", recipe("a", "b"), (4, 4)) as again:
        assert again.done == ["a"]
        add_source(again, "b", [3, 4])
        assert again.close().samples[:, 0, 0].tolist() == [1, 2, 3, 4]


def test_a_later_source_that_changed_does_not_cost_the_finished_ones(tmp_path):
    writer = StoreWriter(tmp_path / "s", recipe("a", "broken"), (4, 4))
    add_source(writer, "a", [1])
    writer.__exit__()
    repaired = StoreWriter(tmp_path / "s", recipe("a", "repaired"), (4, 4))
    assert repaired.done == ["a"]
    repaired.__exit__()
    other = StoreWriter(tmp_path / "s", recipe("a", "repaired", size=5), (4, 4))
    assert other.done == []
    other.__exit__()


def test_no_sample_at_all_is_an_error_that_names_reasons_and_leaves_nothing(tmp_path):
    writer = StoreWriter(tmp_path / "s", recipe("a"), (4, 4))
    writer.finish_source({"file": "a", "reason": "too short"})
    with pytest.raises(InputError, match="a: too short"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_wrong_sample_shape_is_refused(tmp_path):
    with StoreWriter(tmp_path / "s", recipe("a"), (4, 4)) as writer:
        with pytest.raises(ValueError, match="expected uint8"):
            writer.add(np.zeros((4, 5), np.uint8), {})


@pytest.mark.parametrize("damage", ["samples.npy", "index.csv", "recipe.json"])
def test_damaged_stores_are_input_errors(tmp_path, damage):
    with StoreWriter(tmp_path / "s", recipe("a"), (4, 4)) as writer:
        add_source(writer, "a", [1, 2, 3])
        writer.close()
    path = tmp_path / "s" / damage
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(InputError, match="prepare again"):
        Store(tmp_path / "s")


def test_the_header_grows_in_place_for_many_samples(tmp_path):
    with StoreWriter(tmp_path / "s", recipe("a"), (1,)) as writer:
        for i in range(12345):
            writer.add(np.array([i % 251], np.uint8), {"i": i})
        writer.finish_source({"file": "a", "reason": ""})
        samples = writer.close().samples
    assert samples.shape == (12345, 1)
    assert samples[12344, 0] == 12344 % 251


def test_too_little_disk_is_said_before_the_work(tmp_path):
    store.check_space(tmp_path / "new" / "s", 1000)
    with pytest.raises(InputError, match="GB free"):
        store.check_space(tmp_path / "new" / "s", 10**18)


def test_hash_of_a_png_folder_depends_on_its_frames(tmp_path):
    (tmp_path / "0.png").write_bytes(b"one")
    before = store.file_sha256(tmp_path)
    (tmp_path / "0.png").write_bytes(b"two")
    assert store.file_sha256(tmp_path) != before
    assert store.file_bytes(tmp_path) == 3


def test_recipe_is_plain_json(tmp_path):
    with StoreWriter(tmp_path / "s", {**recipe("a"), "polygon": ((1.0, 2.0),)}, (4, 4)) as writer:
        add_source(writer, "a", [1])
        writer.close()
    assert json.loads((tmp_path / "s" / "recipe.json").read_text())["polygon"] == [[1.0, 2.0]]
