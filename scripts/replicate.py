"""Replicate the papers: `python3 scripts/replicate.py [PAPER] [--data DIR] [--size SIZE]`.

Makes .venv and installs what is needed on the first call, then makes phantoms (or reads --data),
prepares, trains, evaluates, explains and judges, and writes a page on all of it: report.html in the
folder of the size. Needs Python 3.11 to 3.13, no more.
"""

import importlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from environment import enter

Network = Literal["resnext50_32x4d", "densenet161", "inception_v3", "wide_resnet50_2"]
Scenario = Literal["gray", "segmented", "augmented", "multitask"]
Experiment = Literal[
    "networks", "first-attempts", "dropout", "clipping", "frames", "flow-step", "gamma",
    "batch-size", "normalisation", "augmentation", "final",
]  # fmt: skip


@dataclass(frozen=True)
class Arguments:
    """What to replicate."""

    data: Path | None = None
    """Folder with the paper's kind of data (labels.csv and videos; class folders of radiographs;
    class folders of CT scans); phantoms are made if it is not given."""
    out: Path = Path("replication-output")
    """Folder for everything that is made. Running again with the same one carries on."""
    size: Literal["smoke", "classroom", "paper"] = "classroom"
    """A minute or a few, for a test; minutes, for a laptop; or as published, which takes a GPU
    hours."""
    seeds: int = 1
    """How many runs of each experiment."""
    shuffle_labels: bool = False
    """Deal the labels out anew over the patients: the results must fall to chance."""
    scaling: Literal["standardized", "unit"] | None = None
    """Pixel values of the network's input (scripts/train_kolarik2023.py --help); what the study's
    size has if it is not given."""
    model: tuple[Literal["v-breathnet", "densenet121", "mobilenetv2", "vgg16"], ...] | None = None
    """Networks of the V-BreathNet study; what its size has if it is not given."""
    network: tuple[Network, ...] | None = None
    """Networks of the CNR-IEMN study; what its size has if it is not given."""
    scenario: tuple[Scenario, ...] | None = None
    """Its scenarios (scripts/train_cnr_iemn.py --help); likewise."""
    test: tuple[Path, ...] = ()
    """Folders of further CT scans that test its patient stage, laid out as --data."""
    weights: str | None = None
    """Initial weights of V-BreathNet's baselines and of CNR-IEMN's networks
    (scripts/train_vbreathnet.py --help, scripts/train_cnr_iemn.py --help)."""
    flow: Literal["raft-large", "raft-small", "dis", "farneback"] | None = None
    """What measures optical flow in the Dzhulai study (scripts/train_dzhulai2024.py --help); what
    its size has if it is not given."""
    raft_weights: Path | None = None
    """RAFT's weights, for it."""
    experiment: tuple[Experiment, ...] | None = None
    """Its experiments (scripts/train_dzhulai2024.py --help); the three networks if not given."""
    precision: Literal["float32", "auto"] | None = None
    """auto: mixed precision where the hardware multiplies it; what the study's size has if it is
    not given."""
    margin: float | None = None
    """Our numbers agree with printed ones where they surely differ by less; 0.03 if it is not
    given. Written down before training begins."""
    jobs: int | None = None
    """Independent work done at once, in processes; what the study's size has if it is not given."""
    cluster: str | None = None
    """The same on a Dask cluster, named by its scheduler's address (docs/scaling.md)."""


def main() -> None:
    """Read the command line and run the study of each paper that it names."""
    import tyro

    from preprocessing.errors import InputError
    from replication.occupied import alone_in

    paper = Annotated[
        Literal["all", "kolarik2023", "vbreathnet", "cnr_iemn", "dzhulai2024"],
        tyro.conf.Positional,
        tyro.conf.arg(name="paper"),
    ]
    flat = Annotated[Arguments, tyro.conf.arg(name="")]
    chosen, arguments = tyro.cli(
        tuple[paper, flat], default=("all", Arguments()), description=__doc__
    )
    if chosen == "all" and arguments.data:
        raise InputError(
            "--data is one paper's: name it, as in scripts/replicate.py vbreathnet --data DIR"
        )
    papers = tuple(STUDIES) if chosen == "all" else (chosen,)
    refuse_options_of_others(papers, arguments)
    with alone_in(arguments.out / arguments.size):
        for name in papers:
            started = time.perf_counter()
            replicate, _ = STUDIES[name]
            replicate(arguments)
            print(f"{name}, size {arguments.size}: {time.perf_counter() - started:.0f} s")
        from report import make_report

        make_report((arguments.out / arguments.size,))


def replicate_kolarik2023(arguments: Arguments) -> None:
    """Phantoms or given videos to a verdict table, contact sheets and M-mode pictures."""
    from lungsliding_tf.kolarik2023.config import KolarikConfig
    from lungsliding_tf.kolarik2023.data import prepare_all
    from lungsliding_tf.kolarik2023.sizes import SIZES
    from lungsliding_tf.phantom import write_dataset

    size = SIZES[arguments.size]
    out = arguments.out / arguments.size
    data = arguments.data
    if data is None:
        data = write_dataset(out / "phantoms-kolarik2023", size.phantoms)
    config = KolarikConfig(data=data, out=out, **size.settings | given(arguments, "kolarik2023"))
    stores = prepare_all(config, print)
    judge("lungsliding_tf.kolarik2023.train", config, stores)


