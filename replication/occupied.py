"""One command at a time in an output folder: a second one is told who is at work there."""

import contextlib
import datetime
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from preprocessing.errors import InputError
from preprocessing.store import write_text

LOCK, HOLDER = ".occupied.lock", ".occupied.json"
RUN_LOCK = ".lock"
WAIT_SECONDS = 0.5


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


@contextlib.contextmanager
def in_turn(
    folder: Path, say: Callable[[str], None] = print, lock_file: Path | None = None
) -> Iterator[None]:
    """Keep a run folder to this process while the block runs; wait while another one has it.

    Two processes have the same run to do where a cluster takes a worker for lost that lives, and
    while a process has not noticed yet that the command that started it was killed. The second to
    come then goes on where the first ended.

    Args:
        folder: of the run; its lock is gone from it afterwards.
        say: told that this process waits.
        lock_file: the lock, if it shall not lie in the folder; gone afterwards too.
    """
    lock_file = lock_file or folder / RUN_LOCK
    lock = FileLock(lock_file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        say(f"{folder}: another process has it in hand, waiting for it")
        lock.acquire(poll_interval=WAIT_SECONDS)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows keeps a file that is open
            lock_file.unlink()
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
