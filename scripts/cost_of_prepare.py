"""Measure what preparing 1, 10 and 100 times the phantoms costs, in time and in memory.

    python scripts/cost_of_prepare.py            # 10 minutes; chart and table in docs
    python scripts/cost_of_prepare.py --study kolarik2023 --times 1 10   # prints alone

Each measurement is a process of its own that prepares a folder of so many copies of a few phantoms,
under other names; the readers take them for other patients. Seconds are of `prepare` alone, without
the start of Python; memory is the largest that one process took.
"""

import csv
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import tyro

from preprocessing.errors import InputError
from preprocessing.store import write_text
from replication.cli import quiet_start, run_command

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- cost_of_prepare.py begins -->", "<!-- cost_of_prepare.py ends -->"
Study = Literal["kolarik2023", "dzhulai2024", "vbreathnet", "cnr_iemn"]
UNITS = {
    "kolarik2023": "videos of 2 s",
    "dzhulai2024": "videos of 2 s, crops and flow",
    "vbreathnet": "films of 299 px",
    "cnr_iemn": "scans of 13 slices",
}


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    study: tuple[Study, ...] = tuple(UNITS)
    """Whose prepare."""
    times: tuple[int, ...] = (1, 10, 100)
    """How many copies of the phantoms."""
    docs: str = ""
    """Folder of scaling.md, whose table is renewed, and of figures/cost_of_prepare.png; "none" only
    prints the table. If not given, all studies and multiples renew docs, anything less only
    prints."""

    @property
    def folder(self) -> Path | None:
        """Where table and chart go."""
        whole = (self.study, self.times) == (Arguments.study, Arguments.times)
        docs = self.docs or (str(ROOT / "docs") if whole else "none")
        return None if docs == "none" else Path(docs)

    @property
    def command(self) -> str:
        """What to type for the same."""
        words = ["python scripts/cost_of_prepare.py"]
        words += ["--study", *self.study] if self.study != Arguments.study else []
        words += ["--times", *map(str, self.times)] if self.times != Arguments.times else []
        return " ".join(words)


@dataclass(frozen=True)
class Cost:
    """One measurement."""

    study: str
    times: int
    sources: int
    seconds: float
    megabytes: float
    stored: float


# ---- the phantoms, and copies of them -----------------------------------------------------------


def make_phantoms(study: str, folder: Path) -> Path:
    """A few phantoms in the study's own file format."""
    if study in ("kolarik2023", "dzhulai2024"):
        from lungsliding_tf.phantom import PhantomConfig, write_dataset

        return write_dataset(folder, PhantomConfig(present=2, absent=2, seconds=(2.05, 2.2)))
    if study == "vbreathnet":
        from vbreathnet.phantom import write_cohort as write_films

        return write_films(folder, per_class=4)
    from cnr_iemn.phantom import write_cohort as write_scans

    return write_scans(folder, covid=1, cap=1, normal=1, labelled_covid=1, labelled_cap=1, size=256,
                       slice_spacing=20.0)  # fmt: skip


def multiply(study: str, phantoms: Path, data: Path, times: int) -> int:
    """So many copies of each phantom under other names; how many sources that makes."""
    if study in ("kolarik2023", "dzhulai2024"):
        return _multiply_videos(phantoms, data, times)
    pattern = "*/images/*.png" if study == "vbreathnet" else "*/*/"
    sources = [path for path in sorted(phantoms.glob(pattern)) if _is_source(path)]
    for copy in range(times):
        for source in sources:
            target = data / source.relative_to(phantoms).with_name(f"c{copy:03d}-{source.name}")
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
    return len(sources) * times


def _is_source(path: Path) -> bool:
    return path.is_file() or bool(list(path.glob("*.dcm")))


