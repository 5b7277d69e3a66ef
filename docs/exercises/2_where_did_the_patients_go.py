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
# # 2. Where did the patients go?
#
# *60 to 90 minutes, 20 points. Paper: Kolárik et al. 2023, section 3.1.1 and Tables 1 to 3. Before
# you begin: "The study on one page" and "Test sets" in `docs/papers/kolarik2023.md`.*
#
# A network is tested on patients that it has not seen, because that is how it will be used. But a
# study does not feed patients to a network: it feeds *tiles*, small squares cut out of clips, and a
# patient has dozens of them. If tiles are dealt out at random, a patient's tiles are in the training
# part and in the test part, and whoever recognises the *patient* knows the answer. You will
#
# 1. write both splits and count the patients that stand on both sides,
# 2. measure what the leak is worth to a model that cannot know anything about lung sliding,
# 3. ask how the tiles of Kolárik et al. were split, from the sizes of their test sets alone.
#
# The videos are phantoms: made by a program, in the file formats of real recordings, so that the
# truth is known. Yours are drawn from your student id; your neighbour's are others.
#
# **How to work.** Run the cells from top to bottom. Replace each `raise NotImplementedError()` and
# each `YOUR ANSWER HERE`. Cells without one are not yours to change: grading puts them back. Before
# you hand in, restart the kernel and run everything once more.

# %% nbgrader={"grade": false, "grade_id": "size", "locked": true, "schema_version": 3, "solution": false, "task": false}
SIZE = "classroom"

# %%
STUDENT = ""  # your student id, as your teacher writes it, such as "ada"

# %% [markdown]
# The next cell makes the phantoms and cuts them, by the project's own `prepare`, into the tiles of
# the paper's data set 2_30x30: the top two rows of tiles of 30x30 px, 60 frames each. It takes about
# a minute, once.

# %% nbgrader={"grade": false, "grade_id": "phantoms", "locked": true, "schema_version": 3, "solution": false, "task": false}
from math import ceil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lungsliding_tf.floors import frame_features
from lungsliding_tf.kolarik2023.config import KolarikConfig
from lungsliding_tf.kolarik2023.data import prepare
from lungsliding_tf.phantom import PhantomConfig, write_dataset
from preprocessing.splits import (
    TEST,
    deal_labels_anew,
    split_patients,
    split_published_leaky_clips,
)
from replication.metrics import Predictions, metrics_with_intervals
from replication.phantoms import seed_of

# Paper: section 3.1: 28 patients with lung sliding and 20 without. The phantoms' videos are shorter.
PATIENTS, SECONDS = {"smoke": ((5, 5), (2.1, 2.3)), "classroom": ((28, 20), (2.1, 4.5))}[SIZE]
SPLITS = {"smoke": 5, "classroom": 40}[SIZE]
seed = seed_of(STUDENT)
data = write_dataset(
    Path("phantoms") / f"2-{SIZE}-{seed}",
    PhantomConfig(present=PATIENTS[0], absent=PATIENTS[1], seed=seed, seconds=SECONDS),
    progress=False,
)
store = prepare(KolarikConfig(data, data.with_name(f"{data.name}-tiles")), "2_30x30", print)
patients = store.column("patient_id")  # of each tile
labels = store.column("label").astype(int)  # of each tile: 1 sliding present, 0 absent
print(f"{len(labels)} tiles of {len(np.unique(patients))} patients, {labels.mean():.0%} with sliding")

# %% [markdown]
# ## Two splits
#
# Section 3.1.1 says that 30 % of the patients test and that no patient is on both sides. The
# obvious line of code does something else: it takes a share of the *rows*.
#
# A split is written here as an array of True (the tile tests) and False (it trains), one for each
# tile. `rng` is a NumPy random generator, such as `np.random.default_rng(3)`; `rng.permutation` and
# `rng.choice(..., replace=False)` help.
#
# **2a (3 points).** Write both splits. Each call draws a new one from `rng`.

# %% nbgrader={"grade": false, "grade_id": "splits", "locked": false, "schema_version": 3, "solution": true, "task": false}
def split_by_tile(patients, rng):
    """True for 30 % of the tiles (rounded to whole ones), drawn at random, whosever they are."""
    ### BEGIN SOLUTION
    test = np.zeros(len(patients), bool)
    test[rng.permutation(len(patients))[: round(0.3 * len(patients))]] = True
    return test
    ### END SOLUTION


