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
# # 7. Explain yourself
#
# *60 to 90 minutes, 20 points. Papers: V-BreathNet, section 3.3 and Figure 3 (Grad-CAM); CNR-IEMN,
# section 4.5 and Figures 13 to 15 (RISE); Kolárik et al. 2023, section 4.5 (saliency, SmoothGrad).
# Before you begin: exercise 5, and "The study on one page" in `docs/papers/vbreathnet.md`.*
#
# Papers show coloured pictures of where a network looks, and write that they agree with what a
# doctor sees. On patients nobody knows the truth. On phantoms the lesion is known to the pixel, so
# that the pictures can be marked like an examination. You will
#
# 1. train a small network to find pneumonia on phantom films,
# 2. ask four methods where it looks, and mark them with the *pointing game*,
# 3. mark them by what the network itself does (insertion and deletion),
# 4. ask the same methods about a network that learned nothing,
# 5. decide which of them you would show a doctor.
#
# The films are phantoms, drawn from your student id; your neighbour's are others.
#
# **How to work.** Run the cells from top to bottom. Replace each `raise NotImplementedError()` and
# each `YOUR ANSWER HERE`. Cells without one are not yours to change: grading puts them back. Before
# you hand in, restart the kernel and run everything once more.

# %% nbgrader={"grade": false, "grade_id": "size", "locked": true, "schema_version": 3, "solution": false, "task": false}
SIZE = "classroom"

# %%
STUDENT = ""  # your student id, as your teacher writes it, such as "ada"

# %% nbgrader={"grade": false, "grade_id": "films", "locked": true, "schema_version": 3, "solution": false, "task": false}
import csv
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import spearmanr

from preprocessing.radiographs import read_radiograph
from replication.cli import quiet_start
from replication.faithfulness import insertion_deletion
from replication.intervals import wilson
from replication.phantoms import seed_of
from replication.rise import rise
from vbreathnet.data import read_lung_mask
from vbreathnet.phantom import read_lesions, write_cohort

with quiet_start():  # TensorFlow has much to say
    import keras

    from replication.batches import make_dataset, to_network_input
    from replication.fused import with_fused_batch_norm, without_fused_batch_norm
    from replication.heatmaps import gradcam, smoothgrad, vanilla_saliency
    from vbreathnet.crop import box_of_mask, crop_to
    from vbreathnet.model import build_vbreathnet

    keras.ops.zeros(1)  # it looks for a GPU now

FILMS, SIDE, EPOCHS = {"smoke": (12, 48, 1), "classroom": (420, 48, 14)}[SIZE]
EXPLAINED, MASKS, SAMPLES = {"smoke": (3, 128, 2), "classroom": (24, 512, 10)}[SIZE]
COMPARED = 8  # films whose maps are compared with those of an untrained network
seed = seed_of(STUDENT)
data = write_cohort(
    Path("phantoms") / f"7-{SIZE}-{seed}", per_class=FILMS, seed=seed, size=224, progress=False,
    labels=("Normal", "Viral Pneumonia"),
)


def read_chest(row):
    """A film cut to the lungs, and its known lesion: uint8 and bool (SIDE, SIDE)."""
    box = box_of_mask(read_lung_mask(data, row["image"]))
    film, lesion = read_radiograph(data / row["image"]), read_lesions(data, row["image"])
    return crop_to(film, box, SIDE), crop_to(np.uint8(255) * lesion, box, SIDE) > 127


with (data / "phantom.csv").open(newline="") as file:
    rows = list(csv.DictReader(file))
