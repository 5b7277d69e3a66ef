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
# # 5. Shortcut or disease?
#
# *90 to 120 minutes, 20 points. Paper: V-BreathNet (Nagullas et al.), sections 3.1, 3.3 and 4 and
# Figure 3. Before you begin: "The study on one page" in `docs/papers/vbreathnet.md`.*
#
# In the database of the paper nearly all films of each class come from other hospitals. Their films differ in more
# than the disease: in the words written on them and where these stand, in margins, in exposure. A
# network that learns to tell the hospitals apart is right on every test film *of the same database*
# and knows no disease. That is a **shortcut**. With real films nobody can take it away to see what
# is left. With phantoms we can:
#
# * **plain** films: normal, COVID-19 or viral pneumonia; three in four have a marker, any word at
#   any height, drawn without the class,
# * **planted** films: the same chests, the same lesions, the same noise, but each class has a
#   marker of its own at a place of its own.
#
# You will measure what a linear model reads off thumbnails and borders, train V-BreathNet on both
# cohorts, ask each network about the other's films, and look where the networks look. The phantoms
# are drawn from your student id; your neighbour's are others.
#
# **How to work.** Run the cells from top to bottom. Replace each `raise NotImplementedError()` and
# each `YOUR ANSWER HERE`. Cells without one are not yours to change: grading puts them back. Before
# you hand in, restart the kernel and run everything once more.

# %% nbgrader={"grade": false, "grade_id": "size", "locked": true, "schema_version": 3, "solution": false, "task": false}
SIZE = "classroom"

# %%
STUDENT = ""  # your student id, as your teacher writes it, such as "ada"

# %% nbgrader={"grade": false, "grade_id": "phantoms", "locked": true, "schema_version": 3, "solution": false, "task": false}
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import accuracy_score

from preprocessing.splits import TEST, TRAIN, VAL
from replication.cli import quiet_start
from replication.floors import majority_floor, ridge_floor, thumbnail_floor
from replication.overlays import HEAT_COLOURS, HEAT_OPACITY
from replication.phantoms import seed_of
from vbreathnet.config import VBreathNetConfig
from vbreathnet.phantom import write_cohort

with quiet_start():  # TensorFlow has much to say
    import keras

    from replication.batches import to_network_input
    from replication.environment import describe_environment
    from replication.heatmaps import gradcam
    from replication.run import RunFolder, Training, fit, load_model
    from vbreathnet.data import prepare
    from vbreathnet.explain import resized_lung_mask
    from vbreathnet.model import build_vbreathnet
    from vbreathnet.split import split_samples

    keras.ops.zeros(1)  # it looks for a GPU now

# Films of each class, how many of them test, epochs.
FILMS, TESTED, EPOCHS = {"smoke": (10, 3, 1), "classroom": (160, 30, 12)}[SIZE]
SIDE, SCALING = 96, "standardized"
COHORTS = ("plain", "planted")
seed = seed_of(STUDENT)
folder = Path("phantoms") / f"5-{SIZE}-{seed}"
stores = {}
for cohort in COHORTS:
    data = write_cohort(folder / cohort, FILMS, seed, size=224, marker_follows_class=cohort == "planted", progress=False)
    config = VBreathNetConfig(
        data, folder / f"{cohort}-study", image_size=SIDE, test_per_class=TESTED, per_class=0,
        augmentation="none", batch_size=8,
    )
    stores[cohort] = prepare(config, lambda line: None)

# One split for both: film 0 of one cohort is the chest of film 0 of the other.
samples = {"plain": split_samples(config, stores["plain"], seed=0)}
samples["planted"] = replace(samples["plain"], store=stores["planted"])
CLASSES = config.classes
print(samples["plain"].describe(CLASSES))

# %% [markdown]
# `images[cohort]` holds the films, `uint8`, film 0 of one cohort being the chest of film 0 of the
# other. `labels` are their classes (an index into `CLASSES`), `train` and `test` the numbers of the
# films that train and that test; no patient is in both. Blurred films and films of low contrast
# are in neither (section 3.1). `lungs` are the lung masks. Here is one chest of each class from
# both cohorts.