def replicate_vbreathnet(arguments: Arguments) -> None:
    """Phantoms or given radiographs to a verdict table, curves, heat maps and small models."""
    from vbreathnet.config import VBreathNetConfig
    from vbreathnet.data import prepare
    from vbreathnet.phantom import write_cohort
    from vbreathnet.quality import report_quality
    from vbreathnet.sizes import SIZES

    size = SIZES[arguments.size]
    out = arguments.out / arguments.size
    data = arguments.data
    if data is None:
        data = write_cohort(out / "phantoms-vbreathnet", **size.phantoms)
    settings = size.settings | given(arguments, "vbreathnet")
    config = VBreathNetConfig(data=data, out=out, **settings)
    store = prepare(config, print)
    report_quality(config, store, print)
    judge("vbreathnet.train", config, store)


def replicate_cnr_iemn(arguments: Arguments) -> None:
    """Phantoms or given CT scans to verdict tables, confusion matrices and heat maps."""
    from cnr_iemn.config import CnrIemnConfig
    from cnr_iemn.data import prepare_all
    from cnr_iemn.phantom import write_cohort
    from cnr_iemn.scans import find_scans
    from cnr_iemn.segmentation import report_segmentation
    from cnr_iemn.sizes import SIZES

    size = SIZES[arguments.size]
    out = arguments.out / arguments.size
    data, test, phantoms = arguments.data, arguments.test, []
    if data is None:
        data = out / "phantoms-cnr_iemn"
        phantoms = [(data, size.phantoms)]
        if not test:
            phantoms += [
                (out / f"{data.name}-test-{number}", {"seed": number, **cohort})
                for number, cohort in enumerate(size.tests, start=1)
            ]
            test = tuple(folder for folder, _ in phantoms[1:])
    settings = size.settings | given(arguments, "cnr_iemn")
    if settings.get("weights", "random") != "random" and "width" in settings:
        print(f"--weights {settings['weights']}: width 1, not {settings.pop('width'):g}, since "
              "pretrained weights fit no narrower networks: training takes longer")  # fmt: skip
    # What could stop the study is looked at before phantoms are made, which takes minutes.
    config = CnrIemnConfig(data=data, out=out, test=test, **settings)
    for folder in arguments.test:
        find_scans(folder)
    for folder, cohort in phantoms:
        write_cohort(folder, **cohort)
    stores = prepare_all(config, print)
    report_segmentation(config, stores[0], print)
    judge("cnr_iemn.train", config, stores)


def replicate_dzhulai2024(arguments: Arguments) -> None:
    """Phantoms or given videos to a verdict table, curves, sweeps and heat maps."""
    from lungsliding_tf.dzhulai2024.config import DzhulaiConfig
    from lungsliding_tf.dzhulai2024.data import check_flow, prepare_all
    from lungsliding_tf.dzhulai2024.sizes import SIZES
    from lungsliding_tf.frame_folders import write_frame_folders

    size = SIZES[arguments.size]
    out = arguments.out / arguments.size
    data = arguments.data or out / "phantoms-dzhulai2024"
    settings = size.settings | given(arguments, "dzhulai2024")
    config = DzhulaiConfig(data=data, out=out, **settings)
    check_flow(config)  # before phantoms are made
    if arguments.data is None:
        write_frame_folders(data, size.cohort, **size.frames)
    stores = prepare_all(config, print)
    judge("lungsliding_tf.dzhulai2024.train", config, stores)


def judge(module: str, config: Any, stores: Any) -> None:
    """Run the study of a module, such as `vbreathnet.train`, and print what came of it."""
    from replication.cli import quiet_start

    with quiet_start():
        run_study = importlib.import_module(module).run_study
    from replication.verdict import format_verdicts

    print(format_verdicts(run_study(config, stores, print)))
    figures = config.out / "figures"
    print(f"pictures: {figures} and the figures folders below {config.out / 'runs'}")


def refuse_options_of_others(papers: tuple[str, ...], arguments: Arguments) -> None:
    """Refuse an option that none of the papers to replicate reads.

    Raises:
        InputError: there is one.
    """
    from preprocessing.errors import InputError

    untouched = Arguments()
    for name in dict.fromkeys(option for _, options in STUDIES.values() for option in options):
        readers = [paper for paper, (_, options) in STUDIES.items() if name in options]
        if getattr(arguments, name) != getattr(untouched, name) and not {*readers} & {*papers}:
            raise InputError(
                f"--{name.replace('_', '-')}: is an option of {' and '.join(readers)}, not of "
                f"{papers[0]}; leave it out, or name that paper"
            )


def given(arguments: Arguments, paper: str) -> dict:
    """The settings that every study shares, and those of a paper that the user named."""
    _, options = STUDIES[paper]
    shared = {name: getattr(arguments, name) for name in ("seeds", "shuffle_labels")}
    everywhere = ("precision", "margin", "jobs", "cluster")
    named = {name: getattr(arguments, name) for name in (*options, *everywhere) if name != "test"}
    return shared | {name: value for name, value in named.items() if value is not None}


# What replicates each paper, in their order, and the options that not every paper reads.
STUDIES = {
    "kolarik2023": (replicate_kolarik2023, ("scaling",)),
    "vbreathnet": (replicate_vbreathnet, ("scaling", "model", "weights")),
    "cnr_iemn": (replicate_cnr_iemn, ("network", "scenario", "weights", "test")),
    "dzhulai2024": (replicate_dzhulai2024, ("flow", "raft_weights", "experiment")),
}


if __name__ == "__main__":
    enter()
    sys.path.insert(0, str(Path(__file__).parent))
    from replication.cli import run_command

    run_command(main)
