import pytest

from preprocessing.errors import InputError
from replication.audit import recover_confusions
from replication.audit.any_table import audit_table, read_table
from replication.audit.made_up import METRICS, SLIPS, make_table


def fits(row, metrics, printing):
    """Whether some of a row's metrics have a matrix."""
    known = {"positives": row.positives, "negatives": row.negatives}
    return bool(recover_confusions(metrics, **known, printing=printing))


def test_just_the_named_rows_are_impossible():
    for seed in range(100):
        table, impossible = make_table(seed)
        assert len(table) == 10 and len(impossible) == 3
        for row in table:
            assert tuple(row.metrics) == METRICS
            if row.name in impossible:
                assert not fits(row, row.metrics, "either")
            else:
                assert fits(row, row.metrics, "rounded")


def test_one_wrong_number_makes_a_row_impossible():
    for seed in range(30):
        table, impossible = make_table(seed, rows=4, impossible=4)
        assert impossible == frozenset("ABCD")
        for row in table:
            rests = [{m: t for m, t in row.metrics.items() if m != out} for out in METRICS]
            assert any(fits(row, rest, "rounded") for rest in rests)


def test_one_row_needs_f1_beside_the_others():
    for seed in range(30):
        table, impossible = make_table(seed)
        wrong = [row for row in table if row.name in impossible]
        assert any(fits(row, {m: row.metrics[m] for m in METRICS[:3]}, "rounded") for row in wrong)


@pytest.mark.parametrize("slip", SLIPS)
def test_each_kind_of_slip_can_be_alone(slip, monkeypatch):
    monkeypatch.setattr("replication.audit.made_up.SLIPS", (slip,))
    table, impossible = make_table(seed=7, rows=6, impossible=2)
    assert {row.name for row in table if not fits(row, row.metrics, "either")} == impossible


def test_same_seed_same_table_and_other_seeds_others():
    assert make_table(5) == make_table(5)
    assert len({str(make_table(seed)) for seed in range(20)}) == 20
    assert len({make_table(seed)[1] for seed in range(50)}) > 20  # not always the same places


def test_the_audit_of_a_table_finds_them(tmp_path):
    table, impossible = make_table(3, rows=26, impossible=5)
    lines = ["row,metric,value,positives,negatives"]
    for row in table:
        for metric, text in row.metrics.items():
            lines.append(f"study {row.name},{metric},{text},{row.positives},{row.negatives}")
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    said = audit_table(read_table(path), max_n=400, printing="either")
    assert {line[len("study ")] for line in said if "IMPOSSIBLE" in line} == impossible


@pytest.mark.parametrize(("rows", "impossible"), [(0, 0), (27, 3), (3, 4), (3, -1)])
def test_tables_that_cannot_be_are_refused(rows, impossible):
    with pytest.raises(InputError, match="take 1 to 26 rows"):
        make_table(0, rows, impossible)