# %% nbgrader={"grade": false, "grade_id": "look", "locked": true, "schema_version": 3, "solution": false, "task": false}
images = {cohort: np.array(stores[cohort].samples) for cohort in COHORTS}
labels = stores["plain"].column("label").astype(int)
train, test = (samples["plain"].rows[samples["plain"].of(part)] for part in (TRAIN, TEST))
lungs = np.stack([resized_lung_mask(config, row["file"]) for row in stores["plain"].index])
shown = [next(row for row in test if labels[row] == label) for label in range(3)]

figure, axes = plt.subplots(2, 3, figsize=(9, 6.4), layout="constrained")
for line, cohort in zip(axes, COHORTS):
    for axis, row in zip(line, shown):
        axis.imshow(images[cohort][row], cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"{cohort}: {CLASSES[labels[row]]}")
        axis.axis("off")

# %% [markdown]
# ## Floors
#
# An accuracy means little unless it is clearly above a **floor**: what a model reaches that cannot
# see any disease. The project has three. *Thumbnails*: a linear model (a ridge classifier) on films
# averaged down to 16x16. *Border*: the same model on the frame of the film alone, outside the
# lungs. *Majority*: always the commonest class of the training part.
#
# **5a (3 points).** Write the features of the border: average the film down to 56x56
# (`cv2.resize` with `interpolation=cv2.INTER_AREA`, of the film as `np.float32`) and return its
# outermost four pixels on all sides: 832 numbers, in any order, each pixel once.

# %% nbgrader={"grade": false, "grade_id": "border", "locked": false, "schema_version": 3, "solution": true, "task": false}
def border_of(image):
    """The frame of a film, uint8 (height, width), as float32 (832,)."""
    ### BEGIN SOLUTION
    small = cv2.resize(image.astype(np.float32), (56, 56), interpolation=cv2.INTER_AREA)
    frame = np.ones((56, 56), bool)
    frame[4:-4, 4:-4] = False
    return small[frame]
    ### END SOLUTION


print(border_of(images["plain"][0]).shape)

# %% nbgrader={"grade": true, "grade_id": "border-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
pattern = np.zeros((56, 56), np.uint8)
pattern[3, 20], pattern[30, 4], pattern[50, 2] = 100, 50, 7  # the second one is inside
assert sorted(border_of(pattern))[-3:] == [0, 7, 100] and len(border_of(pattern)) == 832
### BEGIN HIDDEN TESTS
from vbreathnet.floors import border_floor

corners = np.zeros((56, 56), np.uint8)
corners[:4, :4] = np.arange(1, 17).reshape(4, 4)
assert np.array_equal(np.sort(border_of(corners))[-16:], np.arange(1, 17)), "a corner is there twice, or not at all"
for cohort in COHORTS:
    parts = (images[cohort][train], labels[train], images[cohort][test], labels[test])
    same = ridge_floor(border_of, *parts)["predicted"] == border_floor(*parts)["predicted"]
    assert same.mean() > 0.98
# The numbers are of this student's phantoms: in a course folder its name is the student's.
if Path.cwd().parents[1].name == "autograded":
    assert STUDENT.strip().lower() == Path.cwd().parents[0].name.lower(), "another student's id"
### END HIDDEN TESTS

# %% [markdown]
# **5b (2 points).** Put the accuracies on the test films into `floors`, of both cohorts. Each
# function takes `(train_images, train_labels, test_images, test_labels)` and returns a dict with
# `"accuracy"`: `thumbnail_floor`, `majority_floor`, and `ridge_floor`, which takes your `border_of`
# before the four.

# %% nbgrader={"grade": false, "grade_id": "floors", "locked": false, "schema_version": 3, "solution": true, "task": false}
# floors = {cohort: {"thumbnails": ..., "border": ..., "majority": ...} for both cohorts}
### BEGIN SOLUTION
floors = {}
for cohort in COHORTS:
    parts = (images[cohort][train], labels[train], images[cohort][test], labels[test])
    floors[cohort] = {
        "thumbnails": thumbnail_floor(*parts)["accuracy"],
        "border": ridge_floor(border_of, *parts)["accuracy"],
        "majority": majority_floor(*parts)["accuracy"],
    }
### END SOLUTION
for cohort in COHORTS:
    print(cohort, *(f"{name} {value:.3f}" for name, value in floors[cohort].items()))

