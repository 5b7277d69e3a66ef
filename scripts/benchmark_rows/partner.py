"""Another framework in a process of its own, which works once for each line that it is sent.

Two frameworks in one process load two versions of CUDA's libraries and both reserve GPU memory.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1]
ANSWER = "partner: "  # marks the lines that are not some library's own


class Partner:
    """Start `python -m benchmark_rows.<module>`; calls send it a line and wait for the answer.

    Args:
        module: that ends in `serve`.
        arguments: of its command line.
        environment: variables set beside this process's.
    """

    def __init__(self, module: str, *arguments, environment: dict[str, str] | None = None):
        path = os.pathsep.join(filter(None, [str(SCRIPTS), os.environ.get("PYTHONPATH")]))
        with contextlib.ExitStack() as opened:  # closed again if the partner does not answer
            self._errors = opened.enter_context(tempfile.TemporaryFile("w+"))
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"benchmark_rows.{module}", *map(str, arguments)],
                env={**os.environ, **(environment or {}), "PYTHONPATH": path},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            )  # fmt: skip
            opened.callback(self._end)
            self.described = self._answer()
            self._opened = opened.pop_all()

    def __call__(self, line: str = "") -> str:
        """Have the work done.

        Raises:
            RuntimeError: the process ended; its last words are the message's.
        """
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except OSError as error:  # a broken pipe: it ended after its last answer
            raise self._last_words() from error
        return self._answer()

    def _answer(self) -> str:
        for line in self._process.stdout:
            if line.startswith(ANSWER):
                return line.removeprefix(ANSWER).strip()
        raise self._last_words()

    def _last_words(self) -> RuntimeError:
        status = self._process.wait()
        self._errors.seek(0)
        return RuntimeError(f"the partner ended with {status}:\n{self._errors.read()[-2000:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._opened.close()

    def _end(self) -> None:
        with contextlib.suppress(OSError):  # what it was sent and never read
            self._process.stdin.close()  # ends `serve`
        self._process.stdout.close()
        self._process.wait()


def serve(described: str, work: Callable[[str], str | None]) -> None:
    """Do `work` for each line of standard input, in the other process.

    Args:
        described: what the process works with, such as the framework's version and the device.
        work: takes the line; what it returns is the answer.
    """
    print(ANSWER + described, flush=True)
    for line in sys.stdin:
        print(f"{ANSWER}{work(line.strip()) or 'done'}", flush=True)