def split_by_patient(patients, rng):
    """True for all tiles of 30 % of the patients (rounded to whole ones), drawn at random."""
    ### BEGIN SOLUTION
    names = np.unique(patients)
    return np.isin(patients, rng.choice(names, round(0.3 * len(names)), replace=False))
    ### END SOLUTION


for split in (split_by_tile, split_by_patient):
    test = split(patients, np.random.default_rng(0))
    print(f"{split.__name__}: {np.sum(test)} of {len(test)} tiles test")

# %% nbgrader={"grade": true, "grade_id": "splits-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
for split in (split_by_tile, split_by_patient):
    test = split(patients, np.random.default_rng(0))
    assert test.dtype == bool and len(test) == len(patients)
assert split_by_tile(patients, np.random.default_rng(0)).sum() == round(0.3 * len(patients))
### BEGIN HIDDEN TESTS
names = np.unique(patients)
tested = {split: np.zeros(len(patients), int) for split in (split_by_tile, split_by_patient)}
for number in range(100):
    test = split_by_tile(patients, np.random.default_rng([seed, number]))
    assert test.sum() == round(0.3 * len(patients))
    tested[split_by_tile] += test
    test = split_by_patient(patients, np.random.default_rng([seed, number]))
    assert not set(patients[test]) & set(patients[~test])
    assert len(set(patients[test])) == round(0.3 * len(names))
    tested[split_by_patient] += test
    assert np.array_equal(test, split_by_patient(patients, np.random.default_rng([seed, number])))
assert all(count.max() < 90 for count in tested.values())  # a new draw each time
assert tested[split_by_patient].min() > 0 and tested[split_by_tile].min() > 0
# The numbers are of this student's phantoms: in a course folder its name is the student's.
if Path.cwd().parents[1].name == "autograded":
    assert STUDENT.strip().lower() == Path.cwd().parents[0].name.lower(), "another student's id"
### END HIDDEN TESTS

# %% [markdown]
# **2b (1 point).** Write the check that every study should run: which patients are on both sides?

# %% nbgrader={"grade": false, "grade_id": "leaks", "locked": false, "schema_version": 3, "solution": true, "task": false}
def patients_on_both_sides(patients, test):
    """The patients with tiles in the test part and in the training part: a set of names."""
    ### BEGIN SOLUTION
    return set(patients[test]) & set(patients[~test])
    ### END SOLUTION


for split in (split_by_tile, split_by_patient):
    test = split(patients, np.random.default_rng(0))
    print(f"{split.__name__}: {len(patients_on_both_sides(patients, test))} patients on both sides")

# %% nbgrader={"grade": true, "grade_id": "leaks-test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
assert set(patients_on_both_sides(np.array(["p1", "p1", "p2"]), np.array([True, False, False]))) == {"p1"}
### BEGIN HIDDEN TESTS
from preprocessing.splits import find_leaks

rng = np.random.default_rng(seed)
for test in (rng.random(len(patients)) < 0.02, rng.random(len(patients)) < 0.5, patients == patients[0]):
    found = find_leaks(patients, store.column("file"), store.file_hashes, np.where(test, TEST, "train"))
    assert set(patients_on_both_sides(patients, test)) == set(found.patients)
### END HIDDEN TESTS

# %% [markdown]
# ## A model that knows only looks
#
# What could a model make of a leak? Here is one that cannot know whether a lung slides, because it
# sees **one frame** of a tile and nothing of its motion: five numbers, such as mean, contrast and
# sharpness. The phantoms are made so that a single frame says nothing about the class. It says much
# about the patient, though: gain, depth and beam are the same in all of a patient's tiles.
#
# From here on the splits are the project's own: by patient with the same share of each class, and
# by tile as the paper's numbers suggest. (What `split_patients` sets aside for validation trains
# here, as nothing is chosen.)

# %% nbgrader={"grade": false, "grade_id": "looks", "locked": true, "schema_version": 3, "solution": false, "task": false}
looks = np.array([[*frame_features(tile[0]).values()] for tile in store.samples])
print("of each tile:", *frame_features(store.samples[0][0]), sep="\n   ")


def by_tile(number):
    """The project's split by tile with this seed: True where a tile tests."""
    return split_published_leaky_clips(len(labels), number) == TEST


def by_patient(number, labels=labels):
    """The project's split by patient with this seed: True where a tile tests."""
    return split_patients(patients, labels, number) == TEST


# %% [markdown]
# **2c (2 points).** Can looks name the patient? Scale the five numbers and take the nearest
# neighbour, `make_pipeline(StandardScaler(), KNeighborsClassifier(1))`. Train it on the training
# tiles of `by_tile(0)` to tell *patients* apart. Which share of the test tiles does it give to the
# right patient?