chests, lesions = map(np.array, zip(*map(read_chest, rows)))
labels = np.array([row["label"] == "Viral Pneumonia" for row in rows]).astype(int)
order = np.random.default_rng(seed).permutation(len(labels))
test, train = order[: len(labels) // 5], order[len(labels) // 5 :]
print(f"{len(labels)} films, {labels.sum()} with pneumonia; {len(train)} train, {len(test)} test")

# %% [markdown]
# ## The network
#
# V-BreathNet with two classes, 0 normal and 1 pneumonia. It takes about a minute.

# %% nbgrader={"grade": false, "grade_id": "train", "locked": true, "schema_version": 3, "solution": false, "task": false}
keras.utils.set_random_seed(seed)
truth = np.eye(2)[labels]
network = with_fused_batch_norm(
    build_vbreathnet((SIDE, SIDE, 3), 2, 0.0, 0.5, 0.9, activation_order="conv-norm-relu")
)
network.compile(keras.optimizers.RMSprop(1e-3), "categorical_crossentropy", metrics=["accuracy"])
for epoch in range(EPOCHS):
    network.optimizer.learning_rate = 1e-3 * 0.5 ** (epoch // 6)
    shuffled = np.random.default_rng([seed, epoch]).permutation(train)
    batches = make_dataset(chests, shuffled, truth[shuffled], 16, scaling="standardized")
    network.fit(batches, verbose=0, shuffle=False)
network = without_fused_batch_norm(network)
images = to_network_input(chests[test], scaling="standardized")
probabilities = network.predict(images, verbose=0, batch_size=32)
accuracy = float(np.mean(probabilities.argmax(axis=1) == labels[test]))
print(f"accuracy on the {len(test)} test films: {accuracy:.3f}")

# The films to explain: pneumonia, a lesion that is seen at this size, the surest first.
shown = [k for k in np.argsort(-probabilities[:, 1]) if labels[test][k] and lesions[test][k].any()][:EXPLAINED]
images, known = images[shown], lesions[test][shown]
print(f"{len(shown)} films are explained; probability of pneumonia {probabilities[shown, 1].min():.2f} and more")

# %% [markdown]
# ## Four methods
#
# *Saliency* asks how much each pixel changes the score. *SmoothGrad* is the mean of that over noisy
# copies. *Grad-CAM* weighs the maps of a late layer, here of 6x6 places, by their effect. *RISE*
# hides parts of the picture at random and takes the mean of the masks, weighted by the score.
#
# Each map has the shape `(films, SIDE, SIDE)`. Beside them stands a map of plain noise.

# %% nbgrader={"grade": false, "grade_id": "maps", "locked": true, "schema_version": 3, "solution": false, "task": false}
PNEUMONIA = 1


def explain(model, films):
    """Maps of each method for the class pneumonia: {name: float (films, SIDE, SIDE)}."""
    return {
        "saliency": vanilla_saliency(model, films, PNEUMONIA),
        "SmoothGrad": smoothgrad(model, films, PNEUMONIA, samples=SAMPLES),
        "Grad-CAM": gradcam(model, films, PNEUMONIA, "block4_relu"),
        "RISE": np.stack([
            rise(model.predict_on_batch, image, [PNEUMONIA], masks=MASKS, divide_by_seen=True, tolerance=0).maps[0]
            for image in films
        ]),
    }


maps = explain(network, images)
maps["noise"] = np.random.default_rng(seed).random(known.shape)

# %% [markdown]
# ## The pointing game
#
# A map wins where its **hottest pixel lies in the lesion**. If several pixels are equally hot, all
# of them have to. A map that points anywhere wins as often as the lesion is large: the share of the
# picture that it covers is the *chance* of the game.
#
# **7a (4 points).** Write the game and its chance.

# %% nbgrader={"grade": false, "grade_id": "pointing", "locked": false, "schema_version": 3, "solution": true, "task": false}
def points_at(heat, lesion):
    """Whether the hottest pixels of a map, float (SIDE, SIDE), lie in the lesion, bool (SIDE, SIDE)."""
    ### BEGIN SOLUTION
    return bool(lesion[heat == heat.max()].all())
    ### END SOLUTION


def chance_of(lesion):
    """How often a pixel drawn at random lies in the lesion, 0 to 1."""
    ### BEGIN SOLUTION
    return lesion.mean()
    ### END SOLUTION


print(points_at(maps["saliency"][0], known[0]), f"chance {chance_of(known[0]):.3f}")

# %% nbgrader={"grade": true, "grade_id": "pointing-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
heat, lesion = np.array([[0.1, 0.9], [0.9, 0.2]]), np.array([[False, True], [True, False]])
assert points_at(heat, lesion) and not points_at(heat, lesion & np.array([[False, True], [False, False]]))
assert abs(chance_of(lesion) - 0.5) < 1e-9
### BEGIN HIDDEN TESTS
from replication.faithfulness import pointing_chance, pointing_game

for of_method in maps.values():
    expected = pointing_game(of_method, known)
    assert [bool(points_at(m, area)) for m, area in zip(of_method, known)] == expected.tolist()
assert np.allclose([chance_of(area) for area in known], pointing_chance(known))
# The numbers are of this student's phantoms: in a course folder its name is the student's.
if Path.cwd().parents[1].name == "autograded":
    assert STUDENT.strip().lower() == Path.cwd().parents[0].name.lower(), "another student's id"
### END HIDDEN TESTS

# %% [markdown]
# **7b (2 points).** Put the share of films on which each method wins into `hits`, a dict with the
# names of `maps`, and the mean chance over the films into `chance`.

# %% nbgrader={"grade": false, "grade_id": "hits", "locked": false, "schema_version": 3, "solution": true, "task": false}
# hits = {"saliency": ..., ...}
# chance = float
### BEGIN SOLUTION
hits = {name: np.mean([points_at(m, area) for m, area in zip(of_method, known)]) for name, of_method in maps.items()}
chance = np.mean([chance_of(area) for area in known])
### END SOLUTION
for name, share in hits.items():
    low, high = wilson(round(share * len(known)), len(known))
    print(f"{name:10} {share:.2f} [{low:.2f}, {high:.2f}]")
print(f"chance     {chance:.2f}")

# %% nbgrader={"grade": true, "grade_id": "hits-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert set(hits) == set(maps)
### BEGIN HIDDEN TESTS
from replication.faithfulness import pointing_chance, pointing_game

for name, of_method in maps.items():
    assert abs(hits[name] - pointing_game(of_method, known).mean()) < 1e-9
assert abs(chance - pointing_chance(known).mean()) < 1e-9
### END HIDDEN TESTS

# %% [markdown]
# ## What the network does
#
# The second examination needs no truth. **Deletion**: set the hottest pixels to 0, then the next,
# and watch the probability of the class; the faster it falls, the better the map. Its mark is the
# area under that curve, the lower the better. (**Insertion** puts pixels into a blurred picture; its
# area is the better the higher.)
#
# **7c (3 points).** Write the deletion curve of one film: the probabilities after 0, 1, 2, ... `steps`
# equal shares of the pixels were set to 0, hottest first. `np.argsort(-heat.ravel(), kind="stable")` is
# the order of the pixels; after step k the first `round(k * pixels / steps)` of them are 0, in all
# channels.

# %% nbgrader={"grade": false, "grade_id": "deletion", "locked": false, "schema_version": 3, "solution": true, "task": false}
def deletion_curve(model, image, heat, steps=16):
    """Probabilities of pneumonia, float (steps + 1,).

    image: float (SIDE, SIDE, 3). heat: float (SIDE, SIDE). model.predict_on_batch gives (n, 2).
    """
    ### BEGIN SOLUTION
    order = np.argsort(-heat.ravel(), kind="stable")
    damaged = np.repeat(image[None], steps + 1, axis=0)
    for k in range(steps + 1):
        first = order[: round(k * heat.size / steps)]
        damaged[k].reshape(-1, image.shape[-1])[first] = 0
    return model.predict_on_batch(damaged)[:, PNEUMONIA]
    ### END SOLUTION


for name in maps:
    plt.plot(np.linspace(0, 1, 17), deletion_curve(network, images[0], maps[name][0]), label=name)
plt.xlabel("share of the pixels set to 0, hottest first")
plt.ylabel("probability of pneumonia")
plt.legend()

# %% nbgrader={"grade": true, "grade_id": "deletion-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
curve = deletion_curve(network, images[0], maps["noise"][0])
assert len(curve) == 17 and abs(curve[0] - network.predict_on_batch(images[:1])[0, PNEUMONIA]) < 1e-3
### BEGIN HIDDEN TESTS
for number, name in ((0, "saliency"), (-1, "RISE"), (0, "noise")):
    image, heat = images[number], maps[name][number]
    ours = np.asarray(deletion_curve(network, image, heat), float)
    _, area = insertion_deletion(network.predict_on_batch, image, heat, PNEUMONIA, steps=16)
    assert abs(np.trapezoid(ours, np.linspace(0, 1, 17)) - area) < 1e-3
blank = network.predict_on_batch(np.zeros_like(images[:1]))[0, PNEUMONIA]
assert abs(deletion_curve(network, images[0], maps["noise"][0])[-1] - blank) < 1e-3
### END HIDDEN TESTS

# %% [markdown]
# **7d (2 points).** The mean marks of each method over all films, by the project's
# `insertion_deletion(network.predict_on_batch, image, heat, PNEUMONIA, steps=16)`, which returns both:
# into `insertion` and `deletion`, dicts with the names of `maps`.

# %% nbgrader={"grade": false, "grade_id": "faithful", "locked": false, "schema_version": 3, "solution": true, "task": false}
# insertion, deletion = {...}, {...}
### BEGIN SOLUTION
insertion, deletion = {}, {}
for name, of_method in maps.items():
    areas = [
        insertion_deletion(network.predict_on_batch, image, heat, PNEUMONIA, steps=16)
        for image, heat in zip(images, of_method)
    ]
    insertion[name], deletion[name] = np.mean(areas, axis=0)
### END SOLUTION
print("method      pointing  insertion  deletion")
for name in maps:
    print(f"{name:10}  {hits[name]:8.2f}  {insertion[name]:9.2f}  {deletion[name]:8.2f}")

# %% nbgrader={"grade": true, "grade_id": "faithful-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert set(insertion) == set(deletion) == set(maps)
### BEGIN HIDDEN TESTS
for name in ("SmoothGrad", "noise"):
    areas = [insertion_deletion(network.predict_on_batch, i, m, PNEUMONIA, steps=16) for i, m in zip(images, maps[name])]
    assert np.allclose((insertion[name], deletion[name]), np.mean(areas, axis=0), atol=1e-3)
### END HIDDEN TESTS

# %% [markdown]
# ## A network that learned nothing
#
# A map that shows what a network *learned* must change when that is taken away (Adebayo et al. 2018,
# "Sanity checks for saliency maps"). The next cell asks the same methods about a network of the same
# layers with weights drawn at random, on the first films. A map that stays alike shows the film, much
# as an edge detector does.

# %% nbgrader={"grade": false, "grade_id": "untrained", "locked": true, "schema_version": 3, "solution": false, "task": false}
untrained = keras.models.clone_model(network)  # its weights are drawn anew
untrained_maps = explain(untrained, images[:COMPARED])

# %% [markdown]
# **7e (2 points).** For each of the four methods, how alike are the two maps? Put the mean over these
# films of Spearman's rank correlation (`spearmanr(a, b).statistic`, over the pixels of one film) into
# `likeness`, a dict with the names of `untrained_maps`. A map that is the same everywhere has no ranks
# and gives NaN: use `np.nanmean`.

# %% nbgrader={"grade": false, "grade_id": "likeness", "locked": false, "schema_version": 3, "solution": true, "task": false}
# likeness = {"saliency": ..., ...}
### BEGIN SOLUTION
likeness = {
    name: np.nanmean([spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(maps[name], of_method)])
    for name, of_method in untrained_maps.items()
}
### END SOLUTION
untrained_hits = {
    name: np.mean([points_at(m, area) for m, area in zip(of_method, known)])
    for name, of_method in untrained_maps.items()
}
for name in untrained_maps:
    print(f"{name:10} likeness {likeness[name]:+.2f}, untrained it points at {untrained_hits[name]:.2f}")

# %% nbgrader={"grade": true, "grade_id": "likeness-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert set(likeness) == set(untrained_maps)
### BEGIN HIDDEN TESTS
from scipy.stats import rankdata

for name, of_method in untrained_maps.items():
    ranks = [np.corrcoef(*(rankdata(m) for m in pair))[0, 1] for pair in zip(maps[name], of_method)]
    assert np.isclose(likeness[name], np.nanmean(ranks), atol=1e-6, equal_nan=True)
### END HIDDEN TESTS

# %% [markdown]
# **7f (3 points, graded by hand).** Draw one film with the outline of its lesion (`contour`) and,
# beside it, the four maps and the noise, each with the same outline and the name of the method.
#
# *1 point for film and five maps with names, 1 for the outline in all of them, 1 for a film on which
# the methods differ, not the first at hand.*

# %% nbgrader={"grade": true, "grade_id": "maps-picture", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
wins = np.array([[points_at(m, area) for m, area in zip(maps[name], known)] for name in maps])
number = int(np.argmax(wins.std(axis=0)))
figure, axes = plt.subplots(1, 6, figsize=(16, 3.2))
pictures = {"film": chests[test][shown][number], **{name: maps[name][number] for name in maps}}
for axis, (name, picture) in zip(axes, pictures.items()):
    axis.imshow(picture, cmap="gray" if name == "film" else "inferno")
    axis.contour(known[number], [0.5], colors="cyan", linewidths=1)
    axis.set_title(name)
    axis.axis("off")
### END SOLUTION

# %% [markdown]
# **7g (4 points, graded by hand).** Three sentences. Do the pointing game and insertion and deletion
# agree on which method is best, and if not, what does each of them measure? What does the network that
# learned nothing add? And which map would you show a doctor, with which words beside it?
#
# *2 points for what the numbers show, with the chance level and the noise as the yardstick (where a
# mark hardly tells a method from noise, it decides nothing); 1 for the untrained network; 1 for a choice
# that follows from both, and a warning that a doctor can use.*

# %% [markdown] nbgrader={"grade": true, "grade_id": "sentences", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# By the pointing game SmoothGrad and saliency find the lesion far more often than chance and noise do,
# while Grad-CAM with its few places and RISE with its coarse masks seldom hit a small lesion to the
# pixel; insertion and deletion, which ask what moves this network's score and not where the lesion is,
# decide nothing here, as insertion is near 1 for every map and plain noise deletes as well as any
# method, because a picture with pixels set to 0 is one that the network never saw.
#
# Untrained, no method points at the lesion much more often than chance, so that the pointing is
# learned; yet SmoothGrad's maps keep some likeness, which is the outline of the film and not what the
# network learned.
#
# I would show SmoothGrad with the words that its hottest pixel marks what moved the score of this
# network on this film, how often that lay outside of the lesion on phantoms, that the fainter rest of
# it follows the edges of the film, and that it is no evidence that there is a lesion.

# %% nbgrader={"grade": false, "grade_id": "answers", "locked": true, "schema_version": 3, "solution": false, "task": false}
# Your numbers, to compare with your neighbour's: whose differ by more than chance?
answers = {
    "accuracy of the network": accuracy,
    "chance of the pointing game": float(chance),
    **{f"pointing game, {name}": float(share) for name, share in hits.items()},
    **{f"insertion, {name}": float(area) for name, area in insertion.items()},
    **{f"deletion, {name}": float(area) for name, area in deletion.items()},
    **{f"likeness of the untrained, {name}": float(rank) for name, rank in likeness.items()},
}
print(*(f"{name}: {value:.3f}" for name, value in answers.items()), sep="\n")
