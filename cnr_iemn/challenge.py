"""Our place beside the teams of the challenge: Figure 11 and Tables 6 to 8."""

from collections.abc import Sequence

from cnr_iemn.cohort import HEART, LOW_DOSE, STANDARD
from cnr_iemn.config import CLASSES, STUDY
from replication.verdict import CORRECT, Experiment, Reported, format_table, load_reported

TABLES = {"6": "first test set", "7": "second test set", "8": "third test set",
          "figure 11": "all test sets"}  # fmt: skip
TABLE_OF_KIND = {STANDARD: "6", LOW_DOSE: "7", HEART: "8"}
OURS = "ours"


def was_submitted(experiment: Experiment) -> bool:
    """Whether an experiment is what the paper sent in: XGBoost on all networks' features.

    By each protocol, and only where there are test sets.
    """
    config = experiment.config
    several = len(config.get("slice_runs", ())) > 1
    return several and config["classifier"] == "xgboost" and experiment.has("test")


def format_challenges(experiments: Sequence[Experiment]) -> str:
    """`format_challenge` of those that were submitted; empty if none was."""
    return "\n\n".join(format_challenge(e) for e in experiments if was_submitted(e))


def format_challenge(experiment: Experiment) -> str:
    """The paper's tables of test results with a line of ours, as text.

    A test set stands in the table of the challenge's set that it is made like, if that is known,
    else by its number. There is a place only if `--paper-data` said that they are the challenge's.

    Args:
        experiment: a patient stage that was asked about test sets.
    """
    parts = [f"{experiment.name}:"]
    for table, name in TABLES.items():
        reported = [r for r in load_reported(STUDY) if r.table == table]
        ours = _our_parts(experiment, table, reported[0].dataset)
        if not ours:
            continue
        rows = [_row(team, reported) for team in dict.fromkeys(r.row for r in reported)]
        for part in ours:
            team = OURS if part == reported[0].dataset else f"{OURS}, {part}"
            rows.append(
                {"team": team} | {c: _our_share(experiment, part, c) for c in (*CLASSES, "")}
            )
        title = f"{table.capitalize() if table[0] == 'f' else f'Table {table}'}: {name}"
        if table == "figure 11":
            title += _place(experiment, reported)
        rows = [{"total" if k == "" else k: v for k, v in row.items()} for row in rows]
        parts.append(f"{title}\n{format_table(rows)}")
    return "\n\n".join(parts)


def place_of(accuracy: float, reported: Sequence[Reported]) -> tuple[int, int]:
    """Place and number of teams of an accuracy among those of Figure 11 without the paper's own.

    Equal accuracies share the better place.
    """
    others = [r for r in reported if r.metric == "accuracy" and r.row != "CNR-IEMN"]
    return 1 + sum(r.exceeds(accuracy) for r in others), len(others) + 1


def _our_parts(experiment: Experiment, table: str, numbered: str) -> list[str]:
    """Our test sets that belong into a table; `numbered` does unless it is of another kind."""
    kinds = experiment.results[0].get("test_kinds", {})
    parts = [part for part, kind in kinds.items() if TABLE_OF_KIND[kind] == table]
    if numbered not in kinds and experiment.has(numbered):
        parts.append(numbered)
    return parts


def _place(experiment: Experiment, reported: Sequence[Reported]) -> str:
    if not all(result["evaluation"]["paper_data"] for result in experiment.results):
        return " (no place: other scans than the challenge's)"
    place, teams = place_of(experiment.mean("test", "patient", "accuracy", "value"), reported)
    return f" (place {place} of {teams})"


def _row(team: str, reported: Sequence[Reported]) -> dict[str, str]:
    """A team's line of a table."""
    row = {"team": team} | {name: "" for name in (*CLASSES, "")}
    for r in reported:
        if r.row == team:
            text = f"{r.value:.0f}/{r.n}" if r.metric == CORRECT else f"{r.value:.4f}"
            row[r.positive_class] = text
    return row


def _our_share(experiment: Experiment, part: str, name: str) -> str:
    """Our recall of a class, or accuracy, on a part; empty without scans of that class."""
    confusion = experiment.results[0][part]["patient"]["confusion"]
    if name and not sum(confusion[CLASSES.index(name)]):
        return ""
    metric = f"recall_{name}" if name else "accuracy"
    return f"{experiment.mean(part, 'patient', metric, 'value'):.4f}"
