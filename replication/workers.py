"""Independent work in several processes of this machine, or on a Dask cluster; results in order.

Processes are joblib's (loky), a cluster is Dask's own; both take work as executors of Python's
`concurrent.futures`. Neither goes through `joblib.Parallel`, which keeps every result that is not
asked for yet, and which with Dask waits for ever where a task ended its worker four times and takes
a cancelled task for a result (joblib 1.6; tests/hold_up/test_scale.py has the first).
"""

import contextlib
import importlib
import logging
import os
import platform
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import CancelledError, Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

from joblib import cpu_count
from joblib.externals.loky import BrokenProcessPool, ProcessPoolExecutor
from tqdm import tqdm

from preprocessing.errors import InputError
from preprocessing.store import SourceSamples, StoreWriter
from replication.cli import quiet_start

AHEAD = 3  # sources for each reader that are read, or being read, before the store takes them
CONNECT_SECONDS = 20
LOOK_SECONDS = 0.5  # between two looks whether the parent is still there


def do_all(
    work: Callable[..., None],
    tasks: Sequence[tuple],
    say: Callable[[str], None],
    jobs: int = 1,
    cluster: str | None = None,
) -> None:
    """Call `work(*task, say)` for each task.

    Args:
        work: a function that other processes can import, perhaps with `functools.partial`.
        tasks: what can be pickled.
        say: receives its lines; in other processes `say_aloud` does.
        jobs: how many at once, in processes of their own; 1 is this process.
        cluster: address of a Dask scheduler, `tcp://host:port`, in the place of `jobs`.

    Raises:
        InputError: of the first task in order that has one; the rest is given up.
    """
    jobs = min(jobs, len(tasks))
    if jobs <= 1 and cluster is None:
        for task in tasks:
            work(*task, say)
    elif tasks:
        for _ in _results(partial(_call, work), tasks, jobs, cluster, loads=_module_of(work)):
            pass


def read_ahead(
    read: Callable[[Any], Any], sources: Iterable, jobs: int = 1, cluster: str | None = None
) -> Iterator:
    """`read(source)` of each source in their order, a few sources ahead of who asks.

    At most `AHEAD` results for each process are in memory, however many sources there are. An error
    is raised at its source's turn, when those before it have been handed out. See `do_all`.
    """
    if isinstance(sources, Sized):
        jobs = min(jobs, len(sources))
    if jobs <= 1 and cluster is None:
        yield from map(read, sources)
    else:
        yield from _results(read, sources, jobs, cluster, AHEAD, _module_of(read))


def write_sources(
    writer: StoreWriter,
    write: Callable[[Any, StoreWriter | SourceSamples], dict],
    sources: Sequence,
    bar: str,
    jobs: int = 1,
    cluster: str | None = None,
) -> None:
    """Add sources to a store, in their order whoever reads them, so that its bytes are the same.

    Args:
        write: adds the samples of a source to what it is given, and returns its summary; see
            `do_all` for what other processes can call.
        bar: title of the progress bar.
    """
    shown = tqdm(sources, bar, unit="video", disable=None)
    if jobs == 1 and cluster is None:
        for source in shown:  # sample by sample, never a whole source in memory
            writer.finish_source(write(source, writer))
        return
    gather = partial(_gather, write, writer.folder, writer.shape, writer.dtype)
    with contextlib.closing(read_ahead(gather, sources, jobs, cluster)) as read:
        for _, (samples, summary) in zip(shown, read, strict=True):
            for sample, row in zip(samples.samples, samples.rows, strict=True):
                writer.add(sample, row)
            writer.finish_source(summary)


def say_aloud(line: str) -> None:
    """Print a line where the command runs, from whatever process does its work."""
    distributed = sys.modules.get("distributed")
    (distributed.print if distributed else print)(line, flush=True)


def _call(work: Callable[..., None], task: tuple) -> None:
    work(*task, say_aloud)


def _gather(write, folder: Path, shape, dtype, source) -> tuple[SourceSamples, dict]:
    samples = SourceSamples(folder, shape, dtype)
    return samples, write(source, samples)


def _module_of(work: Callable) -> str:
    while isinstance(work, partial):
        work = work.func
    return work.__module__


def _results(
    work: Callable[[Any], Any],
    tasks: Iterable,
    jobs: int,
    cluster: str | None,
    ahead: int | None = None,
    loads: str = "",
) -> Iterator:
    """What `work` returns for each task in their order, `ahead` of them begun for each process."""
    if cluster:
        work, executors = partial(_work_in, Path.cwd(), work), _on_cluster(cluster)
    else:
        executors = _in_processes(jobs, loads)
    with executors as (executor, processes):
        begun: deque[Future] = deque()
        for task in tasks:
            begun.append(executor.submit(work, task))
            if ahead and len(begun) >= ahead * processes:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