# %% nbgrader={"grade": false, "grade_id": "named", "locked": false, "schema_version": 3, "solution": true, "task": false}
# share_named = float
### BEGIN SOLUTION
test = by_tile(0)
model = make_pipeline(StandardScaler(), KNeighborsClassifier(1))
share_named = model.fit(looks[~test], patients[~test]).score(looks[test], patients[test])
### END SOLUTION
print(f"right patient: {share_named:.1%}; by guessing, about {1 / len(np.unique(patients)):.1%}")

# %% nbgrader={"grade": true, "grade_id": "named-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert 0 <= share_named <= 1
### BEGIN HIDDEN TESTS
train, tested = looks[~by_tile(0)], looks[by_tile(0)]
scaled, scaled_tested = (((x - train.mean(axis=0)) / train.std(axis=0)) for x in (train, tested))
nearest = [np.argmin(((scaled - one) ** 2).sum(axis=1)) for one in scaled_tested]
expected = np.mean(patients[~by_tile(0)][nearest] == patients[by_tile(0)])
assert abs(share_named - expected) <= 1.5 / len(tested)  # a tie may go either way
### END HIDDEN TESTS

# %% [markdown]
# ## What is the leak worth?
#
# **2d (2 points).** Now the same model for the question of the paper: is sliding present? Take
# **five** neighbours, and as the score of a tile the share of its neighbours with sliding
# (`predict_proba`, the column of class 1).

# %% nbgrader={"grade": false, "grade_id": "scores", "locked": false, "schema_version": 3, "solution": true, "task": false}
def lazy_scores(test, labels):
    """Train on the tiles that do not test; the scores (0 to 1) of those that do.

    test: bool (tiles,). labels: int (tiles,), 1 present and 0 absent. Looks are in `looks`.
    """
    ### BEGIN SOLUTION
    model = make_pipeline(StandardScaler(), KNeighborsClassifier(5))
    return model.fit(looks[~test], labels[~test]).predict_proba(looks[test])[:, 1]
    ### END SOLUTION


for name, test in (("by tile", by_tile(0)), ("by patient", by_patient(0))):
    scores = lazy_scores(test, labels)
    metrics = metrics_with_intervals(
        Predictions(np.flatnonzero(test), patients[test], labels[test], scores)
    )
    print(f"{name}, {metrics['n']} tiles of {metrics['patients']} patients, 95 % intervals over patients:")
    for metric in ("accuracy", "auroc"):
        print("   {} {value:.3f} [{low:.3f}, {high:.3f}]".format(metric, **metrics[metric]))
    print(f"   always saying present: accuracy {labels[test].mean():.3f}")

# %% nbgrader={"grade": true, "grade_id": "scores-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert len(lazy_scores(by_tile(0), labels)) == by_tile(0).sum()
### BEGIN HIDDEN TESTS
for test, answers_of in ((by_tile(1), labels), (by_patient(1), labels), (by_tile(2), 1 - labels)):
    train, tested = looks[~test], looks[test]
    scaled, scaled_tested = (((x - train.mean(axis=0)) / train.std(axis=0)) for x in (train, tested))
    expected = [answers_of[~test][np.argsort(((scaled - one) ** 2).sum(axis=1))[:5]].mean() for one in scaled_tested]
    different = np.abs(np.array(expected) - lazy_scores(test, answers_of)) > 1e-6
    assert different.sum() <= 2  # a tie may go either way
### END HIDDEN TESTS

# %% [markdown]
# One split of few patients is luck, so take many. And one more question: is it the *lung* that helps
# in the split by tile? `deal_labels_anew(patients, labels, number)` deals the labels out anew over
# the patients, so that they mean nothing at all any more. A study without a leak falls to chance
# (AUROC 0.5) then.
#
# **2e (2 points).** For the numbers 0 to `SPLITS - 1`, put the AUROC over tiles (`roc_auc_score`)
# into the four lists of `aurocs`. Where labels are dealt anew, those of
# `deal_labels_anew(patients, labels, number)` count for training, for test and for the split
# `by_patient(number, dealt)`.

