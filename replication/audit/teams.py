"""The challenge's results in CNR-IEMN: counts of right answers that have to add up."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from replication.audit.digits import four
from replication.audit.findings import PROVEN, STRONG, Finding
from replication.audit.recorded import Tables, as_printed, named
from replication.audit.shares import recover_shares
from replication.printed import CORRECT

TOPIC = "The challenge's tables"
OVERALL, OWN = "figure 11", "CNR-IEMN"
ALL = ""  # the class of a total


@dataclass(frozen=True)
class Results:
    """Right answers as printed, by class; those of all classes under "".

    `lines` are table to team to class to count, `sizes` table to class to scans, `overall` team to
    class to the counts that Figure 11 allows, `whole` class to scans over all tables, and `last`
    is the fewest that a listed team has, which those that are left out cannot exceed.
    """

    lines: dict[str, dict[str, dict[str, int]]]
    sizes: dict[str, dict[str, int]]
    overall: dict[str, dict[str, list[int]]]
    whole: dict[str, int]
    last: dict[str, int]

    def adds_up(self, team: str) -> bool:
        """Whether a team's right answers in Figure 11 add up to its accuracy."""
        right = self.overall[team]
        of_class = [k for c, k in right.items() if c != ALL]
        return any(sum(ks) in right[ALL] for ks in product(*of_class))

    def without(self, team: str) -> list[str]:
        """The tables that leave a team out."""
        return [table for table, rows in self.lines.items() if team not in rows]


def check_teams(tables: Tables) -> Iterator[Finding]:
    """Rows of Figure 11 and Tables 6 to 8 that contradict themselves or one another."""
    results = read_results(tables)
    yield from _overall(tables, results)
    for table, rows in results.lines.items():
        for team in rows:
            yield from _line(results, table, team)
    for team in results.overall:
        yield from _omitted(results, team)
    own = [rows[OWN][ALL] for rows in results.lines.values() if OWN in rows]
    if len(own) == len(results.lines) and sum(own) in results.overall[OWN][ALL]:
        yield Finding(
            "own-row-agrees", TOPIC, f"{named(OVERALL)} and Tables 6 to 8 agree for {OWN}",
            f"{' + '.join(map(str, own))} = {sum(own)} of {results.whole[ALL]}", PROVEN,
            f"{named(OVERALL)}; Tables 6 to 8",
        )  # fmt: skip


def read_results(tables: Tables) -> Results:
    """The challenge's tables as counts."""
    lines: dict[str, dict[str, dict[str, int]]] = {}
    sizes: dict[str, dict[str, int]] = {}
    for r in tables.metrics:
        if r.metric == CORRECT:
            lines.setdefault(r.table, {}).setdefault(r.row, {})[r.positive_class] = int(r.value)
            sizes.setdefault(r.table, {})[r.positive_class] = r.n
    whole = {c: sum(of.get(c, 0) for of in sizes.values()) for of in sizes.values() for c in of}
    overall: dict[str, dict[str, list[int]]] = {}
    for r in tables.metrics:
        if r.table == OVERALL:
            found = recover_shares(as_printed(r), whole[r.positive_class])
            overall.setdefault(r.row, {})[r.positive_class] = found
    last = {}
    for table, rows in lines.items():
        totals = {team: right[ALL] for team, right in rows.items()}
        place = 1 + sum(total > totals[OWN] for total in totals.values())
        if place < tables.count(OWN, f"place on test set {int(table) - 5}"):
            del totals[OWN]  # lines above it are left out
        last[table] = min(totals.values())
    return Results(lines, sizes, overall, whole, last)


def own_place(tables: Tables, table: str) -> tuple[int, int, str, str] | None:
    """The best and worst place that OWN can have in a ranked table that leaves lines out.

    With them who is level with it, and who has more by which sum. A line that is left out has what
    Figure 11 leaves over from the other tables, and where these leave the team out too, they leave
    0 to their last line to it. None where the table is no such one.
    """
    if table not in {r.table for r in tables.metrics if r.metric == CORRECT}:
        return None
    results = read_results(tables)
    mine = results.lines[table][OWN][ALL]
    ahead, level, worst = [], [], 1
    for team in results.overall:
        if team == OWN:
            continue
        least, most, text = _right_answers(results, table, team)
        worst += most > mine
        if least > mine:
            ahead.append((least, f"{team} {text}"))
        if least == most == mine:
            level.append(team)
    ahead.sort(key=lambda pair: -pair[0])
    return 1 + len(ahead), worst, ", ".join(level), ", ".join(text for _, text in ahead)