# ---- processes of this machine ----------------------------------------------------------------


@contextlib.contextmanager
def _in_processes(jobs: int, loads: str) -> Iterator[tuple[Executor, int]]:
    """An executor, and how many processes it has.

    Raises:
        InputError: a process ended before its work.
    """
    # loky ends a process that has grown by 300 MB and starts another, as it should.
    warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
    pool = ProcessPoolExecutor(
        jobs, initializer=_begin, initargs=(os.getpid(), loads), env=environment_of_one(jobs)
    )
    try:
        yield pool, jobs
    except BrokenProcessPool as error:
        raise InputError(
            "a process ended in the middle of its work, as when memory runs out; run the same "
            "command again to carry on, perhaps with fewer --jobs"
        ) from error
    except BaseException:  # whoever asked has given up
        # Not its `kill_workers`, whose thread may end in a KeyError of its own where work waits.
        for process in list(pool._processes.values()):
            process.terminate()
        raise
    finally:
        pool.shutdown()


def environment_of_one(jobs: int) -> dict[str, str]:
    """Environment of a process that shares the cores with others: its threads, and no bars.

    Libraries read it when they start; a started one cannot be changed. What the user has set stays.
    """
    threads = str(max(cpu_count() // jobs, 1))
    names = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
             "OPENCV_FOR_THREADS_NUM")  # fmt: skip
    ours = dict.fromkeys(names, threads) | {
        "TF_NUM_INTEROP_THREADS": "1", "TF_FORCE_GPU_ALLOW_GROWTH": "true", "TQDM_DISABLE": "1"
    }  # fmt: skip
    return {name: os.environ.get(name, value) for name, value in ours.items()}


def _begin(parent: int, loads: str) -> None:
    """What a new process does first; `loads` is the module of its work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    if os.name != "nt":  # Windows tells nobody that its parent is gone
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with quiet_start(), contextlib.suppress(ImportError):  # whose work fails, and says so
        importlib.import_module(loads)


def _end_with(parent: int) -> None:
    """End this process soon after its parent, which `kill -9` gives no time to say so.

    It would train on, and write into run folders that the next command takes up.
    """
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(1)


# ---- a Dask cluster ---------------------------------------------------------------------------


@contextlib.contextmanager
def _on_cluster(address: str) -> Iterator[tuple[Executor, int]]:
    """An executor, and how many processes the cluster has for it.

    Raises:
        InputError: Dask is not installed, the cluster is not there or not fit for us, or it lost
            the scheduler or too many workers.
    """
    try:
        from distributed import Client
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise InputError(
            "--cluster needs Dask, which is not installed: pip install -c constraints.txt "
            "'.[cluster]'"
        ) from error
    # A lost connection is one line of ours, not a page of its log.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"--cluster {address}: no Dask scheduler answers there ({error}); start one with "
            "`dask scheduler`, and name the address that it prints"
        ) from error
    with client:
        executor = client.get_executor(pure=False)
        try:
            yield executor, _count_workers(client, address)
        except KilledWorker as error:
            problem = f"a task ended {error.allowed_failures + 1} worker(s), as when memory runs "
            problem += "out; look into their logs, then"
        except CancelledError:
            problem = "the scheduler is gone; start it and its workers, then"
        except ImportError as error:
            problem = f"a worker cannot import this project ({error}); install the same commit on "
            problem += "every machine, then"
        else:
            return
        finally:
            executor.shutdown(wait=False)
    raise InputError(f"--cluster {address}: {problem} run the same command again to carry on")


def _count_workers(client, address: str) -> int:
    """How many workers there are, each of one thread.

    Raises:
        InputError: there is none, or one of several threads: Keras' seeds and precision are a
            process's, not a thread's.
        CancelledError: the scheduler is gone.
    """
    try:
        with contextlib.suppress(TimeoutError):
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        threads = client.nthreads()
    except OSError as error:  # the connection is gone
        raise CancelledError from error
    if not threads or max(threads.values()) > 1:
        found = f"a worker of {max(threads.values())} threads" if threads else "no worker"
        raise InputError(
            f"--cluster {address}: has {found}; start workers of one thread each with "
            f"`dask worker {address} --nworkers N --nthreads 1`"
        )
    return len(threads)


def _work_in(folder: Path, work: Callable[[Any], Any], task: Any) -> Any:
    """Work in the folder of the command, so that relative paths mean what they mean there."""
    if not folder.is_dir():
        raise InputError(
            f"--cluster: {platform.node()} has no folder {folder}; the machines of a cluster need "
            "data, output and working folder under the same paths"
        )
    with contextlib.chdir(folder):
        return work(task)
