"""How every command ends: one clear line and a status that scripts can read."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

from preprocessing.errors import InputError

BAD_INPUT, INTERRUPTED, CLOSED_PIPE = 2, 130, 141
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# Decoders and TensorFlow write notes to stderr, where the one line has to stand out.
QUIET = {"OPENCV_LOG_LEVEL": "SILENT", "OPENCV_FFMPEG_LOGLEVEL": "-8", "TF_CPP_MIN_LOG_LEVEL": "3"}


def run_command(command: Callable[[], None]) -> None:
    """Run a command's body and exit with its status.

    Exits 0 when it returns, 2 with one line on stderr for input that cannot be used, for a file
    that cannot be read or written and for a full disk, 130 for Ctrl-C, 141 where nobody reads its
    output any more, as behind `| head`. Anything else is a bug and keeps its stack trace. Libraries
    that the body imports are told to be quiet.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        try:
            command()
        finally:
            sys.stdout.flush()  # where a closed pipe may only show
    except InputError as error:
        _leave(BAD_INPUT, f"error: {error}")
    except KeyboardInterrupt:
        _leave(INTERRUPTED, "interrupted: run the same command again to carry on")
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _is_closed(sys.stdout):
            raise SystemExit(CLOSED_PIPE) from None
        if error.errno in DISK_FULL:
            where = error.filename or "the output folder"
            _leave(
                BAD_INPUT, f"error: {where}: {error.strerror}; free space or choose another --out"
            )
        if error.filename is None:
            raise
        _leave(
            BAD_INPUT, f"error: {error.filename}: {error.strerror}; check the path and its rights"
        )


def _is_closed(output: TextIO) -> bool:
    """Whether nobody reads an output any more; what is left of it then goes nowhere, quietly."""
    try:
        output.write("\n")
        output.flush()
    except BrokenPipeError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, output.fileno())  # else Python complains once more as it ends
        os.close(nothing)
        return True
    return False


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Keep a library's start-up notes off the terminal while it is imported.

    TensorFlow writes some to the process's stderr before its log level counts. Exceptions are
    raised as ever; only what is written to stderr meanwhile is lost.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def _leave(status: int, line: str) -> None:
    one_line = " ".join(line.split())
    # A file's name may hold what moves a terminal's cursor or turns its text around.
    print("".join(c if c.isprintable() else repr(c)[1:-1] for c in one_line), file=sys.stderr)
    raise SystemExit(status)