def _right_answers(results: Results, table: str, team: str) -> tuple[int, int, str]:
    """The fewest and the most right answers of a team in a table, and how the fewest come about."""
    if team in results.lines[table]:
        right = results.lines[table][team][ALL]
        return right, right, str(right)
    whole = results.overall[team]
    sums = [*whole[ALL]]
    if not results.adds_up(team):
        sums.append(sum(ks[0] for c, ks in whole.items() if c != ALL))
    others = [t for t in results.lines if t != table]
    known = {t: results.lines[t][team][ALL] for t in others if team in results.lines[t]}
    most_there = [known.get(t, results.last[t]) for t in others]
    left = min(sums) - sum(most_there)
    text = f"{min(sums)} - {' - '.join(map(str, most_there))} = {left}"
    if len(known) < len(others) or len(sums) > 1:
        text += " or more"
    most = min(max(sums) - sum(known.values()), results.last[table], results.sizes[table][ALL])
    return max(left, 0), most, text


def _overall(tables: Tables, results: Results) -> Iterator[Finding]:
    """Figure 11: whether the right answers of the classes add up to the accuracy."""
    wrong = [team for team in results.overall if not results.adds_up(team)]
    n, teams = results.whole[ALL], len(results.overall)
    parts = " + ".join(f"{k} {c}" for c, k in results.whole.items() if c != ALL)
    yield Finding(
        "figure-11-sizes", TOPIC,
        f"{teams - len(wrong)} of {teams} rows of {named(OVERALL)} fit the {n} scans of Tables 6 "
        "to 8",
        f"{parts} = {n}: the sensitivities are shares of their classes, and their right answers "
        f"add up to the accuracy, save for {' and '.join(wrong) or 'none'}",
        PROVEN, f"{named(OVERALL)}; Tables 6 to 8",
    )  # fmt: skip
    for team in wrong:
        yield _contradiction(tables, results, team)


def _contradiction(tables: Tables, results: Results, team: str) -> Finding:
    """A row of Figure 11 that does not add up, and which single change would repair it."""
    counts = {c: k[0] for c, k in results.overall[team].items()}
    n, said = results.whole[ALL], counts.pop(ALL)
    total = sum(counts.values())
    printed = {r.positive_class: as_printed(r) for r in tables.metrics
               if (r.table, r.row) == (OVERALL, team)}  # fmt: skip
    repairs = {c: (k - total + said, results.whole[c]) for c, k in counts.items()}
    repairs[ALL] = (total, n)
    bound = _bound(results, team)
    settled = bound is not None and said <= bound < total
    if settled:
        del repairs[ALL]
    spelled, changed = [], {}
    for name, (k, size) in repairs.items():
        if 0 <= k <= size:
            new = four(Fraction(k, size))
            changed[name] = sum(a != b for a, b in zip(new, printed[name], strict=True))
            spelled.append(f"{name or 'accuracy'} {new} ({k}/{size}) for {printed[name]}")
    nearest = min(changed, key=changed.__getitem__)
    claim = f"{named(OVERALL)}, {team}: the sensitivities and the accuracy contradict each other"
    note = ""
    if settled:
        claim += "; the accuracy is right, and a sensitivity is too high"
        listed = [t for t in results.lines if t not in results.without(team)]
        (left_out,) = results.without(team)
        note = (
            f". {' and '.join(map(named, listed))} give it "
            f"{sum(results.lines[t][team][ALL] for t in listed)}; {named(left_out)}, whose last "
            f"line has {results.last[left_out]}, leaves it out, so that it has {bound} at most"
        )
    return Finding(
        f"figure-11-{team}", TOPIC, claim,
        f"{' + '.join(map(str, counts.values()))} = {total}, but the accuracy is {said} of {n}. "
        f"One of these changes would repair it: {'; '.join(spelled)}. Fewest digits change in "
        f"{nearest or 'accuracy'} ({changed[nearest]}){note}",
        STRONG if settled else PROVEN, f"{named(OVERALL)}" + "; Tables 6 to 8" * settled,
    )  # fmt: skip


