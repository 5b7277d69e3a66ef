"""Where the time of a study goes, stage by stage: `python scripts/where_time_goes.py`.

Runs the studies of `scripts/replicate.py` on phantoms, each in a process of its own, and prints the
table "Where the time goes" of docs/cpu_settings.md:

    python scripts/where_time_goes.py                                # all four
    python scripts/where_time_goes.py --study vbreathnet --size smoke
    python scripts/where_time_goes.py --study kolarik2023 cnr_iemn --size paper   # an epoch of each

Functions that mark a stage are replaced by copies that stop the time; time belongs to the innermost
stage alone, so that the shares add up to the whole. It is the time that the cores were at work, of
the process and its children, since a machine that others use as well would stretch the hours on the
wall. Work is done in one process (`--jobs 1`). Linux only.
"""

import contextlib
import dataclasses
import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from preprocessing.errors import InputError
from replication.cli import quiet_start, run_command

Study = Literal["kolarik2023", "vbreathnet", "cnr_iemn", "dzhulai2024"]
STUDIES: tuple[Study, ...] = ("kolarik2023", "vbreathnet", "cnr_iemn", "dzhulai2024")
OURS = ("preprocessing", "replication", "lungsliding_tf", "vbreathnet", "cnr_iemn", "report")
PACKAGES = {
    "kolarik2023": "lungsliding_tf.kolarik2023",
    "dzhulai2024": "lungsliding_tf.dzhulai2024",
    "vbreathnet": "vbreathnet",
    "cnr_iemn": "cnr_iemn",
}
# Stage -> functions that make it, as module:name; what a study lacks is passed over.
STAGES = {
    "phantoms": (
        "lungsliding_tf.phantom:write_dataset", "lungsliding_tf.frame_folders:write_frame_folders",
        "vbreathnet.phantom:write_cohort", "cnr_iemn.phantom:write_cohort",
    ),
    "prepare": (
        "lungsliding_tf.kolarik2023.data:prepare_all",
        "lungsliding_tf.dzhulai2024.data:prepare_all", "vbreathnet.data:prepare",
        "vbreathnet.quality:report_quality", "vbreathnet.split:split_samples",
        "cnr_iemn.data:prepare_all", "cnr_iemn.segmentation:report_segmentation",
    ),
    "build": (
        "replication.run:_compile", "replication.environment:float32_copy",
        "lungsliding_tf.kolarik2023.resnet3d:build_resnet3d", "vbreathnet.model:build_vbreathnet",
        "replication.fused:with_fused_batch_norm", "cnr_iemn.train:_initial_network",
        "lungsliding_tf.dzhulai2024.networks:build_network",
    ),
    "files": (
        "replication.run:_save_state", "replication.run:_load_state",
        "replication.run:save_model", "replication.run:load_model",
    ),
    "trace": (
        "tensorflow.python.eager.polymorphic_function.tracing_compilation:_create_concrete_function",
    ),
    "train": ("keras.src.backend.tensorflow.trainer:TensorFlowTrainer.fit",),
    "predict": ("keras.src.backend.tensorflow.trainer:TensorFlowTrainer.predict",),
    "explain": (
        "replication.heatmaps:vanilla_saliency", "replication.heatmaps:smoothgrad",
        "replication.heatmaps:gradcam", "replication.heatmaps:hirescam",
        "cnr_iemn.explain:explain_run", "vbreathnet.lowpower:export_and_measure",
    ),
    "floors": (
        "lungsliding_tf.floors:auroc_floors", "vbreathnet.evaluate:_floors",
        "cnr_iemn.evaluate:ask_floors",
    ),
    "intervals": (
        "replication.metrics:metrics_with_intervals", "replication.metrics:auroc_above",
        "replication.metrics:metric_above",
        "replication.multiclass:class_metrics_with_intervals",
        "replication.multiclass:accuracy_above", "replication.multiclass:accuracy_gap",
        "vbreathnet.claims:judge_claims", "replication.verdict:judge_runs",
    ),
    "second stage": ("cnr_iemn.diagnose:diagnose_patients",),
    "pictures": (
        "replication.figures:save_figure", "replication.figures:save_curves",
        "replication.figures:save_confusion", "replication.overlays:save_contact_sheet",
        "replication.overlays:save_overlays", "replication.overlays:save_layer_comparison",
        "lungsliding_tf.kolarik2023.pictures:save_mmode_picture",
        "lungsliding_tf.dzhulai2024.pictures:save_run", "cnr_iemn.explain:save_heatmap_sheets",
    ),
    "report": ("report:make_report",),
}  # fmt: skip
COLUMNS = ("start", *STAGES, "rest")
# Of the size `paper` a few patients, one network and one epoch; all else is as published.
EXCERPTS = {
    "kolarik2023": ({"present": 5, "absent": 5},
                    {"cell": ("2_30x30",), "depth": (18,), "epochs": 1}),
    "cnr_iemn": ({"covid": 4, "cap": 4, "normal": 4},
                 {"scenario": ("segmented",), "network": ("resnext50_32x4d",),
                  "weights": "random", "plain_epochs": 1}),
}  # fmt: skip