# %% nbgrader={"grade": false, "grade_id": "aurocs", "locked": false, "schema_version": 3, "solution": true, "task": false}
aurocs = {
    "by tile": [],
    "by patient": [],
    "by tile, labels dealt anew": [],
    "by patient, labels dealt anew": [],
}
### BEGIN SOLUTION
for number in range(SPLITS):
    dealt = deal_labels_anew(patients, labels, number)
    for note, truth in (("", labels), (", labels dealt anew", dealt)):
        for name, test in (("by tile", by_tile(number)), ("by patient", by_patient(number, truth))):
            aurocs[name + note].append(roc_auc_score(truth[test], lazy_scores(test, truth)))
### END SOLUTION
means = {name: np.mean(values) for name, values in aurocs.items()}
for name, values in aurocs.items():
    print(f"{name}: mean AUROC {means[name]:.3f}, from {np.min(values):.3f} to {np.max(values):.3f}")
worth = means["by tile, labels dealt anew"] - means["by patient, labels dealt anew"]
print(f"the leak alone, with labels that mean nothing, is worth {worth:.3f}")

# %% nbgrader={"grade": true, "grade_id": "aurocs-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert all(len(values) == SPLITS for values in aurocs.values())
### BEGIN HIDDEN TESTS
reference = make_pipeline(StandardScaler(), KNeighborsClassifier(5))
for number in range(SPLITS):
    dealt = deal_labels_anew(patients, labels, number)
    for name, test, truth in (
        ("by tile", by_tile(number), labels),
        ("by patient", by_patient(number), labels),
        ("by tile, labels dealt anew", by_tile(number), dealt),
        ("by patient, labels dealt anew", by_patient(number, dealt), dealt),
    ):
        expected = reference.fit(looks[~test], truth[~test]).predict_proba(looks[test])[:, 1]
        assert abs(aurocs[name][number] - roc_auc_score(truth[test], expected)) < 1e-6
### END HIDDEN TESTS

# %% [markdown]
# By patient the true labels may come out *below* chance (0.34 to 0.50 for five ids). That is these phantoms' doing: each
# class has the same mixture of gains, depths and beams, so if a bright patient with sliding tests,
# the bright patients that are left to train from are more often without. Labels dealt anew know
# nothing of that.
#
# **2f (3 points, graded by hand).** Draw the AUROCs of all splits, the four groups in one picture (as
# points, boxes or histograms), with the line of chance, so that one sees at a glance what the leak
# is worth and how much of it needs the true labels.
#
# *1 point for the four groups with their names, 1 for the spread over splits, not the means alone,
# 1 for the line of chance and the name of the axis.*

# %% nbgrader={"grade": true, "grade_id": "leak-picture", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
figure, axis = plt.subplots(figsize=(8, 3.5))
for place, values in enumerate(aurocs.values()):
    shift = np.random.default_rng(0).uniform(-0.2, 0.2, len(values))
    axis.plot(values, place + shift, "o", alpha=0.5)
    axis.plot(np.mean(values), place, "k|", markersize=40)
axis.axvline(0.5, color="k", linestyle=":")
axis.set(xlabel=f"AUROC over tiles, {SPLITS} splits (dotted: chance)", yticks=range(4), yticklabels=aurocs)
axis.invert_yaxis()
### END SOLUTION

# %% [markdown]
# ## Kolárik's test sets
#
# The paper states how many tiles each data set has. It does not state how many of them tested, but
# accuracy, sensitivity and F1 to four digits give that away (exercise 3 shows how):
#
# | data set | tiles stated (section 3.1.1) | tiles tested (from Tables 1 and 2) |
# |---|---|---|
# | 2_30x30 | 1,928 | 386 |
# | all_30x30 | 7,774 | 1,555 |
# | 2_60x60 | 890 | 178 |
# | all_60x60 | 1,647 | 330 |
#
# **2g (1 point).** Find the rule that gives all four numbers to the tile.

# %% nbgrader={"grade": false, "grade_id": "rule", "locked": false, "schema_version": 3, "solution": true, "task": false}
KOLARIK = {1928: 386, 7774: 1555, 890: 178, 1647: 330}
for n, tested in KOLARIK.items():
    print(f"{tested} of {n}: {tested / n:.4%}")


def rule(n):
    """How many of n tiles test, a whole number."""
    ### BEGIN SOLUTION
    return ceil(0.2 * n)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "rule-test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
assert all(rule(n) == tested for n, tested in KOLARIK.items())
### BEGIN HIDDEN TESTS
from sklearn.model_selection import train_test_split

for n in (len(labels), 326, 663, 1001, 1002, 1003, 1004, 4321):
    assert rule(n) == len(train_test_split(np.arange(n), test_size=0.2, random_state=0)[1])
### END HIDDEN TESTS

