"""The command that converts weight files, as a process."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]


def convert(*arguments):
    command = [sys.executable, "scripts/convert_weights.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_tensors_are_written_and_wrong_input_is_one_line(tmp_path):
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    save_file({"flow.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}, source)
    done = convert(source, target)
    assert (done.returncode, done.stdout) == (0, f"written: {target}\n"), done.stderr
    assert load_file(target)["flow.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    failed = convert(tmp_path / "none.pth", tmp_path / "other.safetensors")
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: ") and failed.stderr.count("\n") == 1
    assert "no such file" in failed.stderr
    assert {path.name for path in tmp_path.iterdir()} == {source.name, target.name}


def test_pytorch_files_are_converted(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"a.bias": torch.ones(3)}, tmp_path / "net.pth")
    done = convert(tmp_path / "net.pth", tmp_path / "net.safetensors")
    assert done.returncode == 0, done.stderr
    assert load_file(tmp_path / "net.safetensors")["a.bias"].tolist() == [1, 1, 1]
