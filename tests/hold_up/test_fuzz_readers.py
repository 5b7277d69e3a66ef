"""Damaged files: every reader ends in a result or in one clear error, within bounds.

The slow part is what `python tests/hold_up/fuzz.py READER` does, a reader at a time: 2,000 cases in
15 to 60 s.
"""

import importlib.util
import sys

import fuzz
import pytest
import readers

CASES, MANY_CASES = 60, 2000

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is an optional extra"
)
every_reader = pytest.mark.parametrize(
    "reader",
    [pytest.param(name, marks=[needs_torch] * (name == "torch")) for name in readers.READERS],
)


@every_reader
def test_damaged_files_end_in_a_result_or_one_error(reader, capfd):
    with fuzz.sound_targets(reader) as targets:
        found = {case: fuzz.run_case(reader, targets, case) for case in range(CASES)}
    failures = {k: v for k, v in found.items() if v not in (fuzz.RESULT, fuzz.REFUSED)}
    assert not failures
    assert set(found.values()) == {fuzz.RESULT, fuzz.REFUSED}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits and what they measure are Linux's")
@every_reader
def test_thousands_of_damaged_files_crash_nothing_and_hang_nowhere(reader):
    outcome = fuzz.fuzz(reader, 0, MANY_CASES)
    assert not outcome.failures, "\n".join(f"case {k}: {what}" for k, what in outcome.failures)
    assert outcome.counts.total() == MANY_CASES
    print(outcome)
