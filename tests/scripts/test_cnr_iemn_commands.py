"""The CNR-IEMN commands: what they refuse before any work."""

import re

import pytest


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["segment_ct.py"], "nothing to segment: name a DICOM file"),
        (["predict_cnr_iemn.py", "scan", "--run", "run", "--rise-masks", "64"],
         "--rise-masks is 64; it has to be 128 or more"),
        (["train_cnr_iemn.py", "--data", "data", "--out", "out", "--weights", "random",
          "--width", "0.3"], "--width is 0.3; it has to be a multiple of 1/16"),
    ],
)  # fmt: skip
def test_impossible_flags_are_refused_at_once(call, tmp_path, command, expected):
    script, *arguments = command
    out = tmp_path / "out"
    arguments = [out if argument == "out" else argument for argument in arguments]
    code, _, err = call(f"scripts/{script}", *arguments)
    assert code == 2
    assert expected in re.sub(r"[│\s]+", " ", err)  # tyro draws a box around it
    assert not out.exists()
