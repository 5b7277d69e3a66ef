"""Files of tensors: read, checked, converted; states loaded into variables, all or none."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from preprocessing.errors import InputError
from replication.weight_files import convert_to_safetensors, load_entries, read_tensors


class Variable:
    """As much of a Keras variable as loading needs."""

    def __init__(self, shape):
        self.shape, self.value = shape, None

    def assign(self, value):
        self.value = value


@pytest.fixture
def entries():
    return {"conv.weight": (Variable((3, 1, 5, 4)), (2, 3, 1, 0)), "b": (Variable((2,)), (0,))}


STATE = {"conv.weight": np.arange(60.0).reshape(4, 5, 3, 1), "b": np.ones(2), "n": np.zeros(())}


def test_entries_are_loaded_in_the_order_of_the_variable(entries):
    load_entries(entries, STATE, "a net", lambda name: name == "n")
    kernel = entries["conv.weight"][0].value
    assert kernel.shape == (3, 1, 5, 4)
    assert kernel[2, 0, 4, 3] == STATE["conv.weight"][3, 4, 2, 0]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"b": None}, "^the weights lack b; expected those of a net$"),
        ({"c": 0}, "^the weights have no place in the model for c; expected those of a net$"),
        ({"c": 0, "d": 0, "e": 0, "f": 0}, "for c, d, e and 1 more;"),
        ({"b": np.ones(3)}, r"^b has shape \(3,\); the model expects \(2,\)$"),
        ({"conv.weight": np.ones((4, 5, 1, 3))}, r"shape \(4, 5, 1, 3\); .* \(4, 5, 3, 1\)$"),
    ],
)
def test_a_state_of_something_else_is_refused_whole(entries, change, match):
    state = {name: value for name, value in (STATE | change).items() if value is not None}
    with pytest.raises(InputError, match=match):
        load_entries(entries, state, "a net", lambda name: name == "n")
    assert all(variable.value is None for variable, _ in entries.values())


def test_the_digest_in_a_published_name_is_checked_before_pytorch_is_asked_for(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "torch", None)  # makes the import fail
    digest = hashlib.sha256(b"tensors").hexdigest()
    whole, damaged = (tmp_path / f"net-{d}.pth" for d in (digest[:8], "01234567"))
    for path in (whole, damaged):
        path.write_bytes(b"tensors")
    published = [whole.name, damaged.name]
    with pytest.raises(InputError, match="need the extra `torch`"):
        read_tensors(whole, published)
    with pytest.raises(InputError, match=f"starts with {digest[:8]}, its name says 01234567"):
        read_tensors(damaged, published)


def test_other_names_may_end_with_a_date_or_a_commit(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in ("resnext-20210801", "net-deadbeef", "net-01234567"):
        save_file({"a": np.ones(2)}, tmp_path / f"{name}.safetensors")
        found = read_tensors(tmp_path / f"{name}.safetensors", ["net-01234567.pth"])
        assert found["a"].tolist() == [1, 1]
    (tmp_path / "resnext-20210801.pth").write_bytes(b"tensors")
    with pytest.raises(InputError, match="need the extra `torch`"):  # not: is damaged
        read_tensors(tmp_path / "resnext-20210801.pth", ["net-01234567.pth"])


def test_without_pytorch_its_files_name_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # makes the import fail
    (tmp_path / "net.pth").write_bytes(b"\x80\x02")
    for work in (
        read_tensors,
        lambda path: convert_to_safetensors(path, tmp_path / "o.safetensors"),
    ):
        with pytest.raises(
            InputError, match=r"net.pth: .* extra `torch` \(pip install -e .\[torch\]"
        ):
            work(tmp_path / "net.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["net.pth"]


def test_conversion_needs_a_target_of_safetensors(tmp_path):
    with pytest.raises(InputError, match="ends with .safetensors"):
        convert_to_safetensors(tmp_path / "none.safetensors", tmp_path / "out.pth")
    with pytest.raises(InputError, match="no such file"):
        convert_to_safetensors(tmp_path / "none.pth", tmp_path / "out.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_conversion_leaves_nothing_and_the_old_file(tmp_path, monkeypatch):
    save_file({"a": np.ones(2, np.float32)}, tmp_path / "in.safetensors")
    (tmp_path / "out.safetensors").write_text("old")

    def interrupted(path, data):
        path.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert_to_safetensors(tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    assert (tmp_path / "out.safetensors").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


def test_conversion_keeps_names_shapes_types_and_values(tmp_path):
    torch = pytest.importorskip("torch")
    shared = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    tensors = {
        "block.0.weight": torch.nn.Parameter(shared),
        "transposed": shared.T,
        "counter": torch.tensor(7),
    }
    for zipped in (True, False):  # the files of 2021 are of the older kind
        source, target = tmp_path / "net.pth", tmp_path / "net.safetensors"
        torch.save(tensors, source, _use_new_zipfile_serialization=zipped)
        convert_to_safetensors(source, target)
        written = load_file(target)
        assert set(written) == set(tensors)
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(written[name], tensor.detach().numpy())
            assert written[name].dtype == tensor.detach().numpy().dtype
            assert written[name].shape == tuple(tensor.shape)
        assert read_tensors(source).keys() == read_tensors(target).keys()


def test_pytorch_files_of_more_than_tensors_are_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"state_dict": {}, "epoch": 3}, tmp_path / "checkpoint.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    (tmp_path / "text.pt").write_text("text")
    (tmp_path / "empty.pt").write_text("")
    for name, match in (
        ("checkpoint.pth", "expected a mapping of names to tensors"),
        ("module.pth", "no PyTorch file of tensors alone"),
        ("text.pt", "no PyTorch file of tensors alone"),
        ("empty.pt", "no PyTorch file of tensors alone"),
    ):
        with pytest.raises(InputError, match=f"{name}: .*{match}") as error:
            read_tensors(tmp_path / name)
        assert "\n" not in str(error.value)
