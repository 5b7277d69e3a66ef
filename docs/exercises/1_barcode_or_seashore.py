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
# # 1. Barcode or seashore?
#
# *60 to 90 minutes, 20 points. Paper: Kolárik et al. 2023, sections 2 and 4.4, Figure 1 and
# Table 5. Before you begin: "The study on one page" in `docs/papers/kolarik2023.md`.*
#
# When you breathe, your lung slides along the chest wall. On ultrasound a doctor checks that with
# **M-mode**: one column of pixels, drawn again and again from left to right as time goes by. A lung
# that slides writes a grainy pattern under the still lines of the wall (the *seashore*). A lung
# that does not slide writes horizontal lines all the way down (the *barcode*). You will
#
# 1. make an M-mode image from a video by hand,
# 2. try to tell the classes apart by eye,
# 3. tell them apart by one number, and measure how well with a ROC curve.
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

# %% nbgrader={"grade": false, "grade_id": "phantoms", "locked": true, "schema_version": 3, "solution": false, "task": false}
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from lungsliding_tf.floors import frame_difference
from lungsliding_tf.labels import read_labels
from lungsliding_tf.phantom import PhantomConfig, write_dataset
from preprocessing.clips import ClipCount, read_clips
from preprocessing.mmode import MMODE_FRAMES, read_mmode, region_columns
from preprocessing.roi import load_regions
from preprocessing.video import probe, unified_geometry
from replication.phantoms import seed_of

PATIENTS = {"smoke": (4, 3), "classroom": (30, 20)}[SIZE]
seed = seed_of(STUDENT)
data = write_dataset(
    Path("phantoms") / f"1-{SIZE}-{seed}",
    PhantomConfig(present=PATIENTS[0], absent=PATIENTS[1], seed=seed, seconds=(2.2, 2.6)),
    progress=False,
)
videos = read_labels(data)
print(f"{len(videos)} videos, {sum(v.label for v in videos)} with sliding")

# %% [markdown]
# ## From a video to an M-mode image
#
# A video becomes *clips*: `clip.frames` is an array of gray values, `uint8`, of shape
# `(frames, rows, columns)`. The *region* is what a person marked: the pleural line and the lung
# below it, between two ribs. Here is the first video, and one column through its region.

# %% nbgrader={"grade": false, "grade_id": "first-video", "locked": true, "schema_version": 3, "solution": false, "task": false}
info = probe(videos[0].path)
region = load_regions(info.path, info)[0]
polygon = unified_geometry(info).to_unified(np.array(region.polygon))
clip = next(read_clips(info, stretch=False, count=ClipCount(), length=MMODE_FRAMES))
x, top, bottom = region_columns(polygon, 8)[4]
print("frames", clip.frames.shape, "column", x, "rows", top, "to", bottom)
plt.imshow(clip.frames[0], cmap="gray")
plt.plot(*np.vstack([polygon, polygon[:1]]).T, color="orange")
plt.plot([x, x], [top, bottom], color="cyan")
plt.axis("off")

# %% [markdown]
# **1a (3 points).** Write the function that cuts an M-mode image: depth goes down, time to the
# right. No loop is needed.

# %% nbgrader={"grade": false, "grade_id": "mmode", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mmode_by_hand(frames, x, top, bottom):
    """The M-mode image of column `x`, rows `top` to `bottom` (not included).

    frames: uint8 (frames, rows, columns). Returns uint8 (bottom - top, frames).
    """
    ### BEGIN SOLUTION
    return frames[:, top:bottom, x].T
    ### END SOLUTION


plt.imshow(mmode_by_hand(clip.frames, x, top, bottom), cmap="gray", aspect="auto")
plt.xlabel("time (frames, 30 in a second)")
plt.ylabel("depth (px)")

# %% nbgrader={"grade": true, "grade_id": "mmode-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
image = mmode_by_hand(clip.frames, x, top, bottom)
assert image.shape == (bottom - top, MMODE_FRAMES), "depth has to go down and time to the right"
assert image.dtype == np.uint8
### BEGIN HIDDEN TESTS
from preprocessing.mmode import cut_mmode

for place in region_columns(polygon, 5):
    expected = cut_mmode(clip, *place, height=place[2] - place[1]).image
    assert np.array_equal(mmode_by_hand(clip.frames, *place), expected)
# The numbers are of this student's phantoms: in a course folder its name is the student's.
if Path.cwd().parents[1].name == "autograded":
    assert STUDENT.strip().lower() == Path.cwd().parents[0].name.lower(), "another student's id"
### END HIDDEN TESTS

# %% [markdown]
# ## By eye
#
# The next cell reads all M-mode images with the project's own function, up to eight columns of each
# video, and shows you six patients without saying who is who.

