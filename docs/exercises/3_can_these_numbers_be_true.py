# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. Can these numbers be true?
#
# *60 to 90 minutes, 20 points. Papers: Kolárik et al. 2023, Table 1; V-BreathNet, section 4 and
# Table 2. Before you begin: "Test sets" in `docs/papers/kolarik2023.md`.*
#
# A classifier of two classes is right or wrong in four ways, and the four counts (TP, FN, TN, FP:
# the **confusion matrix**) are whole numbers. Papers print ratios of them, rounded to a few digits.
# Most combinations of digits are the ratios of no whole numbers at all. So printed metrics can be
# checked without any data: which matrices could have printed them, and is there one? You will
#
# 1. decide exactly whether a ratio prints as a number, and find all matrices that fit a row,
# 2. find out how many samples Kolárik et al. tested on, which their paper does not say,
# 3. find three impossible rows in a table, and judge one number of a real paper.
#
# The table with the impossible rows is made up, from your student id; your neighbour's is another.
#
# **How to work.** Run the cells from top to bottom. Replace each `raise NotImplementedError()` and
# each `YOUR ANSWER HERE`. Cells without one are not yours to change: grading puts them back. Before
# you hand in, restart the kernel and run everything once more.

# %% nbgrader={"grade": false, "grade_id": "size", "locked": true, "schema_version": 3, "solution": false, "task": false}
SIZE = "classroom"

# %%
STUDENT = ""  # your student id, as your teacher writes it, such as "ada"

# %% nbgrader={"grade": false, "grade_id": "tables", "locked": true, "schema_version": 3, "solution": false, "task": false}
from collections import Counter
from fractions import Fraction
from pathlib import Path

import matplotlib.pyplot as plt

from replication.audit import Confusion, recover_confusions, recover_shares
from replication.audit.digits import rounded
from replication.audit.made_up import make_table
from replication.audit.recorded import load_tables
from replication.phantoms import seed_of

MAX_N = {"smoke": 400, "classroom": 1000}[SIZE]  # samples in the searches of 3d
seed = seed_of(STUDENT)
# Kolárik 2023, Table 1, data set 2_30x30: three networks, one test set.
columns = ("accuracy", "sensitivity", "f1")
printed = {
    network: {metric: metrics[metric] for metric in columns}
    for (_, network, dataset), metrics in load_tables("kolarik2023").rows("1").items()
    if dataset == "2_30x30"
}
for network, metrics in printed.items():
    print(network, metrics)

# %% [markdown]
# ## From a ratio to its digits
#
# The numbers above are *texts*, as they are printed: four decimals, so that the true value lies
# at most half a unit of the fourth decimal away. Deciding that with floating point numbers goes
# wrong just where it matters, at the edges:

# %% nbgrader={"grade": false, "grade_id": "floats", "locked": true, "schema_version": 3, "solution": false, "task": false}
print("1/32 is", 1 / 32, "and rounds to 0.0312 or, half upwards, to 0.0313")
print("Is it half a unit away from both?", abs(1 / 32 - 0.0312) <= 0.00005, abs(1 / 32 - 0.0313) <= 0.00005)
print("With fractions:", Fraction("0.0313") - Fraction(1, 32) == Fraction(1, 20000))

# %% [markdown]
# **3a (2 points).** Write the function that decides it exactly, whichever way a program rounds a
# half. `Fraction` takes two whole numbers, or a text.

# %% nbgrader={"grade": false, "grade_id": "prints", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prints_as(numerator, denominator, text):
    """Whether numerator / denominator, whole numbers, can print as `text`: four decimals, rounded."""
    ### BEGIN SOLUTION
    return abs(Fraction(numerator, denominator) - Fraction(text)) <= Fraction(1, 20000)
    ### END SOLUTION


print(prints_as(158, 264, "0.5985"), prints_as(159, 264, "0.5985"))

# %% nbgrader={"grade": true, "grade_id": "prints-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert prints_as(158, 264, "0.5985") and not prints_as(159, 264, "0.5985")
assert prints_as(1, 32, "0.0312") and prints_as(1, 32, "0.0313"), "a half may go either way"
### BEGIN HIDDEN TESTS
from replication.audit.digits import parse_printed

