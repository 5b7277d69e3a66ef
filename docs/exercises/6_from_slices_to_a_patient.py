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
# # 6. From slices to a patient
#
# *60 to 90 minutes, 20 points. Paper: Bougourzi et al. 2021 (CNR-IEMN), section 3.3.2, Table 5 and
# Figure 10. Before you begin: "The study on one page" in `docs/papers/cnr_iemn.md`.*
#
# A chest CT scan is a stack of slices from the neck to the abdomen. The paper decides in two
# stages. First a network says of every slice whether it looks **normal**, like **COVID-19** or like
# another pneumonia (community-acquired, **CAP**). Then a second classifier reads those answers from
# head to foot and says what the *patient* has. The second stage learns from what the first one says
# of the training scans. But the first one learned on the slices of those very scans. You will
#
# 1. turn slices into group percentages, the features of the second stage, by hand,
# 2. make them in two ways: *in-sample*, as published, and *out-of-fold*,
# 3. measure XGBoost and an SVM on patients, and ask when a difference is more than chance.
#
# The scans are phantoms: made by a program, in the file formats of real recordings, so that the
# truth is known. Yours are drawn from your student id; your neighbour's are others.
#
# **How to work.** Run the cells from top to bottom. Replace each `raise NotImplementedError()` and
# each `YOUR ANSWER HERE`. Cells without one are not yours to change: grading puts them back. Before
# you hand in, restart the kernel and run everything once more.

# %% nbgrader={"grade": false, "grade_id": "size", "locked": true, "schema_version": 3, "solution": false, "task": false}
SIZE = "classroom"

# %%
STUDENT = ""  # your student id, as your teacher writes it, such as "ada"

# %% nbgrader={"grade": false, "grade_id": "phantoms", "locked": true, "schema_version": 3, "solution": false, "task": false}
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from scipy.stats import binomtest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import GroupKFold, StratifiedKFold

from cnr_iemn.config import CAP, CLASSES, COVID, NORMAL, CnrIemnConfig
from cnr_iemn.data import prepare
from cnr_iemn.lung_levels import lung_levels
from cnr_iemn.patient import fit_classifier, score_patients
from cnr_iemn.phantom import write_cohort
from cnr_iemn.slice_labels import read_slice_labels
from cnr_iemn.split import split_scans
from replication.intervals import wilson
from replication.phantoms import seed_of

EACH, SIDE, SPACING_MM, GROUPS, FOLDS = {
    "smoke": (6, 64, 20.0, 6, 2),
    "classroom": (40, 128, 11.5, 20, 5),
}[SIZE]
seed = seed_of(STUDENT)
data = write_cohort(
    Path("phantoms") / f"6-{SIZE}-{seed}",
    covid=EACH, cap=EACH, normal=EACH, labelled_covid=EACH, labelled_cap=EACH,
    size=SIDE, slice_spacing=SPACING_MM, seed=seed, progress=False,
)
config = CnrIemnConfig(
    data, out=Path("phantoms") / f"6-{SIZE}-{seed}-stores", network=("densenet161",),
    store_size=SIDE, input_size=SIDE, normal_scans=EACH, val_fraction=0.4,
)
store = prepare(config, data, "slices", print)
slices = split_scans(config, store, read_slice_labels(data, config.labels), seed)
print(slices.describe())

# %% [markdown]
# ## What a scan looks like
#
# Here are three scans of your training part, each at its slice with most lesion (the normal one in
# the middle), and the labels of all slices from head to foot. A slice with infection has the class
# of its scan, any other slice is normal.

# %% nbgrader={"grade": false, "grade_id": "first-scans", "locked": true, "schema_version": 3, "solution": false, "task": false}
scans, labels = slices.scans, slices.labels  # labels: int (slices,), of all slices of all scans
diagnoses = scans.diagnoses  # int (scans,): NORMAL, COVID or CAP, which are 0, 1 and 2
training = slices.parts == "train"  # bool (scans,); the others validate
# Of each class the training scan with most slices of its label.
shown = [
    max(np.flatnonzero(training & (diagnoses == k)), key=lambda scan: np.sum(labels[scans.rows[scan]] == k))
    for k in (NORMAL, COVID, CAP)
]
lesion = np.array([int(pixels) for pixels in store.column("lesion_pixels")])
COLOURS = ("lightgray", "tab:orange", "tab:blue")  # normal, COVID-19, CAP