# %% nbgrader={"grade": true, "grade_id": "floors-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert set(floors) == set(COHORTS)
### BEGIN HIDDEN TESTS
from vbreathnet.floors import border_floor

for cohort in COHORTS:
    parts = (images[cohort][train], labels[train], images[cohort][test], labels[test])
    assert abs(floors[cohort]["thumbnails"] - thumbnail_floor(*parts)["accuracy"]) < 1e-6
    assert abs(floors[cohort]["border"] - border_floor(*parts)["accuracy"]) < 1.5 / len(test)
    assert abs(floors[cohort]["majority"] - 1 / len(CLASSES)) < 1e-6  # as many of each class test
### END HIDDEN TESTS

# %% [markdown]
# On plain films a floor may lie a little below one in three: exercise 2 says why a split of a cohort
# with equal classes can do that.
#
# ## Two networks
#
# The next cell trains V-BreathNet on both cohorts with the same settings: about a minute each. Of
# the epochs it keeps the one of the highest accuracy on the validation part, as section 4 does. A
# finished run is not done again. Chance is one in three.

# %% nbgrader={"grade": false, "grade_id": "train", "locked": true, "schema_version": 3, "solution": false, "task": false}
def train_network(cohort):
    """V-BreathNet after training on a cohort."""
    run = RunFolder(folder / f"{cohort}-run", {"cohort": cohort, "seed": seed, "films": FILMS, "epochs": EPOCHS})
    parts = samples[cohort]
    training = Training(
        build=partial(
            build_vbreathnet, (SIDE, SIDE, 3), dropout=0.0, batch_norm_momentum=0.9,
            activation_order="conv-norm-relu",
        ),
        optimizer=lambda: keras.optimizers.RMSprop(1e-3),  # section 3.3
        train_data=lambda epoch: parts.training_epoch(config, epoch, SCALING),
        val_data=parts.batches(config, parts.of(VAL), SCALING),
        epochs=EPOCHS,
        seed=0,
        loss="categorical_crossentropy",
        chosen_by="val_accuracy",
        fuse_batch_norm=True,
    )
    if not run.trained:
        fit(run, training, describe_environment(parts.store.fingerprint, "float32"))
    return load_model(run)


networks = {cohort: train_network(cohort) for cohort in COHORTS}
inputs = {  # of the test films, as the networks were trained: mean 0 and SD 1
    cohort: to_network_input(images[cohort][test], scaling=SCALING) for cohort in COHORTS
}

# %% [markdown]
# Now the test that unmasks a shortcut: ask each network about the test films of *both* cohorts.
# They are the same chests with the same lesions. A network that looks at the disease does not care
# which marker is on them.
#
# **5c (3 points).** Put the network's answers, class indices, into `answers_of[trained, asked]`, and
# their accuracies into `accuracies[trained, asked]`, where both are one of `COHORTS`.
# `network.predict(inputs[asked], verbose=0)` gives a score for each film and class.

# %% nbgrader={"grade": false, "grade_id": "accuracy", "locked": false, "schema_version": 3, "solution": true, "task": false}
# answers_of = {(trained, asked): array (test films,)}
# accuracies = {(trained, asked): float}
### BEGIN SOLUTION
answers_of = {
    (trained, asked): networks[trained].predict(inputs[asked], verbose=0).argmax(axis=1)
    for trained in COHORTS
    for asked in COHORTS
}
accuracies = {pair: accuracy_score(labels[test], said) for pair, said in answers_of.items()}
### END SOLUTION
for (trained, asked), value in accuracies.items():
    print(f"trained on {trained}, asked about {asked}: {value:.3f}")

# %% nbgrader={"grade": true, "grade_id": "accuracy-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
assert len(answers_of) == len(accuracies) == 4
### BEGIN HIDDEN TESTS
for (trained, asked), said in answers_of.items():
    scores = networks[trained].predict(inputs[asked], verbose=0)
    assert np.array_equal(np.argmax(scores, axis=1), said)
    assert abs(accuracies[trained, asked] - np.mean(np.asarray(said) == labels[test])) < 1e-6
### END HIDDEN TESTS

# %% [markdown]
# **5d (2 points).** Two numbers for the network that was trained on planted films: `drop`, its
# accuracy on planted less that on plain films, and `changed`, the share of test chests for which it
# gives another answer when nothing but the marker is another. Then `changed_plain`, the same share
# for the network that was trained on plain films.