for n in (7, 32, 96, 160, 386, 663):
    for k in range(n + 1):
        down = k * 10_000 // n
        for digits in range(max(down - 1, 0), min(down + 2, 10_000) + 1):
            text = rounded(Fraction(digits, 10_000), 4)
            assert bool(prints_as(k, n, text)) == bool(parse_printed(text).range("rounded").holds(k, n))
# The table is this student's: in a course folder its name is the student's.
if Path.cwd().parents[1].name == "autograded":
    assert STUDENT.strip().lower() == Path.cwd().parents[0].name.lower(), "another student's id"
### END HIDDEN TESTS

# %% [markdown]
# ## From a row to its matrices
#
# If you know how many positive and negative samples there are, a matrix is two numbers, TP and TN,
# and a computer tries them all in no time. Sliding *present* is positive here:
#
# | metric | is |
# |---|---|
# | accuracy | (TP + TN) / all |
# | sensitivity | TP / positives |
# | specificity | TN / negatives |
# | F1 | 2 TP / (2 TP + FP + FN) |
#
# **3b (3 points).** Write that search. A row need not have all four metrics.

# %% nbgrader={"grade": false, "grade_id": "matrices", "locked": false, "schema_version": 3, "solution": true, "task": false}
def matrices_by_hand(metrics, positives, negatives):
    """All matrices of these class counts that print so: a list of (tp, fn, tn, fp).

    metrics: such as {"accuracy": "0.7047", "f1": "0.7349"}; any of the four above.
    """
    ### BEGIN SOLUTION
    found = []
    for tp in range(positives + 1):
        for tn in range(negatives + 1):
            fn, fp = positives - tp, negatives - tn
            ratios = {
                "accuracy": (tp + tn, positives + negatives),
                "sensitivity": (tp, positives),
                "specificity": (tn, negatives),
                "f1": (2 * tp, 2 * tp + fp + fn),
            }
            if all(prints_as(*ratios[metric], text) for metric, text in metrics.items()):
                found.append((tp, fn, tn, fp))
    return found
    ### END SOLUTION


print(matrices_by_hand({"accuracy": "0.8000", "sensitivity": "0.7500"}, positives=4, negatives=6))
print(matrices_by_hand({"accuracy": "0.8000"}, positives=4, negatives=6))

# %% nbgrader={"grade": true, "grade_id": "matrices-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
assert [tuple(m) for m in matrices_by_hand({"accuracy": "0.8000", "sensitivity": "0.7500"}, 4, 6)] == [(3, 1, 5, 1)]
assert len(matrices_by_hand({"accuracy": "0.8000"}, positives=4, negatives=6)) == 3
### BEGIN HIDDEN TESTS
other_table, _ = make_table(seed + 1, rows=3, impossible=1)
cases = [(row.metrics, row.positives, row.negatives) for row in other_table]
cases += [({"f1": row.metrics["f1"]}, row.positives, row.negatives) for row in other_table[:1]]
cases += [({"accuracy": "0.9000", "specificity": "1.0000"}, 12, 8), ({"sensitivity": "0.3333"}, 9, 5)]
for metrics, positives, negatives in cases:
    expected = recover_confusions(metrics, positives=positives, negatives=negatives, printing="rounded")
    found = [tuple(map(int, m)) for m in matrices_by_hand(metrics, positives, negatives)]
    assert sorted(found) == sorted(map(tuple, expected))
### END HIDDEN TESTS

# %% [markdown]
# ## How many samples were tested?
#
# Kolárik et al. state how many tiles the data set 2_30x30 has, 1,928, but not how many of them
# tested. The search over all class counts is the same search, only longer. The project's function
# `recover_confusions(metrics, max_n, printing="rounded")` does it quickly: it returns all matrices
# with at most `max_n` samples, and each has `.positives`, `.negatives` and `.n`.
#
# One row leaves several answers. But the three networks of Table 1 were tested on the same tiles.
# (The table's fourth column, specificity, stays out: its last digits are off, as if it had been
# computed from the other columns after rounding.)
#
# **3c (2 points).** Put into `class_counts` all pairs (positives, negatives) of at most 1,928 tiles
# that fit *all three* rows in `printed`, sorted by their sum, the smallest first. Then put the
# matrix of Resnet3D-18 for the smallest pair into `matrix`, by your own function.

