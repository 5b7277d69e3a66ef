import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from preprocessing.errors import InputError
from replication.cli import quiet_start, run_command

ROOT = Path(__file__).resolve().parents[2]


def raising(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("labels.csv: is\nempty"), 2, "error: labels.csv: is empty"),
        (KeyboardInterrupt(), 130, "interrupted: run the same command again to carry on"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "free space or choose another --out"),
        (
            NotADirectoryError(errno.ENOTDIR, "Not a directory", "out/x"),
            2,
            "out/x: Not a directory",
        ),
        (InputError("a\x1b[2J\u202eb\udcff.mp4: \té"), 2, r"error: a\x1b[2J\u202eb\udcff.mp4: é"),
    ],
)
def test_expected_ends_are_one_line_and_a_status(capfd, error, status, line):
    with pytest.raises(SystemExit) as leaving:
        run_command(raising(error))
    printed = capfd.readouterr().err
    assert leaving.value.code == status
    assert line in printed and printed.count("\n") == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("print('line\\n' * 100_000)", 141),
        ("print('line\\n' * 100_000); raise SystemExit(1)", 141),
        ("print('line'); raise SystemExit(1)", 141),  # shows when the last of it is written
    ],
)
def test_a_closed_pipe_is_a_quiet_end(body, status):
    code = f"from replication.cli import run_command\ndef body():\n    {body}\nrun_command(body)"
    running = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    running.stdout.close()  # as `head` does when it has its lines
    errors = running.stderr.read().decode()
    running.stderr.close()
    assert (running.wait(60), errors) == (status, "")


@pytest.mark.parametrize("bug", [ZeroDivisionError("a bug"), OSError(errno.EPIPE, "no file named")])
def test_bugs_keep_their_stack_trace(bug):
    with pytest.raises(type(bug)):
        run_command(raising(bug))


def test_start_up_notes_are_hidden_and_errors_are_not(capfd):
    with quiet_start():
        os.write(2, b"start-up note\n")
    with pytest.raises(ImportError), quiet_start():
        raise ImportError("missing")
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "later\n"
