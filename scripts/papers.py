"""What the commands know of each paper beside its runs: its claims, its networks, its tables."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from preprocessing.errors import InputError
from replication.claims import ClaimVerdict, judge_order
from replication.cli import quiet_start
from replication.experiments import (
    PAPERS,
    SEED_FOLDER,
    Experiment,
    find_gaps,
    find_runs,
    load_experiments,
)
from replication.judgement import Judgement
from replication.printed import Reported
from replication.records import MARGIN
from replication.verdict import judge_runs


def gather(
    paths: Sequence[Path], paper: str | None = None, partial: bool = False
) -> tuple[dict[str, list[Experiment]], list[str]]:
    """The finished experiments below folders, by paper, and what is missing among their seeds.

    Args:
        paths: what the user named.
        paper: the only one wanted, if any.
        partial: tell what is missing rather than refuse it.

    Raises:
        InputError: there are no finished runs, or some are missing and `partial` is off.
    """
    folders = {p: f for p, f in find_runs(paths).items() if paper in (None, p)}
    named = [path for path in paths if SEED_FOLDER.fullmatch(path.name)]
    gaps = find_gaps([folder for found in folders.values() for folder in found], named)
    if gaps and not partial:
        more = f" (and {len(gaps) - 1} more)" if len(gaps) > 1 else ""
        raise InputError(f"{gaps[0]}{more}; --partial judges what is there")
    experiments = {p: load_experiments(found) for p, found in folders.items()}
    experiments = {p: found for p, found in experiments.items() if found}
    if not experiments:
        first = paper or PAPERS[0]
        raise InputError(
            f"{paths[0]}: holds no finished run of {paper or ' or '.join(PAPERS)}; run "
            f"scripts/train_{first}.py with --out {paths[0]} first"
        )
    return experiments, gaps


def check_margin(margin: float) -> None:
    """Refuse a margin of agreement that is no share.

    Raises:
        InputError: it is not between 0 and 1.
    """
    if not 0 < margin < 1:
        raise InputError(f"--margin is {margin}; it has to be between 0 and 1")


def judge_paper(
    paper: str,
    experiments: Sequence[Experiment],
    margin: float | None = None,
    reported: Sequence[Reported] | None = None,
) -> Judgement:
    """Every verdict on a paper: printed numbers, claims of order and of architecture.

    Args:
        paper: one of PAPERS.
        experiments: its runs; none for claims of architecture alone.
        margin: of agreement; what the runs declared if it is not given.
        reported: other printed numbers than those of the package.

    Raises:
        InputError: a margin that is no share.
    """
    if margin is not None:
        check_margin(margin)
    verdicts = judge_runs(paper, experiments, margin, reported)
    declared = [e.margin for e in experiments if e.margin is not None]
    within = margin if margin is not None else min(declared, default=MARGIN)
    orders = judge_order(paper, experiments, within)
    judgement = Judgement(
        paper, tuple(experiments), tuple(verdicts), tuple(orders), tuple(judge_architecture(paper))
    )
    return _with_own(judgement)


def judge_architecture(paper: str) -> list[ClaimVerdict]:
    """What is printed of a paper's networks beside ours, built at the published size."""
    with quiet_start():  # TensorFlow's, which builds them
        judge: Callable[[], list[ClaimVerdict]]
        if paper == "kolarik2023":
            from lungsliding_tf.kolarik2023.architecture import judge_architecture as judge
        elif paper == "dzhulai2024":
            from lungsliding_tf.dzhulai2024.architecture import judge_architecture as judge
        elif paper == "vbreathnet":
            from vbreathnet.architecture import judge_architecture as judge
        else:
            from cnr_iemn.architecture import judge_architecture as judge
        return judge()


def _with_own(judgement: Judgement) -> Judgement:
    """With what only that paper has: V-BreathNet's overfitting, CNR-IEMN's place among teams."""
    if judgement.paper == "vbreathnet":
        from vbreathnet.claims import judge_claims

        own = judge_claims(judgement.experiments)
        return replace(judgement, orders=(*judgement.orders, *own))
    if judgement.paper == "cnr_iemn":
        from cnr_iemn.challenge import format_challenges

        tables = format_challenges(judgement.experiments)
        return replace(judgement, notes=(tables,) if tables else ())
    return judgement
