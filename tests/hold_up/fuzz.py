"""Readers under damaged files: `python tests/hold_up/fuzz.py READER [--first 0] [--count 2000]`.

Each case damages one sound file, chosen and damaged by the case's number, and reads it. It has to
end in a result or in one InputError of one line. Cases run in a process of their own, so that a
crash, a hang or memory without bound in a decoder is seen, and which case it was.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CPU_SECONDS = 20  # of one case; a sound file takes a few hundredths
WALL_SECONDS = 300  # without any case ending: waiting for nothing
MEMORY = 2**30  # bytes that a case may take beyond what the libraries have
ADDRESS_SPACE = 6 * 2**30  # bytes beyond theirs that the system refuses
MOST_FAILURES = 20  # of a reader; a broken one would take 20 s for each case
RESULT, REFUSED = "result", "refused"


@dataclass
class Outcome:
    """What became of a reader's cases; `failures` are (case, what happened)."""

    reader: str
    counts: Counter = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.reader}: {self.counts.total() + len(self.failures)} cases, "
            f"{self.counts[RESULT]} results, {self.counts[REFUSED]} refused, "
            f"{len(self.failures)} failures"
        )


def run_case(reader: str, targets: Sequence, case: int) -> str:
    """Damage a file by its case number, read it, and put it right again.

    Returns:
        "result", "refused", or what else happened.
    """
    from mutations import mutate

    rng = random.Random(f"{reader} {case}")
    target = targets[case % len(targets)]
    sound = target.path.read_bytes()
    others = [rng.choice(targets).path.read_bytes() for _ in range(2)]
    target.path.write_bytes(mutate(rng, sound, target.kind, others))
    try:
        return _read(target)
    finally:
        target.path.write_bytes(sound)


def _read(target) -> str:
    from preprocessing.errors import InputError

    try:
        target.read()
    except InputError as error:
        message = str(error)
        if len(message.splitlines()) != 1:
            return f"an error of several lines: {message!r:.300}"
        if "planted" in message.lower():
            return f"an error that names a patient: {message}"
        return REFUSED if len(message) < 2000 else f"a long error: {message:.300}"
    except (Exception, SystemExit) as error:
        place = traceback.extract_tb(error.__traceback__)
        ours = [f"{Path(p.filename).name}:{p.lineno}" for p in place if "/.venv/" not in p.filename]
        what = " ".join(str(error).split())
        return f"{target.path.name}: {type(error).__name__}: {what:.150} ({' '.join(ours[-4:])})"
    return RESULT


@contextlib.contextmanager
def sound_targets(reader: str, data: Path | None = None) -> Iterator[Sequence]:
    """A reader's sound files in a folder of their own, read once; of `data` where that is given."""
    from readers import READERS

    with tempfile.TemporaryDirectory(prefix=f"fuzz-{reader}-") as folder:
        if data is None:
            targets = READERS[reader](Path(folder))
        else:
            from real_files import READERS as REAL

            targets = REAL[reader](Path(folder), data)
        for target in targets:
            target.read()
        yield targets


def fuzz(reader: str, first: int, count: int, data: Path | None = None) -> Outcome:
    """Run cases in processes with bounds: one after the other, a new one after each crash.

    A reader that has failed too often is left at that.
    """
    outcome, at, end = Outcome(reader), first, first + count
    while at < end and len(outcome.failures) < MOST_FAILURES:
        at = _watch_worker(outcome, at, end, data)
    return outcome


def _watch_worker(outcome: Outcome, at: int, end: int, data: Path | None) -> int:
    """Cases of one worker; the case after the last that it began."""
    command = [sys.executable, __file__, outcome.reader, "--first", str(at),
               "--count", str(end - at), "--worker"]  # fmt: skip
    command += ["--data", str(data)] if data else []
    with tempfile.TemporaryDirectory() as scratch:
        log, noise = Path(scratch, "log"), Path(scratch, "noise")
        with log.open("wb") as out, noise.open("wb") as err:
            worker = subprocess.Popen(
                command, stdout=out, stderr=err, cwd=ROOT, env={**os.environ, "TMPDIR": scratch}
            )
            _wait(worker, log)
        lines = log.read_text().splitlines()
        said = noise.read_text(errors="replace")
    began = None
    for word, _, what in (line.partition(" ") for line in lines):
        if word == "begin":
            began = int(what)
            at = began + 1
            continue
        began = None
        if what in (RESULT, REFUSED):
            outcome.counts[what] += 1
        else:
            outcome.failures.append((int(word), what))
    if began is not None:
        status = -worker.returncode
        name = signal.Signals(status).name if status > 0 else f"exit {worker.returncode}"
        why = {"SIGPROF": f" (more than {CPU_SECONDS} s)", "SIGKILL": " (hangs)"}.get(name, "")
        outcome.failures.append((began, f"the process ended by {name}{why}: {said[-300:]!r}"))
    elif worker.returncode or at < end:
        raise RuntimeError(f"{outcome.reader}: the worker left at case {at}: {said[-2000:]}")
    return at


def _wait(worker: subprocess.Popen, log: Path) -> None:
    """Until a worker ends; it is killed when its log has not grown for long."""
    size, since = -1, time.monotonic()
    while worker.poll() is None:
        time.sleep(0.05)
        now = log.stat().st_size
        if now != size:
            size, since = now, time.monotonic()
        elif time.monotonic() - since > WALL_SECONDS:
            worker.kill()
            worker.wait()


def work(reader: str, first: int, count: int, data: Path | None) -> None:
    """What a worker does: each case said before and after, within bounds."""
    import resource

    from replication.cli import QUIET

    os.environ.update(QUIET)
    with sound_targets(reader, data) as targets:
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (memory("VmSize") + ADDRESS_SPACE, most))
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        for case in range(first, first + count):
            print("begin", case, flush=True)
            before = start_peak()
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            what = run_case(reader, targets, case)
            signal.setitimer(signal.ITIMER_PROF, 0)
            taken = memory("VmHWM") - before
            if taken > MEMORY:
                what = f"{taken / 2**30:.1f} GiB of memory; {what}"
            print(case, what, flush=True)


def memory(name: str) -> int:
    """A field of /proc/self/status in bytes; 0 where there is no such file."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return int(status.partition(f"{name}:")[2].split(maxsplit=1)[0]) * 1024


def start_peak() -> int:
    """Let VmHWM, the most memory held, begin anew; bytes held now."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def main() -> None:
    """Fuzz one reader and print the counts; exits 1 where anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("reader")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--worker", action="store_true")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if options.worker:
        return work(options.reader, options.first, options.count, options.data)
    outcome = fuzz(options.reader, options.first, options.count, options.data)
    for case, what in outcome.failures:
        print(f"{outcome.reader} case {case}: {what}")
    print(outcome)
    raise SystemExit(bool(outcome.failures))


if __name__ == "__main__":
    main()