figure, axes = plt.subplots(2, 3, figsize=(10, 4.4), height_ratios=(6, 1), layout="constrained")
for (above, below), scan in zip(axes.T, shown):
    rows = scans.rows[scan]
    most = rows[len(rows) // 2] if diagnoses[scan] == NORMAL else rows[np.argmax(lesion[rows])]
    above.imshow(store.samples[most][..., 0], cmap="gray")
    above.set_title(f"{scans.patients[scan]}: {CLASSES[diagnoses[scan]]}")
    above.axis("off")
    below.imshow(labels[rows][None], cmap=ListedColormap(COLOURS), vmin=0, vmax=2, aspect="auto")
    below.set(yticks=[], xlabel=f"labels of its {len(rows)} slices, head to foot")
figure.legend(handles=[Patch(color=c, label=name) for c, name in zip(COLOURS, CLASSES)], loc="outside right lower")

# %% [markdown]
# ## Group percentages
#
# Scans differ in their number of slices; a classifier wants the same number of features from each.
# Section 3.3.2 cuts a scan into 20 groups of equal numbers from head to foot and takes the share of
# each class in each group: 60 features of a network. (Table 5 has four networks, hence 240.) Where
# the slices are no multiple of the groups, group $g$ of $G$ begins with slice number
# $\lfloor g n / G \rfloor$ of $n$, counted from 0, and ends before the next group begins.
#
# **6a (3 points).** Write it. You may rely on there being a slice in every group.

# %% nbgrader={"grade": false, "grade_id": "shares", "locked": false, "schema_version": 3, "solution": true, "task": false}
def shares_by_hand(predicted, groups):
    """Share of each class in each group of slices.

    predicted: int (slices,), the class 0, 1 or 2 of each slice of a scan, head first.
    Returns float (groups * 3,): the three shares of the first group, then of the next.
    """
    ### BEGIN SOLUTION
    edges = [g * len(predicted) // groups for g in range(groups + 1)]
    of_groups = [predicted[start:end] for start, end in zip(edges[:-1], edges[1:])]
    return np.array([np.mean(group == k) for group in of_groups for k in range(3)])
    ### END SOLUTION


print(shares_by_hand(labels[scans.rows[shown[1]]], GROUPS).reshape(GROUPS, 3).round(2))

# %% nbgrader={"grade": true, "grade_id": "shares-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
example = shares_by_hand(np.array([0, 0, 1, 2, 2]), 2)  # slices 0 and 1, then 2 to 4
assert np.allclose(example, [1, 0, 0, 0, 1 / 3, 2 / 3])
### BEGIN HIDDEN TESTS
from cnr_iemn.patient import group_percentages

drawn = np.random.default_rng(seed)
for n in (20, 21, 39, 47, *drawn.integers(20, 200, 5)):
    one = drawn.integers(0, 3, n)
    assert np.allclose(shares_by_hand(one, 20), group_percentages(one, 20, len(CLASSES)))
for rows in scans.rows:
    assert np.allclose(shares_by_hand(labels[rows], GROUPS), group_percentages(labels[rows], GROUPS, len(CLASSES)))
# The numbers are of this student's phantoms: in a course folder its name is the student's.
if Path.cwd().parents[1].name == "autograded":
    assert STUDENT.strip().lower() == Path.cwd().parents[0].name.lower(), "another student's id"
### END HIDDEN TESTS

# %% [markdown]
# ## The first stage, in-sample
#
# The paper's first stage is four networks that train for hours. Yours is a forest that trains in
# seconds: it sees 34 numbers of each slice, how much of either lung has which gray level. Like
# a network that trains for long, it knows its training slices by heart. It is *fitted* on the
# slices of the training scans and then asked about **all** slices of all scans. What it says of the
# training scans is *in-sample*: that is the published protocol. (In the paper about 76 of the 209
# training scans had trained the networks, here all have. So expect the effect to be larger here.)

# %% nbgrader={"grade": false, "grade_id": "first-stage", "locked": true, "schema_version": 3, "solution": false, "task": false}
def new_forest():
    """A slice classifier that has seen nothing yet."""
    return ExtraTreesClassifier(60, random_state=0)


levels = lung_levels(store.samples)  # float (slices, 34)
train_rows, val_rows = slices.rows_of("train"), slices.rows_of("val")
forest = new_forest().fit(levels[train_rows], labels[train_rows])
in_sample = forest.predict(levels)  # int (slices,)

# %% [markdown]
# **6b (1 point).** Which share of the *infected* slices (label not `NORMAL`) does the forest call by
# their right class, among those of the training scans, and among those of the validation scans?

# %% nbgrader={"grade": false, "grade_id": "recalls", "locked": false, "schema_version": 3, "solution": true, "task": false}
# recall_train, recall_val = two floats
### BEGIN SOLUTION
infected_train, infected_val = (rows[labels[rows] != NORMAL] for rows in (train_rows, val_rows))
recall_train = np.mean(in_sample[infected_train] == labels[infected_train])
recall_val = np.mean(in_sample[infected_val] == labels[infected_val])
### END SOLUTION
print(f"infected slices recognised: training scans {recall_train:.3f}, validation scans {recall_val:.3f}")

# %% nbgrader={"grade": true, "grade_id": "recalls-test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
assert 0 <= recall_val <= 1 and 0 <= recall_train <= 1
### BEGIN HIDDEN TESTS
for found, rows in ((recall_train, train_rows), (recall_val, val_rows)):
    counted = sum(int(labels[r] != NORMAL and in_sample[r] == labels[r]) for r in rows)
    assert abs(found - counted / sum(int(labels[r] != NORMAL) for r in rows)) < 1e-6
### END HIDDEN TESTS

# %% [markdown]
# ## The first stage, out-of-fold
#
# A new patient's slices are slices that the forest has never seen. The second stage should learn
# from answers of that kind. So deal the training scans into folds: the slices of each fold are
# predicted by a forest that was fitted on the other folds. A scan must never be in two folds, for
# neighbouring slices are nearly the same.
#
# **6c (3 points).** Write it, with `GroupKFold(FOLDS)` and one `new_forest()` for each fold.

# %% nbgrader={"grade": false, "grade_id": "out-of-fold", "locked": false, "schema_version": 3, "solution": true, "task": false}
def predict_out_of_fold(levels, labels, patients):
    """What forests say of slices of patients that they did not see.

    levels: float (n, 34); labels: int (n,); patients: (n,), whose slice each is.
    Returns int (n,), the predicted classes.
    """
    ### BEGIN SOLUTION
    predicted = np.empty_like(labels)
    for seen, held_out in GroupKFold(FOLDS).split(levels, labels, patients):
        predicted[held_out] = new_forest().fit(levels[seen], labels[seen]).predict(levels[held_out])
    return predicted
    ### END SOLUTION


patients = store.column("patient_id")
# Validation scans trained nothing: what the one forest says of them stands.
out_of_fold = in_sample.copy()
out_of_fold[train_rows] = predict_out_of_fold(levels[train_rows], labels[train_rows], patients[train_rows])
infected = train_rows[labels[train_rows] != NORMAL]
print(f"infected slices of training scans recognised: {np.mean(out_of_fold[infected] == labels[infected]):.3f}")

# %% nbgrader={"grade": true, "grade_id": "out-of-fold-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
assert out_of_fold.shape == in_sample.shape and set(out_of_fold) <= {NORMAL, COVID, CAP}
assert np.array_equal(out_of_fold[val_rows], in_sample[val_rows])
### BEGIN HIDDEN TESTS
from sklearn.model_selection import cross_val_predict

of_train = levels[train_rows], labels[train_rows]
expected = cross_val_predict(new_forest(), *of_train, groups=patients[train_rows], cv=GroupKFold(FOLDS))
assert np.array_equal(out_of_fold[train_rows], expected)
# Diagnoses without any meaning: who sees a patient's other slices would know them all the same.
drawn = np.random.default_rng(seed)
of_whom = np.repeat(np.arange(60), 5)
alike = drawn.normal(size=(60, 34))[of_whom] + drawn.normal(0, 0.01, (300, 34))
dealt = drawn.permutation(np.arange(60) % 3)[of_whom]
assert np.mean(predict_out_of_fold(alike, dealt, of_whom) == dealt) < 0.7
### END HIDDEN TESTS

# %% [markdown]
# ## The picture
#
# **6d (3 points, graded by hand).** Draw what the second stage learns from: for the three scans in
# `shown`, the group percentages as stacked bars from head to foot (one bar a group, `COLOURS` for the
# classes), in one row in-sample, in a second row out-of-fold.
#
# *1 point for stacked bars of the right shares, 1 for six panels that say scan and protocol, 1 for
# names on the axes and one legend of the classes.*

# %% nbgrader={"grade": true, "grade_id": "picture", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
figure, axes = plt.subplots(2, 3, figsize=(11, 5), sharex=True, sharey=True, layout="constrained")
for row, (protocol, predicted) in zip(axes, {"in-sample": in_sample, "out-of-fold": out_of_fold}.items()):
    for axis, scan in zip(row, shown):
        shares = 100 * shares_by_hand(predicted[scans.rows[scan]], GROUPS).reshape(GROUPS, 3)
        bottom = np.zeros(GROUPS)
        for k in (NORMAL, COVID, CAP):
            axis.bar(range(1, GROUPS + 1), shares[:, k], 0.9, bottom, color=COLOURS[k], label=CLASSES[k])
            bottom += shares[:, k]
        axis.set_title(f"{scans.patients[scan]} ({CLASSES[diagnoses[scan]]}), {protocol}")
    row[0].set_ylabel("slices of the group (%)")
for axis in axes[1]:
    axis.set_xlabel("group, head to foot")
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center")
### END SOLUTION

# %% [markdown]
# ## The second stage
#
# The paper compares two classifiers, XGBoost (boosted decision trees) and a support vector machine
# (SVM). `fit_classifier(kind, features, truths, seed=0)` fits one, `kind` being `"xgboost"` or
# `"svm"`; `score_patients(classifier, features)` gives scores of shape `(scans, 3)`, of which the
# largest is the answer.
#
# **6e (3 points).** Fit on the group percentages of the training scans and say what the *validation*
# scans have. `predicted` is `in_sample` or `out_of_fold`. Use `shares_by_hand`.

# %% nbgrader={"grade": false, "grade_id": "second-stage", "locked": false, "schema_version": 3, "solution": true, "task": false}
def features_of(predicted, chosen):
    """Group percentages of the scans in `chosen`, bool (scans,): float (chosen scans, 3 * GROUPS)."""
    return np.stack([shares_by_hand(predicted[scans.rows[scan]], GROUPS) for scan in np.flatnonzero(chosen)])


def diagnose(kind, predicted):
    """The answers for the validation scans: int (validation scans,)."""
    ### BEGIN SOLUTION
    classifier = fit_classifier(kind, features_of(predicted, training), diagnoses[training], seed=0)
    return score_patients(classifier, features_of(predicted, ~training)).argmax(axis=1)
    ### END SOLUTION


truths = diagnoses[~training]
right = {}  # bool (validation scans,) of each classifier and protocol
for kind in ("xgboost", "svm"):
    for protocol, predicted in (("in-sample", in_sample), ("out-of-fold", out_of_fold)):
        right[kind, protocol] = diagnose(kind, predicted) == truths
        k, n = right[kind, protocol].sum(), len(truths)
        low, high = wilson(k, n)
        print(f"{kind:8}{protocol:12} {k} of {n} right: {k / n:.3f}, 95 % interval {low:.3f} to {high:.3f}")
floor = np.bincount(truths).max() / len(truths)
print(f"always the commonest class: {floor:.3f}")

# %% nbgrader={"grade": true, "grade_id": "second-stage-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
assert diagnose("svm", out_of_fold).shape == truths.shape
### BEGIN HIDDEN TESTS
from cnr_iemn.patient import group_percentages

for (kind, protocol), found in right.items():
    of_slices = {"in-sample": in_sample, "out-of-fold": out_of_fold}[protocol]
    x = np.stack([group_percentages(of_slices[rows], GROUPS, len(CLASSES)) for rows in scans.rows])
    scores = score_patients(fit_classifier(kind, x[training], diagnoses[training], 0), x[~training])
    assert np.array_equal(found, scores.argmax(axis=1) == truths), (kind, protocol)
### END HIDDEN TESTS

# %% [markdown]
# Suppose you had no validation scans. You would estimate the accuracy by cross-validating the
# second stage **on the training scans**, with the features you have.
#
# **6f (2 points).** Do that: the share of training scans that are right when the second stage is
# fitted on four fifths and asked about the last fifth, in turn. Use the splits of
# `StratifiedKFold(FOLDS, shuffle=True, random_state=0)` (at size smoke there are fewer).

# %% nbgrader={"grade": false, "grade_id": "believed", "locked": false, "schema_version": 3, "solution": true, "task": false}
def cross_validated(kind, predicted):
    """The accuracy that one would believe in, from the training scans alone: a float."""
    x, y = features_of(predicted, training), diagnoses[training]
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    ### BEGIN SOLUTION
    answers_of = np.empty_like(y)
    for seen, held_out in folds.split(x, y):
        classifier = fit_classifier(kind, x[seen], y[seen], seed=0)
        answers_of[held_out] = score_patients(classifier, x[held_out]).argmax(axis=1)
    return np.mean(answers_of == y)
    ### END SOLUTION


believed = {
    (kind, protocol): cross_validated(kind, predicted)
    for kind in ("xgboost", "svm")
    for protocol, predicted in (("in-sample", in_sample), ("out-of-fold", out_of_fold))
}
for (kind, protocol), accuracy in believed.items():
    print(f"{kind:8}{protocol:12} believed {accuracy:.3f}, true {right[kind, protocol].mean():.3f}")

# %% nbgrader={"grade": true, "grade_id": "believed-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert all(0 <= accuracy <= 1 for accuracy in believed.values())
### BEGIN HIDDEN TESTS
from cnr_iemn.patient import group_percentages

y = diagnoses[training]
for (kind, protocol), found in believed.items():
    of_slices = {"in-sample": in_sample, "out-of-fold": out_of_fold}[protocol]
    x = np.stack([group_percentages(of_slices[scans.rows[s]], GROUPS, len(CLASSES)) for s in np.flatnonzero(training)])
    hits = [
        score_patients(fit_classifier(kind, x[a], y[a], 0), x[b]).argmax(axis=1) == y[b]
        for a, b in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(x, y)
    ]
    ways = np.concatenate(hits).mean(), np.mean([of_fold.mean() for of_fold in hits])
    assert min(abs(found - way) for way in ways) < 1e-6, (kind, protocol)
### END HIDDEN TESTS

# %% [markdown]
# ## More than chance?
#
# Two classifiers that answered the *same* patients are compared on those they disagree about: $b$
# patients that only the one had right, $c$ that only the other had right. If neither is better,
# each of the $b + c$ is a toss of a coin. The exact **McNemar test** asks how surprising $b$ heads
# are: `binomtest(b, b + c).pvalue`, and 1 where they never disagree.
#
# With the features of all networks Table 5 prints 87.75 % for XGBoost and 80.61 % for the SVM. By their
# digits these are 86 and 79 of 98 patients (`docs/audit/cnr_iemn.md`). How many only the SVM had right is not printed. It can be any number from 0 to 12, the
# patients that XGBoost had wrong.
#
# **6g (1 point).** What is the p-value of your own XGBoost out-of-fold against in-sample? And what are
# the smallest and the largest that the paper's two counts allow?

# %% nbgrader={"grade": false, "grade_id": "mcnemar", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mcnemar(one, other):
    """The p-value of two arrays, bool (patients,), that say who was right about whom."""
    only_one, only_other = int(np.sum(one & ~other)), int(np.sum(other & ~one))
    return binomtest(only_one, only_one + only_other).pvalue if only_one + only_other else 1.0


# p_own, p_smallest, p_largest = three floats
### BEGIN SOLUTION
p_own = mcnemar(right["xgboost", "out-of-fold"], right["xgboost", "in-sample"])
possible = [binomtest(7 + c, 7 + 2 * c).pvalue for c in range(13)]
p_smallest, p_largest = min(possible), max(possible)
### END SOLUTION
print(f"own: p = {p_own:.3f}; the paper: between {p_smallest:.3f} and {p_largest:.3f}")
for k in (86, 79):
    print(f"{k} of 98: 95 % interval {wilson(k, 98)[0]:.3f} to {wilson(k, 98)[1]:.3f}")

# %% nbgrader={"grade": true, "grade_id": "mcnemar-test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
assert 0 <= p_smallest < p_largest <= 1 and 0 <= p_own <= 1
### BEGIN HIDDEN TESTS
assert abs(p_own - mcnemar(right["xgboost", "in-sample"], right["xgboost", "out-of-fold"])) < 1e-9
xgboost = np.arange(98) < 86
possible = [mcnemar(xgboost, (np.arange(98) >= 98 - c) | (np.arange(98) < 79 - c)) for c in range(13)]
assert abs(p_smallest - min(possible)) < 1e-9 and abs(p_largest - max(possible)) < 1e-9
### END HIDDEN TESTS

# %% [markdown]
# **6h (4 points, graded by hand).** Two or three sentences. Why does the in-sample second stage look
# so much better on its training scans than it is (say what your picture shows), and what did
# out-of-fold features change on your validation scans, for which classifier? Would you write that
# XGBoost is better than the SVM because the one had 86 and the other 79 of 98 right?
#
# *2 points for the reason, as the picture shows it. 1 for a true statement on the own numbers with
# their uncertainty. 1 for an answer to the last question with its reason.*

# %% [markdown] nbgrader={"grade": true, "grade_id": "sentences", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# The forest knows the slices that it was fitted on by heart: in-sample each bar is the label itself,
# and a cross-validated second stage is right about nearly all training scans. Of a new patient's
# infected slices the forest recognises only about half, and the out-of-fold bars show what such a
# patient looks like: gaps within the lesion and an odd false alarm. On the validation scans
# out-of-fold features made XGBoost right about 6 of 48 patients more (ada's; none to 11 more for five
# ids), because in-sample a few clean questions settle every training scan (is group 12 infected?), to
# which a patient with gaps answers no, while the SVM, which weighs all 60 shares at once, changed by
# one or two patients; with 48 patients an interval is a quarter wide, and p is mostly above 0.05.
#
# I would not write that XGBoost is better: 86 and 79 of 98 allow any p from 0.016 to 0.28, the
# best of ten cells is the one that was named, and both learnt from in-sample features, which do not
# harm the two alike.

# %% nbgrader={"grade": false, "grade_id": "answers", "locked": true, "schema_version": 3, "solution": false, "task": false}
# Your numbers, to compare with your neighbour's: whose differ by more than chance?
answers = {
    "infected slices recognised, training scans": float(recall_train),
    "infected slices recognised, validation scans": float(recall_val),
    "XGBoost in-sample, validation accuracy": float(right["xgboost", "in-sample"].mean()),
    "XGBoost out-of-fold, validation accuracy": float(right["xgboost", "out-of-fold"].mean()),
    "SVM in-sample, validation accuracy": float(right["svm", "in-sample"].mean()),
    "SVM out-of-fold, validation accuracy": float(right["svm", "out-of-fold"].mean()),
    "XGBoost in-sample, believed": float(believed["xgboost", "in-sample"]),
    "XGBoost out-of-fold, believed": float(believed["xgboost", "out-of-fold"]),
    "SVM in-sample, believed": float(believed["svm", "in-sample"]),
    "SVM out-of-fold, believed": float(believed["svm", "out-of-fold"]),
    "p of XGBoost out-of-fold against in-sample": float(p_own),
}
print(*(f"{name}: {value:.3f}" for name, value in answers.items()), sep="\n")
