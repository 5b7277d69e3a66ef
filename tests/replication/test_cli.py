import errno
import os

import pytest

from preprocessing.errors import InputError
from replication.cli import quiet_start, run_command


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
    ],
)
def test_expected_ends_are_one_line_and_a_status(capfd, error, status, line):
    with pytest.raises(SystemExit) as leaving:
        run_command(raising(error))
    printed = capfd.readouterr().err
    assert leaving.value.code == status
    assert line in printed and printed.count("\n") == 1


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