# %% nbgrader={"grade": false, "grade_id": "class-counts", "locked": false, "schema_version": 3, "solution": true, "task": false}
# class_counts = list of pairs
# matrix = (tp, fn, tn, fp)
### BEGIN SOLUTION
of_each_row = [
    {(m.positives, m.negatives) for m in recover_confusions(metrics, 1928, printing="rounded")}
    for metrics in printed.values()
]
class_counts = sorted(set.intersection(*of_each_row), key=sum)
(matrix,) = matrices_by_hand(printed["Resnet3D-18"], *class_counts[0])
### END SOLUTION
for network, metrics in printed.items():
    found = recover_confusions(metrics, 1928, printing="rounded")
    print(f"{network}: {len(found)} matrices fit, the smallest of {found[0].n} tiles")
print("all three:", *(f"{p} + {q} = {p + q}" for p, q in class_counts), sep="\n   ")
print("20 % of 1,928 tiles are", 0.2 * 1928)

# %% nbgrader={"grade": true, "grade_id": "class-counts-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert len(class_counts) >= 1 and len(matrix) == 4
### BEGIN HIDDEN TESTS
from replication.audit import recover_compositions

expected = recover_compositions(list(printed.values()), 1928, printing="rounded")
assert [tuple(map(int, pair)) for pair in class_counts] == expected
assert [tuple(map(int, matrix))] == recover_confusions(
    printed["Resnet3D-18"], positives=expected[0][0], negatives=expected[0][1], printing="rounded"
)
### END HIDDEN TESTS

# %% [markdown]
# The other pairs are the smallest one doubled, tripled and so on, because ratios do not change when
# all counts double. So the paper tested on 386 tiles, 264 with and 122 without sliding, or on a
# multiple. Section 3.1.1 says 30 % of the patients; exercise 2 shows why 20 % of the tiles, to the
# tile, speaks against that.
#
# ## What digits are worth
#
# **3d (1 point).** Suppose the authors had printed fewer decimals. Print accuracy, sensitivity and
# F1 of your `matrix` with 4, 3 and 2 decimals, by `rounded(Confusion(*matrix).metric(name), decimals)`,
# and count the matrices with at most `MAX_N` samples that fit each. (Do not round the printed
# numbers a second time: 0.59848 prints as 0.5985 and as 0.598, but 0.5985 would become 0.599.)

# %% nbgrader={"grade": false, "grade_id": "decimals", "locked": false, "schema_version": 3, "solution": true, "task": false}
# fits = {4: list of matrices, 3: list of matrices, 2: list of matrices}
### BEGIN SOLUTION
fits = {}
for decimals in (4, 3, 2):
    texts = {metric: rounded(Confusion(*matrix).metric(metric), decimals) for metric in columns}
    fits[decimals] = recover_confusions(texts, MAX_N, printing="rounded")
### END SOLUTION
for decimals, found in fits.items():
    print(f"{decimals} decimals: {len(found):,} matrices, of {len({m.n for m in found})} sizes up to {MAX_N:,}")

# %% nbgrader={"grade": true, "grade_id": "decimals-test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
assert set(fits) == {4, 3, 2}
### BEGIN HIDDEN TESTS
for decimals in (4, 3, 2):
    texts = {metric: rounded(Confusion(158, 106, 114, 8).metric(metric), decimals) for metric in columns}
    assert len(fits[decimals]) == len(recover_confusions(texts, MAX_N, printing="rounded"))
### END HIDDEN TESTS

# %% [markdown]
# **3e (3 points, graded by hand).** Draw, for each number of samples n up to `MAX_N`, how many
# matrices with exactly n samples fit, for 4, 3 and 2 decimals in one picture. `Counter` counts.
# Take a logarithmic axis for the number of matrices, and mark the sizes that fit all three rows of
# the paper.
#
# *1 point for the three counts, told apart; 1 for names on both axes, of which one is logarithmic;
# 1 for the marks.*