# %% nbgrader={"grade": false, "grade_id": "blinded", "locked": true, "schema_version": 3, "solution": false, "task": false}
def read_images(video):
    """All M-mode images of a video: a list of uint8 (128, 64)."""
    info = probe(video.path)
    regions = load_regions(info.path, info)
    return [m.image for _, _, m in read_mmode(info, regions, stretch=False, count=ClipCount())]


images = {video.patient: read_images(video) for video in videos}
labels = {video.patient: video.label for video in videos}  # 1 sliding present, 0 absent
blinded = [str(p) for p in np.random.default_rng(seed).permutation(list(images))[:6]]

figure, axes = plt.subplots(2, 3, figsize=(11, 6))
for axis, patient, letter in zip(axes.flat, blinded, "ABCDEF"):
    axis.imshow(images[patient][len(images[patient]) // 2], cmap="gray", aspect="auto")
    axis.set_title(letter)
    axis.axis("off")

# %% [markdown]
# **1b (2 points).** Write down what you see, A to F, *before* you go on. Any honest answer gets the
# points; these phantoms are made to be hard. Then count how many you had right.

# %% nbgrader={"grade": false, "grade_id": "by-eye", "locked": false, "schema_version": 3, "solution": true, "task": false}
# by_eye = ["present", "absent", ...] for A to F
### BEGIN SOLUTION
by_eye = ["present"] * 6
### END SOLUTION

truth = ["present" if labels[patient] else "absent" for patient in blinded]
# eye_right = how many of the six are right, an int
### BEGIN SOLUTION
eye_right = sum(seen == true for seen, true in zip(by_eye, truth))
### END SOLUTION
print(f"by eye {eye_right} of 6 right; the truth:", *truth)

# %% nbgrader={"grade": true, "grade_id": "by-eye-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert len(by_eye) == 6 and set(by_eye) <= {"present", "absent"}
### BEGIN HIDDEN TESTS
assert int(eye_right) == sum(by_eye[i] == ("absent", "present")[labels[p]] for i, p in enumerate(blinded))
### END HIDDEN TESTS

# %% [markdown]
# ## By one number
#
# In a barcode the pattern *persists*: an instant and the one a third of a second later look alike,
# but for flicker, which is there in every frame. In a seashore the pattern moves on. So compare two
# differences between columns of the M-mode image (its columns are instants):
#
# $$\text{persistence ratio} = \frac{\text{mean } |I(t+10) - I(t)|}{\text{mean } |I(t+1) - I(t)|}$$
#
# Means are over all depths and all instants for which both are there. Mind that `uint8` cannot hold
# negative numbers.
#
# **1c (4 points).** Write it.

# %% nbgrader={"grade": false, "grade_id": "ratio", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ratio_by_hand(image):
    """The persistence ratio of an M-mode image, uint8 (depth, frames); a float."""
    ### BEGIN SOLUTION
    image = image.astype(float)
    slow = np.abs(image[:, 10:] - image[:, :-10]).mean()
    fast = np.abs(image[:, 1:] - image[:, :-1]).mean()
    return slow / fast
    ### END SOLUTION


print(f"{ratio_by_hand(images[blinded[0]][0]):.3f}")

# %% nbgrader={"grade": true, "grade_id": "ratio-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
example = np.array([[0, 9] * 8, [5] * 8 + [8] * 8], np.uint8)  # flickers; changes once
assert abs(ratio_by_hand(example) - 0.326) < 0.001
### BEGIN HIDDEN TESTS
from lungsliding_tf.floors import persistence_ratio

for patient in blinded:
    for one in images[patient]:
        as_clip = one.T[:, :, None]  # frames, rows, one column
        assert abs(ratio_by_hand(one) - persistence_ratio(as_clip)) < 1e-6
### END HIDDEN TESTS

# %% [markdown]
# ## ROC
#
# A patient is what counts, not an image: take the **mean ratio over a patient's images**.
#
# **1d (3 points).** Put the patients' ratios into `ratios`, in the order of `patients`, and the area
# under the ROC curve for sliding *present* into `auroc`. Use `roc_auc_score`.

# %% nbgrader={"grade": false, "grade_id": "auroc", "locked": false, "schema_version": 3, "solution": true, "task": false}
patients = sorted(images)
truths = np.array([labels[patient] for patient in patients])
# ratios = array (patients,)
# auroc = float
### BEGIN SOLUTION
ratios = np.array([np.mean([ratio_by_hand(i) for i in images[p]]) for p in patients])
auroc = roc_auc_score(truths, ratios)
### END SOLUTION
# "Does anything move?" is the lazier question, and the floor that any network has to beat.
movement = np.array([np.mean([frame_difference(i.T[:, :, None]) for i in images[p]]) for p in patients])
auroc_movement = roc_auc_score(truths, movement)
print(f"AUROC of the persistence ratio {auroc:.3f}, of plain movement {auroc_movement:.3f}")

# %% nbgrader={"grade": true, "grade_id": "auroc-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
assert len(ratios) == len(patients) and 0 <= auroc <= 1
### BEGIN HIDDEN TESTS
from lungsliding_tf.floors import persistence_ratio

expected = [np.mean([persistence_ratio(i.T[:, :, None]) for i in images[p]]) for p in patients]
assert np.allclose(ratios, expected, rtol=1e-6)
assert abs(auroc - roc_auc_score(truths, expected)) < 1e-6
### END HIDDEN TESTS

# %% [markdown]
# **1e (1 point).** In an emergency a lung that does not slide must not be missed. What is the
# largest share of patients *with* sliding that you can still recognise (sensitivity for present),
# if at least 80 % of those *without* have to be recognised (specificity)? Read it off `roc_curve`.
# (Ask for `1 - false_positive_rate >= 0.8`: in floating point `1 - 0.8` is a little less than 0.2.)

# %% nbgrader={"grade": false, "grade_id": "working-point", "locked": false, "schema_version": 3, "solution": true, "task": false}
# sensitivity_at_80 = float
### BEGIN SOLUTION
false_positive_rate, true_positive_rate, _ = roc_curve(truths, ratios)
sensitivity_at_80 = true_positive_rate[1 - false_positive_rate >= 0.8].max()
### END SOLUTION
print(f"sensitivity {sensitivity_at_80:.3f} at a specificity of 0.8 or more")

# %% nbgrader={"grade": true, "grade_id": "working-point-test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
assert 0 <= sensitivity_at_80 <= 1
### BEGIN HIDDEN TESTS
values = np.asarray(ratios)
absent, present = np.sort(values[truths == 0]), values[truths == 1]
best = max(np.mean(present >= t) for t in [*values, np.inf] if np.mean(absent < t) >= 0.8)
assert abs(sensitivity_at_80 - best) < 1e-6
### END HIDDEN TESTS

# %% [markdown]
# **1f (3 points, graded by hand).** Draw the ROC curves of the ratio and of plain movement in one
# picture, with the diagonal of chance, names on both axes and a legend with both areas.
#
# *1 point for both curves, 1 for the diagonal and the axes, 1 for the legend.*

# %% nbgrader={"grade": true, "grade_id": "roc-picture", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
figure, axis = plt.subplots(figsize=(5, 5))
for name, values, area in (("persistence ratio", ratios, auroc), ("movement", movement, auroc_movement)):
    false_positive_rate, true_positive_rate, _ = roc_curve(truths, values)
    axis.plot(false_positive_rate, true_positive_rate, label=f"{name}, area {area:.2f}")
axis.plot([0, 1], [0, 1], "k:", label="chance")
axis.set(xlabel="1 - specificity", ylabel="sensitivity (sliding present)", aspect="equal")
axis.legend()
### END SOLUTION

# %% [markdown]
# **1g (4 points, graded by hand).** Two sentences. Why is plain movement close to chance on these
# phantoms although a sliding lung moves? ("Phantoms" in `docs/data-ultrasound.md` says what is in
# them.) And look at your two worst mistakes (the cell below draws them): what misleads the ratio there?
#
# *2 points for naming what else moves, in both classes; 2 for a reason that is seen in the pictures.*

# %% nbgrader={"grade": false, "grade_id": "mistakes", "locked": true, "schema_version": 3, "solution": false, "task": false}
ranks = np.argsort(np.argsort(ratios)) / len(ratios)
worst = np.argsort(-np.abs(ranks - truths))[:2]
figure, axes = plt.subplots(1, 2, figsize=(9, 4))
for axis, number in zip(axes, worst):
    patient = patients[number]
    axis.imshow(images[patient][len(images[patient]) // 2], cmap="gray", aspect="auto")
    axis.set_title(f"{patient}: {('absent', 'present')[truths[number]]}, ratio {ratios[number]:.2f}")
    axis.axis("off")

# %% [markdown] nbgrader={"grade": true, "grade_id": "sentences", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# In both classes the probe drifts, wall and lung move with breath and heart and speckle flickers,
# and the phantoms without sliding exchange as much of their pattern in each frame as sliding would
# change, so the amount of movement says next to nothing. The worst mistakes are a patient without
# sliding whose bright lines go up and down with the probe, which adds up over a third of a second
# as sliding does, and one with sliding whose stroke is so short, or its pattern so faint, that
# flicker is all that differs between two instants.

# %% nbgrader={"grade": false, "grade_id": "answers", "locked": true, "schema_version": 3, "solution": false, "task": false}
# Your numbers, to compare with your neighbour's: whose differ by more than chance?
answers = {
    "AUROC of the persistence ratio": float(auroc),
    "AUROC of plain movement": float(auroc_movement),
    "sensitivity at a specificity of 0.8": float(sensitivity_at_80),
}
print(*(f"{name}: {value:.3f}" for name, value in answers.items()), sep="\n")