# %% nbgrader={"grade": false, "grade_id": "drop", "locked": false, "schema_version": 3, "solution": true, "task": false}
# drop = float
# changed = float
# changed_plain = float
### BEGIN SOLUTION
drop = accuracies["planted", "planted"] - accuracies["planted", "plain"]
changed = np.mean(answers_of["planted", "planted"] != answers_of["planted", "plain"])
changed_plain = np.mean(answers_of["plain", "planted"] != answers_of["plain", "plain"])
### END SOLUTION
print(f"drop {drop:.3f}; other answers: {changed:.3f}, trained on plain films {changed_plain:.3f}")

# %% nbgrader={"grade": true, "grade_id": "drop-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert 0 <= changed <= 1 and 0 <= changed_plain <= 1
### BEGIN HIDDEN TESTS
said = {pair: networks[pair[0]].predict(inputs[pair[1]], verbose=0).argmax(axis=1) for pair in accuracies}
right = {pair: np.mean(one == labels[test]) for pair, one in said.items()}
assert abs(drop - (right["planted", "planted"] - right["planted", "plain"])) < 1e-6
assert abs(changed - np.mean(said["planted", "plain"] != said["planted", "planted"])) < 1e-6
assert abs(changed_plain - np.mean(said["plain", "plain"] != said["plain", "planted"])) < 1e-6
### END HIDDEN TESTS

# %% [markdown]
# ## Where do they look?
#
# Section 3.3 and Figure 3 lay Grad-CAM over a film and find the affected area. A picture convinces
# easily; a number is harder to fool. With lung masks we can say which **share of a map's heat lies
# inside the lungs**. Heat spread evenly over the film would have the lungs' share of the film
# there: that is the chance level.
#
# Grad-CAM can be taken at any layer. The last one has 3x3 cells at this size, too few to tell a
# lung from the edge of the film. The third block has 24x24. The next cell makes maps of both, of
# each network on its own films and for the class that it names.

# %% nbgrader={"grade": false, "grade_id": "maps", "locked": true, "schema_version": 3, "solution": false, "task": false}
LAYERS = {"last block": "block6_relu", "third block": "block3_relu"}
maps = {  # float32 (test films, height, width), 0 or more
    (cohort, name): gradcam(networks[cohort], inputs[cohort], answers_of[cohort, cohort], layer)
    for cohort in COHORTS
    for name, layer in LAYERS.items()
}

# %% [markdown]
# **5e (3 points).** Write the share of one map. Then put its mean over the test films into
# `masses[cohort, name]`, for both cohorts and both layers. A map that is 0 everywhere has no share:
# return `np.nan` for it and use `np.nanmean`. `chance_mass` is the lungs' mean share of the film.

# %% nbgrader={"grade": false, "grade_id": "mass", "locked": false, "schema_version": 3, "solution": true, "task": false}
def share_inside(heat, lung):
    """Share of the heat that lies inside the lungs, 0 to 1.

    heat: float (height, width). lung: bool (height, width).
    """
    ### BEGIN SOLUTION
    return heat[lung].sum() / heat.sum() if heat.any() else np.nan
    ### END SOLUTION


# masses = {(cohort, name): float}
# chance_mass = float
### BEGIN SOLUTION
masses = {
    key: np.nanmean([share_inside(heat, lung) for heat, lung in zip(heats, lungs[test])])
    for key, heats in maps.items()
}
chance_mass = lungs[test].mean()
### END SOLUTION
for (cohort, name), value in masses.items():
    print(f"trained on {cohort}, {name}: {value:.3f} inside the lungs (chance {chance_mass:.3f})")

# %% nbgrader={"grade": true, "grade_id": "mass-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
assert share_inside(np.array([[1.0, 3.0], [0.0, 4.0]]), np.array([[True, False], [True, True]])) == 0.625
assert set(masses) == set(maps)
### BEGIN HIDDEN TESTS
from replication.heatmaps import lung_area, lung_mass

for (cohort, name), heats in maps.items():
    expected = lung_mass(heats, lungs[test])
    ours = [share_inside(heat, lung) for heat, lung in zip(heats, lungs[test])]
    assert np.allclose(ours, expected, atol=1e-4, equal_nan=True)
    assert np.isclose(masses[cohort, name], np.nanmean(expected), atol=1e-4)