@dataclass(frozen=True)
class Arguments:
    """What to run."""

    study: tuple[Study, ...] = STUDIES
    """Which studies."""
    size: Literal["smoke", "classroom", "paper"] = "classroom"
    """As in scripts/replicate.py; of paper an excerpt, for kolarik2023 and cnr_iemn."""
    out: Path | None = None
    """Folder for what is made, which is kept; a temporary one if not given."""


def core_seconds() -> float:
    """Seconds that cores have worked for this process and its children, ended and running."""
    ended_too = sum(os.times()[:4])
    tasks = Path("/proc/self/task").glob("*/children")
    pids = " ".join(task.read_text() for task in tasks).split()
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # it has just ended
            numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(numbers[11]) + int(numbers[12])
    return ended_too + ticks / os.sysconf("SC_CLK_TCK")


class Clock:
    """Core-seconds of each stage; of nested ones the innermost runs."""

    def __init__(self):
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._running = ["rest"]
        self._since = core_seconds()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what is done inside."""
        self._turn()
        self._running.append(name)
        self.calls[name] += 1
        try:
            yield
        finally:
            self._turn()
            self._running.pop()

    def _turn(self) -> None:
        now = core_seconds()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now

    def timed(self, name: str, function: Callable) -> Callable:
        """A function that stops the time of its calls."""

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with self.stage(name):
                return function(*args, **kwargs)

        return wrapped


def watch(clock: Clock) -> None:
    """Time the functions of `STAGES`, in whatever module of ours has taken their names."""
    for stage, functions in STAGES.items():
        for place in functions:
            module, _, name = place.partition(":")
            if module not in sys.modules:
                continue
            *parents, last = name.split(".")
            owner = functools.reduce(getattr, parents, sys.modules[module])
            original = getattr(owner, last, None)
            if original is None:
                continue
            timed = clock.timed(stage, original)
            setattr(owner, last, timed)
            for user in list(sys.modules.values()):
                named = getattr(user, "__name__", "").partition(".")[0]
                if named in OURS and vars(user).get(last) is original:
                    setattr(user, last, timed)


def measure(study: Study, size: str, out: str) -> None:
    """Run a study and print its core-seconds as JSON, in a process that has done nothing yet."""
    sys.path.insert(0, str(Path(__file__).parent))
    clock = Clock()
    with clock.stage("start"), quiet_start():
        for module in ("train", "data", "phantom", "pictures"):
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(f"{PACKAGES[study]}.{module}")
        for module in ("lungsliding_tf.phantom", "lungsliding_tf.frame_folders", "report"):
            importlib.import_module(module)
        import replicate
    if size == "paper":
        take_excerpt(study)
    watch(clock)
    arguments = replicate.Arguments(out=Path(out), size=size, jobs=1)
    getattr(replicate, f"replicate_{study}")(arguments)
    sys.modules["report"].make_report((Path(out) / size,))
    clock._turn()
    print(json.dumps([clock.seconds, clock.calls]))


def take_excerpt(study: Study) -> None:
    """Cut the paper's size of a study down to `EXCERPTS`."""
    sizes = importlib.import_module(f"{PACKAGES[study]}.sizes").SIZES
    phantoms, settings = EXCERPTS[study]
    if study == "cnr_iemn":
        sizes["paper"] = dataclasses.replace(
            sizes["paper"], phantoms=phantoms, settings=settings, tests=()
        )
    else:
        cohort = dataclasses.replace(sizes["paper"].phantoms, **phantoms)
        sizes["paper"] = dataclasses.replace(sizes["paper"], phantoms=cohort, settings=settings)


def format_table(found: dict[str, dict[str, float]]) -> str:
    """A row for each stage, a column for each study: core-seconds and share."""
    lines = [f"| stage | {' | '.join(found)} |", "|---|" + "---|" * len(found)]
    for stage in COLUMNS:
        cells = []
        for seconds in found.values():
            spent, whole = seconds.get(stage, 0.0), sum(seconds.values())
            cells.append(f"{spent:.1f} s, {100 * spent / whole:.0f} %" if spent >= 0.05 else "-")
        lines.append(f"| {stage} | {' | '.join(cells)} |")
    wholes = [f"{sum(seconds.values()):.0f} s" for seconds in found.values()]
    return "\n".join([*lines, f"| whole | {' | '.join(wholes)} |"])


def main() -> None:
    """Run the studies and print the table."""
    arguments = tyro.cli(Arguments, description=__doc__)
    found = {}
    for study in arguments.study:
        with tempfile.TemporaryDirectory() as temporary:
            code = "from where_time_goes import measure; import sys; measure(*sys.argv[1:])"
            given = [study, arguments.size, str(arguments.out or temporary)]
            done = subprocess.run(
                [sys.executable, "-c", code, *given], cwd=Path(__file__).parent, text=True,
                stdout=subprocess.PIPE,
                env={**os.environ, "TQDM_DISABLE": "1", "TF_CPP_MIN_LOG_LEVEL": "2"},
            )  # fmt: skip
        if done.returncode:
            raise InputError(f"{study}: ended with {done.returncode}, for the reason above")
        found[study], calls = json.loads(done.stdout.splitlines()[-1])
        print(format_table({study: found[study]}), f"graphs traced: {calls.get('trace', 0)}",
              sep="\n", flush=True)  # fmt: skip
    if len(found) > 1:
        print(format_table(found))


if __name__ == "__main__":
    run_command(main)
