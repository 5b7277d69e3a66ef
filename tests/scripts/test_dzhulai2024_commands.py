"""The Dzhulai commands: what they refuse before any work."""

import re

import pytest

TRAIN = "scripts/train_dzhulai2024.py"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], "--flow raft-large needs --raft-weights FILE"),
        (["--flow", "raft-small", "--raft-weights", "gone.pth"], "gone.pth"),
        (["--batch-size", "1"], "--batch-size is 1; it has to be 2 or more"),
        (["--frames", "8"], "--frames is 8; it has to be more than 10"),
        (["--gamma", "0.5"], "--gamma is 0.5; it has to be 1 or more"),
        (["--size", "100"], "--size is 100; it has to be 32 or more, and divisible by 16"),
        (["--flow", "dis", "--raft", "trainable"], "--raft is trainable; it has to be frozen"),
        (["--overfit-clips", "3"], "--overfit-clips is 3; it has to be 4 or more, and even"),
    ],
)
def test_what_cannot_be_is_refused_at_once(call, tmp_path, flags, expected):
    data = tmp_path / "data"
    data.mkdir()
    (data / "sliding_metafile.json").write_text("[]")
    code, _, err = call(TRAIN, "--data", data, "--out", tmp_path / "out", *flags)
    assert code == 2
    assert expected in re.sub(r"[│\s]+", " ", err)
    assert not (tmp_path / "out").exists()