assert abs(chance_mass - lung_area(lungs[test]).mean()) < 1e-6
### END HIDDEN TESTS

# %% [markdown]
# **5f (3 points, graded by hand).** Draw for the three test films in `shown` (numbers of films;
# `list(test).index(row)` is the place in `maps`) what both networks look at in the third block: two
# rows, one for each network, each film under its map and with the outline of the lungs. Write the
# class that the network names above it. `axis.imshow(heat, cmap=HEAT_COLOURS, alpha=HEAT_OPACITY *
# heat)` lays a map over a film so that cold places stay gray, and `axis.contour(lung, [0.5])` draws
# an outline.
#
# *1 point for films and maps of both networks side by side, 1 for the outline of the lungs, 1 for
# titles that say which network and what it answers.*

# %% nbgrader={"grade": true, "grade_id": "heat-picture", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
figure, axes = plt.subplots(2, 3, figsize=(9, 6.6), layout="constrained")
for line, cohort in zip(axes, COHORTS):
    for axis, row in zip(line, shown):
        place = list(test).index(row)
        heat, answer = maps[cohort, "third block"][place], answers_of[cohort, cohort][place]
        axis.imshow(images[cohort][row], cmap="gray", vmin=0, vmax=255)
        axis.imshow(heat, cmap=HEAT_COLOURS, vmin=0, vmax=1, alpha=HEAT_OPACITY * heat)
        axis.contour(lungs[row], [0.5], colors="white", linewidths=0.9)
        axis.set_title(f"trained on {cohort}\n{CLASSES[labels[row]]}, said {CLASSES[answer]}", fontsize=9)
        axis.axis("off")
### END SOLUTION

# %% [markdown]
# ## The real database
#
# On a fifth of the paper's database V-BreathNet reached an accuracy of 0.947, thumbnails 0.806 and
# the border of the film 0.784 (`docs/results/vbreathnet.md`; the paper prints 0.968 for all of it).
#
# **5g (4 points, graded by hand).** Two sentences each. First: what gave the shortcut away in your
# numbers, and what did not? Think of the accuracy on the network's own test films, the floors, the
# other cohort and the two layers of Grad-CAM. Second: what can an accuracy of 0.947 on the real
# database show and what not, and which measurement would you ask for?
#
# *1 point for what the test films of the same cohort say, and 1 for what gave it away, the maps read
# with care (hold the share against chance and the other network's). 1 for what of 0.947 the floors
# leave to a disease. 1 for a measurement that a shortcut would not pass.*

# %% [markdown] nbgrader={"grade": true, "grade_id": "sentences", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# The accuracy on the planted test films is nearly perfect and shows nothing, because every film of
# that cohort has the marker, however it is split. The floors gave it away before any network was
# trained (border and thumbnails are as good), and so did the plain films, about which the same
# network is no better than chance; in single films Grad-CAM of the third block lights the marker and
# lies less inside the lungs than chance, but so it may for the network that saw no planted marker,
# and the 3x3 cells of the last block do not even show that: the share is a hint and no proof.
#
# An accuracy of 0.947 shows that the classes of the database can be told apart, of which the border
# alone explains 0.784; it does not show that the network sees COVID-19, not even in what it adds to
# the floors, since a network can read finer shortcuts than a linear model. I would ask for its
# accuracy on films of a hospital that did not train, where all three classes come from the same
# machine.

# %% nbgrader={"grade": false, "grade_id": "answers", "locked": true, "schema_version": 3, "solution": false, "task": false}
# Your numbers, to compare with your neighbour's: whose differ by more than chance?
answers = {
    **{f"{name}, {cohort}": float(floors[cohort][name]) for cohort in COHORTS for name in ("thumbnails", "border")},
    **{f"trained on {one}, asked about {other}": float(accuracies[one, other]) for one, other in accuracies},
    "other answers, trained on planted": float(changed),
    "other answers, trained on plain": float(changed_plain),
    **{f"inside the lungs, {name}, {cohort}": float(masses[cohort, name]) for cohort, name in masses},
    "the lungs' share of the film": float(chance_mass),
}
print(*(f"{name}: {value:.3f}" for name, value in answers.items()), sep="\n")