# %% nbgrader={"grade": true, "grade_id": "decimals-picture", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
figure, axis = plt.subplots(figsize=(9, 4.5))
for decimals, style in ((2, "."), (3, "x"), (4, "o")):
    sizes_that_fit = Counter(m.n for m in fits[decimals])
    axis.plot(sizes_that_fit.keys(), sizes_that_fit.values(), style, label=f"one row, {decimals} decimals")
for number, (present, absent) in enumerate(class_counts):
    axis.axvline(present + absent, color="k", linestyle=":", label=None if number else "all three rows, 4 decimals")
axis.set(xlabel="samples n", ylabel="matrices with n samples that fit", yscale="log", xlim=(0, 1.02 * MAX_N))
axis.legend()
### END SOLUTION

# %% [markdown]
# ## Three impossible rows
#
# Here is a made-up table of ten studies: class counts and four metrics, rounded to four decimals.
# Seven rows are of real matrices. In three rows **one** number went wrong, in a way in which numbers
# go wrong in papers, so that no matrix prints so.

# %% nbgrader={"grade": false, "grade_id": "made-up", "locked": true, "schema_version": 3, "solution": false, "task": false}
table, _ = make_table(seed)
print("study  positives  negatives  accuracy  sensitivity  specificity      F1")
for row in table:
    m = row.metrics
    print(f"{row.name:5}  {row.positives:9}  {row.negatives:9}  {m['accuracy']:>8}"
          f"  {m['sensitivity']:>11}  {m['specificity']:>11}  {m['f1']:>6}")

# %% [markdown]
# **3f (3 points).** Which rows are impossible? Put their names into the set `impossible`. Each row
# has `row.name`, `row.metrics`, `row.positives` and `row.negatives`.

# %% nbgrader={"grade": false, "grade_id": "impossible", "locked": false, "schema_version": 3, "solution": true, "task": false}
# impossible = {"...", "...", "..."}
### BEGIN SOLUTION
impossible = {
    row.name for row in table if not matrices_by_hand(row.metrics, row.positives, row.negatives)
}
### END SOLUTION
print("impossible:", *sorted(impossible))

# %% nbgrader={"grade": true, "grade_id": "impossible-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
assert set(impossible) <= {row.name for row in table}
### BEGIN HIDDEN TESTS
assert set(impossible) == {
    row.name for row in make_table(seed)[0]
    if not recover_confusions(row.metrics, positives=row.positives, negatives=row.negatives)
}
### END HIDDEN TESTS

# %% [markdown]
# **3g (1 point).** Which number is at fault? For each impossible row, leave one metric out after the
# other: without which is the row possible? Put the names of those metrics into a list each.

# %% nbgrader={"grade": false, "grade_id": "at-fault", "locked": false, "schema_version": 3, "solution": true, "task": false}
# at_fault = {"name of the row": ["metric", ...], ...}
### BEGIN SOLUTION
at_fault = {}
for row in table:
    if row.name in impossible:
        at_fault[row.name] = [
            left_out for left_out in row.metrics
            if matrices_by_hand(
                {m: t for m, t in row.metrics.items() if m != left_out}, row.positives, row.negatives
            )
        ]
### END SOLUTION
for row in table:
    for metric in at_fault.get(row.name, ()):
        rest = {m: t for m, t in row.metrics.items() if m != metric}
        for matrix_of_rest in matrices_by_hand(rest, row.positives, row.negatives):
            other = Confusion(*matrix_of_rest)
            print(f"{row.name}: {metric} says {row.metrics[metric]}; the other three say {other},")
            print("   which has", ", ".join(
                f"{name} {rounded(other.metric(name), 4)}" for name in (*row.metrics, "precision")
            ))

