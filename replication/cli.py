"""How every command ends: one clear line and a status that scripts can read."""

import errno
import sys
from collections.abc import Callable

from preprocessing.errors import InputError

BAD_INPUT, INTERRUPTED = 2, 130


def run_command(command: Callable[[], None]) -> None:
    """Run a command's body and exit with its status.

    Exits 0 when it returns, 2 with one line on stderr for input that cannot be used or a full
    disk, 130 for Ctrl-C. Anything else is a bug and keeps its stack trace.
    """
    try:
        command()
    except InputError as error:
        _leave(BAD_INPUT, f"error: {error}")
    except KeyboardInterrupt:
        _leave(INTERRUPTED, "interrupted: run the same command again to carry on")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG):
            raise
        where = error.filename or "the output folder"
        _leave(BAD_INPUT, f"error: {where}: {error.strerror}; free space or choose another --out")


def _leave(status: int, line: str) -> None:
    print(" ".join(line.split()), file=sys.stderr)
    raise SystemExit(status)