# %% [markdown]
# Could a split by patient have done that? A patient brings all its tiles or none, so the number of
# tiles that test depends on who was drawn.
#
# **2h (2 points).** Draw 200 splits by patient of your phantoms, `by_patient(0)` to
# `by_patient(199)`, and put the number of tiles that test in each into `sizes`. In how many of the
# 200 is it `rule(n)`, to the tile (`hits`)?

# %% nbgrader={"grade": false, "grade_id": "sizes", "locked": false, "schema_version": 3, "solution": true, "task": false}
# sizes = list of 200 whole numbers
# hits = int
### BEGIN SOLUTION
sizes = [by_patient(number).sum() for number in range(200)]
hits = sum(size == rule(len(labels)) for size in sizes)
### END SOLUTION
shares = 100 * np.array(sizes) / len(labels)
print(f"{shares.min():.1f} to {shares.max():.1f} % of the tiles, {len(set(sizes))} different numbers; {hits} hits")
figure, axis = plt.subplots(figsize=(8, 3))
axis.hist(shares, bins=25)
axis.axvline(20, color="k", linestyle="--", label="20 % of the tiles")
axis.axvline(30, color="k", linestyle=":", label="30 % of the tiles")
axis.set(xlabel="tiles that test (% of all), 30 % of the patients drawn", ylabel="splits")
axis.legend()

# %% nbgrader={"grade": true, "grade_id": "sizes-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert len(sizes) == 200
### BEGIN HIDDEN TESTS
expected = [(split_patients(patients, labels, number) == TEST).sum() for number in range(200)]
assert list(map(int, sizes)) == list(map(int, expected))
assert int(hits) == sum(size == ceil(0.2 * len(labels)) for size in expected)
### END HIDDEN TESTS

# %% [markdown]
# Your videos last 2 to 4.5 seconds. The paper's last up to 18, so that its patients differ more in
# their number of tiles, and sizes spread further than yours.
#
# **2i (4 points, graded by hand).** Two sentences. What did the model learn in the split by tile,
# and how do the labels dealt anew and the named patients show it? And what do the four sizes say
# about the split of Kolárik et al., and what can they *not* say about the accuracy that they print?
#
# *2 points for what the model learned, with both pieces of evidence; 1 for what four sizes say about
# the split; 1 for what they, phantoms and this model cannot measure.*

# %% [markdown] nbgrader={"grade": true, "grade_id": "sentences", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# It learned to recognise patients: one frame names the right one far more often than guessing does,
# and by tile the AUROC is as high with labels that mean nothing as with the true ones, while by
# patient, where there is nobody to recognise, those fall to chance. Four test sets that hold 20 % of
# the tiles, rounded up, to the tile, are what `train_test_split` gives and what draws of 30 % of the
# patients would hardly give once, so that most likely the tiles were split and not the patients; by
# how much the printed accuracies are too high the sizes do not say, because that depends on how far
# a network trained on real tiles relies on the patient, which neither phantoms nor this lazy model
# can tell.

# %% nbgrader={"grade": false, "grade_id": "answers", "locked": true, "schema_version": 3, "solution": false, "task": false}
# Your numbers, to compare with your neighbour's: whose differ by more than chance?
answers = {
    "share of tiles given to the right patient": float(share_named),
    **{f"mean AUROC {name}": float(mean) for name, mean in means.items()},
    "what the leak alone is worth": float(worth),
    "smallest test set by patient, % of the tiles": float(min(shares)),
    "largest": float(max(shares)),
    "of 200, to the tile as by the rule": float(hits),
}
print(*(f"{name}: {value:.3f}" for name, value in answers.items()), sep="\n")

# %% [markdown]
# **If you have time (no points).** And the paper's network? Set `NETWORK = True`: the next cell trains
# the project's ResNet3D-18 for eight epochs with either split, in about five minutes on two cores,
# and prints its AUROC. Lungs that slide are there to be seen now, so by patient it need not stay at
# chance. Is the difference as large as for the lazy model, and would one seed tell you?

# %%
NETWORK = False
if NETWORK:
    from lungsliding_tf.kolarik2023.data import prepare_all
    from lungsliding_tf.kolarik2023.train import run_study

    for protocol in ("patient-wise", "published-leaky-clips"):
        settings = KolarikConfig(
            data, store.folder.parents[1], cell=("2_30x30",), depth=(18,), protocol=protocol,
            epochs=8, batch_size=16, learning_rate=3e-4, batch_norm_momentum=0.9, smooth_samples=2,
        )
        run_study(settings, prepare_all(settings, print), print)
