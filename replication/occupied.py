"""One command at a time in an output folder: a second one is told who is at work there."""

import contextlib
import datetime
import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from preprocessing.errors import InputError
from preprocessing.store import write_text

LOCK, HOLDER = ".occupied.lock", ".occupied.json"


@contextlib.contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Keep an output folder to this process while the block runs.

    The lock is the operating system's and ends with the process, however that ends.

    Args:
        out: made if it is not there.

    Raises:
        InputError: another process works in the folder; names it.
    """
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise InputError(
            f"{out}: {_holder(out)} works in this folder; wait for it, or choose another --out"
        ) from error
    try:
        write_text(out / HOLDER, json.dumps(_ourselves()))
        yield
    finally:
        (out / HOLDER).unlink(missing_ok=True)
        lock.release()


def _ourselves() -> dict:
    return {
        "process": os.getpid(),
        "computer": platform.node(),
        "command": " ".join(Path(a).name if i == 0 else a for i, a in enumerate(sys.argv)),
        "since": datetime.datetime.now().astimezone().isoformat(" ", "seconds"),
    }


def _holder(out: Path) -> str:
    try:
        who = json.loads((out / HOLDER).read_text(encoding="utf-8"))
        return (
            f"process {who['process']} on {who['computer']} ({who['command']}), "
            f"since {who['since']},"
        )
    except (OSError, ValueError, KeyError):  # it has the lock and has not written yet
        return "another process"