def _bound(results: Results, team: str) -> int | None:
    """The most right answers that a team can have which one ranked table leaves out."""
    left_out = results.without(team)
    if len(left_out) != 1:
        return None
    known = sum(rows[team][ALL] for rows in results.lines.values() if team in rows)
    return known + results.last[left_out[0]]


def _line(results: Results, table: str, team: str) -> Iterator[Finding]:
    """A line of Tables 6 to 8 that does not add up, and the lines that would."""
    right = dict(results.lines[table][team])
    said = right.pop(ALL)
    total = sum(right.values())
    if total == said:
        return
    lines = product(*(range(results.sizes[table][c] + 1) for c in right))
    fits = [
        line
        for line in lines
        if sum(line) == said
        and _possible(results, table, team, dict(zip(right, line, strict=True)))
    ]
    spelled = " or ".join(
        ", ".join(f"{c} {k}" for c, k in zip(right, line, strict=True)) for line in fits
    )
    fixed = [c for i, c in enumerate(right) if len({line[i] for line in fits}) == 1]
    note = ""
    if fits:
        note = (
            f". With {said} in all, {named(OVERALL)} and the other tables leave {len(fits)} lines: "
            f"{spelled}"
        )
    claim = f"{named(table)}, {team}: the line does not add up to its total"
    if fits and fixed:
        sure = ", ".join(
            f"{c} {fits[0][list(right).index(c)]}/{results.sizes[table][c]}"
            for c in fixed if fits[0][list(right).index(c)] != right[c]
        )  # fmt: skip
        claim += f"; it should have {sure}" if sure else ""
    yield Finding(
        f"table-{table}-{team}", TOPIC, claim,
        f"{' + '.join(map(str, right.values()))} = {total}, printed "
        f"{said}/{results.sizes[table][ALL]}{note}",
        STRONG if fits else PROVEN, f"{named(table)}; {named(OVERALL)}",
    )  # fmt: skip


def _possible(results: Results, table: str, team: str, line: dict[str, int]) -> bool:
    """Whether a line suits Figure 11, the team's other lines and the tables that leave it out."""
    left_out = results.without(team)
    if len(left_out) > 1 or not results.adds_up(team):
        return False
    rest = {}
    for name in results.whole:
        if name == ALL:
            continue
        known = sum(
            rows[team].get(name, 0) for t, rows in results.lines.items()
            if t != table and team in rows
        )  # fmt: skip
        rest[name] = results.overall[team][name][0] - known - line.get(name, 0)
    if not left_out:
        return not any(rest.values())
    sizes = results.sizes[left_out[0]]
    inside = all(0 <= k <= sizes.get(c, 0) for c, k in rest.items())
    return inside and sum(rest.values()) <= results.last[left_out[0]]


def _omitted(results: Results, team: str) -> Iterator[Finding]:
    """A team that ties with the last line of a ranked table, but is left out of it."""
    left_out = results.without(team)
    known = [rows[team][ALL] for rows in results.lines.values() if team in rows]
    if len(left_out) != 1 or not results.adds_up(team):
        return
    (table,) = left_out
    rest = results.overall[team][ALL][0] - sum(known)
    level = [t for t, right in results.lines[table].items() if right[ALL] == rest]
    if rest >= results.last[table]:
        yield Finding(
            f"omitted-{table}-{team}", TOPIC,
            f"{named(table)} leaves out {team}, which ties with {' and '.join(level)}",
            f"{results.overall[team][ALL][0]} - {' - '.join(map(str, known))} = {rest}, its last "
            f"line has {results.last[table]}", PROVEN, f"{named(table)}; {named(OVERALL)}",
        )  # fmt: skip