# %% nbgrader={"grade": true, "grade_id": "at-fault-test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
assert set(at_fault) == set(impossible) and all(len(metrics) for metrics in at_fault.values())
### BEGIN HIDDEN TESTS
for row in make_table(seed)[0]:
    known = {"positives": row.positives, "negatives": row.negatives}
    if not recover_confusions(row.metrics, **known):
        rests = {out: {m: t for m, t in row.metrics.items() if m != out} for out in row.metrics}
        # Whoever allows for digits that were cut off, too, may find more.
        least, most = (
            {out for out, rest in rests.items() if recover_confusions(rest, **known, printing=way)}
            for way in ("rounded", "either")
        )
        assert least <= set(at_fault[row.name]) <= most
### END HIDDEN TESTS

# %% [markdown]
# ## A number of a real paper
#
# V-BreathNet tells normal chest radiographs, COVID-19 and viral pneumonia apart. Section 4 of the
# paper gives it a validation accuracy of 96.84 %. Table 2 counts 1,920 images that it calls a testing
# set, section 3.3 counts 1,902 for validation. With three classes there are more than four counts, but an accuracy is still
# right answers over images, k / n.
#
# **3h (1 point).** Put into `right_of_1920` every k for which k / 1,920 prints as 0.9684, and into
# `sizes` every n from 1,850 to 1,950 of which some k / n does.

# %% nbgrader={"grade": false, "grade_id": "share", "locked": false, "schema_version": 3, "solution": true, "task": false}
# right_of_1920 = list of whole numbers
# sizes = list of whole numbers
### BEGIN SOLUTION
right_of_1920 = [k for k in range(1921) if prints_as(k, 1920, "0.9684")]
sizes = [n for n in range(1850, 1951) if any(prints_as(k, n, "0.9684") for k in range(n + 1))]
### END SOLUTION
print("right answers of 1,920:", right_of_1920)
print("sizes:", sizes)
print("If digits were cut off rather than rounded: of 1,920", recover_shares("96.84 %", 1920, "truncated"),
      "and of 1,902", recover_shares("96.84 %", 1902, "truncated"))

# %% nbgrader={"grade": true, "grade_id": "share-test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
assert all(1850 <= n <= 1950 for n in sizes)
### BEGIN HIDDEN TESTS
from replication.audit import recover_sizes

assert list(right_of_1920) == recover_shares("96.84 %", 1920, "rounded")
assert list(sizes) == recover_sizes(["96.84 %"], range(1850, 1951), "rounded")
### END HIDDEN TESTS

# %% [markdown]
# **3i (4 points, graded by hand).** Two sentences. What went wrong in your three rows: for each, the
# number at fault and a slip that would explain it? And what does your answer to 3h prove about
# 96.84 %, what does it not prove, and what would you ask the authors?
#
# *2 points for three explanations that fit what 3g prints; 2 for keeping apart what is proven and what
# is not.*

# %% [markdown] nbgrader={"grade": true, "grade_id": "sentences", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# Where leaving out F1 alone helps, the number in its column is the precision of the matrix that the
# others give, so a column was mixed up; where specificity alone is at fault it is a digit or two
# off in the last places, as if it had been computed from the other metrics after rounding; where
# accuracy or sensitivity is at fault, either two of its digits changed places or it is a ratio of a
# test set with a few positives fewer. That 96.84 % is the ratio of no whole number to 1,920 proves
# that it is not the rounded or cut-off accuracy on the images of Table 2, and of the 1,902 of
# section 3.3 it can be only with digits cut off (1,842 of 1,902); it proves neither that the true
# accuracy is lower nor any intent, since a mean over whole batches or another part would explain
# it, and I would ask for the number of right answers and of images.

# %% nbgrader={"grade": false, "grade_id": "answers", "locked": true, "schema_version": 3, "solution": false, "task": false}
# Your numbers, to compare with your neighbour's: whose differ, and why do the others not?
answers = {
    "tiles that Kolárik tested on": float(sum(class_counts[0])),
    "of them with sliding": float(class_counts[0][0]),
    **{f"matrices that fit {d} decimals": float(len(fits[d])) for d in (4, 3, 2)},
    **{f"impossible row {i}": float("ABCDEFGHIJ".index(name) + 1) for i, name in enumerate(sorted(impossible), 1)},
    "sizes that 96.84 % fits, from 1,850 to 1,950": float(len(sizes)),
}
print(*(f"{name}: {value:.0f}" for name, value in answers.items()), sep="\n")