def _multiply_videos(phantoms: Path, data: Path, times: int) -> int:
    (data / "videos").mkdir(parents=True)
    with (phantoms / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    copies = []
    for copy in range(times):
        for row in rows:
            source = phantoms / row["file"]
            target = data / "videos" / f"c{copy:03d}-{source.name}"
            shutil.copyfile(source, target)
            shutil.copyfile(f"{source}.roi.json", f"{target}.roi.json")
            patient = f"c{copy:03d}-{row['patient_group']}"
            file = target.relative_to(data).as_posix()
            copies.append({**row, "file": file, "patient_group": patient})
    with (data / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(copies[0]))
        writer.writeheader()
        writer.writerows(copies)
    return len(copies)


# ---- one measurement, in a process of its own ----------------------------------------------------


def measure(study: str, times: int, sources: int, data: str, out: str) -> None:
    """Prepare a folder and print the cost as JSON."""
    import resource
    import time

    prepare = _preparation(study, Path(data), Path(out))
    started = time.perf_counter()
    prepare()
    seconds = time.perf_counter() - started
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    kilobytes = max(resource.getrusage(one).ru_maxrss for one in who)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    stored = sum(path.stat().st_size for path in Path(out).glob("stores/*/samples.npy"))
    print(json.dumps(asdict(Cost(study, times, sources, seconds, kilobytes / unit, stored / 1e6))))


def _preparation(study: str, data: Path, out: Path):
    def say(line: str) -> None:
        pass

    if study == "kolarik2023":
        from lungsliding_tf.kolarik2023 import config
        from lungsliding_tf.kolarik2023 import data as stores

        settings = config.KolarikConfig(data, out, cell=("all_30x30",))
        return lambda: stores.prepare(settings, "all_30x30", say)
    if study == "dzhulai2024":
        from lungsliding_tf.dzhulai2024 import config
        from lungsliding_tf.dzhulai2024 import data as stores

        settings = config.DzhulaiConfig(data, out, crops=True, max_crops=1, flow="dis")
        return lambda: stores.prepare_all(settings, say)
    if study == "vbreathnet":
        from vbreathnet import config
        from vbreathnet import data as stores

        return lambda: stores.prepare(config.VBreathNetConfig(data, out), say)
    from cnr_iemn import config
    from cnr_iemn import data as stores

    return lambda: stores.prepare(config.CnrIemnConfig(data, out), data, "slices", say)


# ---- table and chart -----------------------------------------------------------------------------


def format_table(costs: list[Cost]) -> str:
    """The measurements as Markdown, each beside the smallest of its study."""
    lines = [
        "| study | sources | seconds | ms a source | largest process, MB | store, MB |",
        "|---|---|---|---|---|---|",
    ]
    for c in costs:
        lines.append(
            f"| {c.study} | {c.sources} {UNITS[c.study]} | {c.seconds:.1f} | "
            f"{1000 * c.seconds / c.sources:.0f} | {c.megabytes:.0f} | {c.stored:.1f} |"
        )
    return "\n".join(lines)


def save_chart(path: Path, costs: list[Cost]) -> None:
    """Time and memory over the number of sources, both axes logarithmic."""
    from replication.figures import LINE_COLOURS, LINE_MARKERS, new_figure, save_figure

    figure = new_figure(10, 4.2)
    time, memory = figure.subplots(1, 2)
    for number, study in enumerate(dict.fromkeys(c.study for c in costs)):
        own = [c for c in costs if c.study == study]
        sources = [c.sources for c in own]
        style = dict(color=LINE_COLOURS[number], marker=LINE_MARKERS[number], label=study)
        time.plot(sources, [c.seconds for c in own], **style)
        memory.plot(sources, [c.megabytes for c in own], **style)
        ends = sources[0], sources[-1]
        last = own[-1].seconds
        time.plot(ends, [last * n / ends[1] for n in ends], color=LINE_COLOURS[number], ls=":")
    time.set(title="time (dotted: in proportion)", ylabel="seconds", yscale="log")
    most = max(c.megabytes for c in costs)
    memory.set(title="largest process", ylabel="MB", ylim=(0, 1.2 * most))
    for axes in (time, memory):
        axes.set(xlabel="videos, films or scans", xscale="log")
        axes.grid(alpha=0.3)
    memory.legend()
    save_figure(figure, path)


def _document(docs: Path, costs: list[Cost], command: str) -> None:
    """Renew the table in scaling.md."""
    with quiet_start():
        from replication.environment import describe_environment

    page = docs / "scaling.md"
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    made = (
        f"Made on {datetime.date.today()} by `{command}`: {describe_environment('', '')['cpu']}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}."
    )
    after = rest.split(END)[1]
    write_text(page, f"{before}{BEGIN}\n{made}\n\n{format_table(costs)}\n{END}{after}")


def main() -> None:
    """Measure, print and draw."""
    arguments = tyro.cli(Arguments, description=__doc__)
    docs = arguments.folder
    if docs and not (docs / "scaling.md").is_file():
        raise InputError(f"--docs {docs}: holds no scaling.md; name its folder, or none")
    costs = []
    for study in arguments.study:
        with tempfile.TemporaryDirectory() as folder:
            phantoms = make_phantoms(study, Path(folder) / "phantoms")
            for times in arguments.times:
                data, out = (Path(folder) / f"{name}-{times}" for name in ("data", "out"))
                sources = multiply(study, phantoms, data, times)
                code = "from cost_of_prepare import measure; import sys; a = sys.argv; " \
                       "measure(a[1], int(a[2]), int(a[3]), a[4], a[5])"  # fmt: skip
                given = [study, str(times), str(sources), str(data), str(out)]
                done = subprocess.run(
                    [sys.executable, "-c", code, *given], cwd=Path(__file__).parent, text=True,
                    stdout=subprocess.PIPE, env={**os.environ, "TQDM_DISABLE": "1"},
                )  # fmt: skip
                if done.returncode:
                    raise InputError(
                        f"{study}, {times} times: ended with {done.returncode}, for the reason "
                        "above; nothing was written"
                    )
                costs.append(Cost(**json.loads(done.stdout.splitlines()[-1])))
                print(format_table(costs[-1:]).splitlines()[-1], flush=True)
                shutil.rmtree(data)
                shutil.rmtree(out)
    if docs:
        save_chart(docs / "figures" / "cost_of_prepare.png", costs)
        _document(docs, costs, arguments.command)


if __name__ == "__main__":
    run_command(main)
