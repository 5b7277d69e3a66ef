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
# # 4. 792,291
#
# *90 to 120 minutes, 20 points. Paper: V-BreathNet (Nagullas et al.), sections 3.2, 3.3 and 4 and
# Table 3. Before you begin: "The study on one page" in `docs/papers/vbreathnet.md`.*
#
# No code was released for V-BreathNet, and the paper does not print its layers. It does print one
# number: the network "consisted of 792,291 parameters". A parameter count is the sum of what each
# layer adds, so one number can tell a lot about the layers, and less than one might think. You will
#
# 1. count the parameters of a layer and of a network by hand,
# 2. search all networks that the paper's words allow for those that have 792,291, and ask how many
#    would have it by luck,
# 3. rebuild the network in Keras,
# 4. do the same for the three pretrained networks of Table 3, where the count is not enough.
#
# Some of the numbers are drawn from your student id; your neighbour's are others.
#
# **How to work.** Run the cells from top to bottom. Replace each `raise NotImplementedError()` and
# each `YOUR ANSWER HERE`. Cells without one are not yours to change: grading puts them back. Before
# you hand in, restart the kernel and run everything once more.

# %% nbgrader={"grade": false, "grade_id": "size", "locked": true, "schema_version": 3, "solution": false, "task": false}
SIZE = "classroom"

# %%
STUDENT = ""  # your student id, as your teacher writes it, such as "ada"

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
from functools import partial
from itertools import product
from math import ceil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from replication.cli import quiet_start
from replication.phantoms import seed_of

with quiet_start():  # TensorFlow has much to say
    import keras
    from keras import layers

    from replication.architecture import build_bare
    from replication.architecture import count as count_parameters
    from vbreathnet.model import build_vbreathnet

    keras.ops.zeros(1)  # it looks for a GPU now

PRINTED = 792_291  # section 3.3
# The smoke size, for tests of this notebook, tries fewer of everything.
DENSE_UNITS = {"smoke": (256, 512), "classroom": (128, 256, 512, 1024)}[SIZE]
IMAGE_SIDES = {"smoke": range(96, 257, 32), "classroom": range(96, 257, 4)}[SIZE]
seed = seed_of(STUDENT)

# %% [markdown]
# ## What a layer costs
#
# A **convolution** with $f$ filters of $k \times k$ on maps of $c$ channels has one weight for each
# filter, place in the kernel and channel, and one bias for each filter. **Batch normalisation** has
# four numbers for each channel: a scale and an offset, which are trained, and the running mean and
# variance, which are not. A **dense** layer has a weight for each pair of input and unit, and a
# bias for each unit. ReLU, pooling and dropout have none. Keras counts them when a layer is built:

# %% nbgrader={"grade": false, "grade_id": "keras-counts", "locked": true, "schema_version": 3, "solution": false, "task": false}
layer = layers.Conv2D(filters=2, kernel_size=3)
layer.build((None, 8, 8, 1))  # any number of maps of 8x8 with one channel
print(layer.count_params(), "parameters in a convolution with two filters of 3x3 on one channel")

# %% [markdown]
# **4a (2 points).** Write the three counts without Keras.

# %% nbgrader={"grade": false, "grade_id": "layers", "locked": false, "schema_version": 3, "solution": true, "task": false}
def convolution_parameters(kernel, channels, filters):
    """Of a convolution with `filters` filters of `kernel` x `kernel` on `channels` channels."""
    ### BEGIN SOLUTION
    return kernel * kernel * channels * filters + filters
    ### END SOLUTION


def norm_parameters(channels):
    """Of batch normalisation, those that are not trained included."""
    ### BEGIN SOLUTION
    return 4 * channels
    ### END SOLUTION


def dense_parameters(inputs, units):
    """Of a dense layer."""
    ### BEGIN SOLUTION
    return inputs * units + units
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "layers-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert convolution_parameters(1, 1, 1) == 2 and norm_parameters(5) == 20
assert dense_parameters(10, 3) == 33
### BEGIN HIDDEN TESTS
for k, c, n in np.random.default_rng(seed).integers(2, 40, (3, 3)).tolist():
    pairs = (
        (layers.Conv2D(n, k), (None, 64, 64, c), convolution_parameters(k, c, n)),
        (layers.BatchNormalization(), (None, 8, 8, c), norm_parameters(c)),
        (layers.Dense(n), (None, k * c), dense_parameters(k * c, n)),
    )
    for layer, shape, said in pairs:
        layer.build(shape)
        assert said == layer.count_params(), layer.name
# The numbers are of this student's draw: in a course folder its name is the student's.
if Path.cwd().parents[1].name == "autograded":
    assert STUDENT.strip().lower() == Path.cwd().parents[0].name.lower(), "another student's id"
### END HIDDEN TESTS

# %% [markdown]
# ## What a network costs
#
# Section 3.3 describes the network in words. It is a row of *blocks*: convolution, batch
# normalisation, max pooling "along with padding", dropout. The last map is flattened and goes into
# a dense layer of 512 neurons and from there into three, one for each class. What the words leave
# open become the arguments of one function. Take all kernels to be 3x3.
#
# **4b (2 points).** Write the number of parameters of such a network. `side` is the side of the
# *last* map, after the last pooling; flattening gives `side * side * filters[-1]` numbers.
# `dense_norm` says whether batch normalisation follows the first dense layer too.

# %% nbgrader={"grade": false, "grade_id": "network", "locked": false, "schema_version": 3, "solution": true, "task": false}
def parameters(filters, channels, dense_norm, side, dense_units=512):
    """Of the whole network with three classes; an int.

    filters: of each block, such as (128, 64). channels: of the image, 1 or 3. dense_norm: bool.
    """
    ### BEGIN SOLUTION
    total = 0
    for n in filters:
        total += convolution_parameters(3, channels, n) + norm_parameters(n)
        channels = n
    total += dense_parameters(side * side * channels, dense_units)
    if dense_norm:
        total += norm_parameters(dense_units)
    return total + dense_parameters(dense_units, 3)
    ### END SOLUTION


print(parameters((8, 4), 1, False, 2, 16), "parameters in a toy network")

# %% nbgrader={"grade": true, "grade_id": "network-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert parameters((8, 4), 1, False, 2, 16) == 743
assert parameters((8, 4), 1, True, 2, 16) == 743 + 64
### BEGIN HIDDEN TESTS
rng = np.random.default_rng(seed + 1)
for blocks in (2, 3, 5):
    sizes, last, units = rng.integers(2, 60, blocks).tolist(), int(rng.integers(2, 6)), 32 + blocks
    for colours, norm in ((1, True), (3, False)):
        stack = [keras.Input((last, last, colours))]
        for n in sizes:
            stack += [layers.Conv2D(n, 3, padding="same"), layers.BatchNormalization()]
        stack += [layers.Flatten(), layers.Dense(units)]
        stack += [layers.BatchNormalization()] * norm + [layers.Dense(3)]
        expected = count_parameters(build_bare(partial(keras.Sequential, stack)))["total_parameters"]
        assert parameters(tuple(sizes), colours, norm, last, units) == expected
### END HIDDEN TESTS

# %% [markdown]
# ## Which networks have 792,291?
#
# Section 3.3 on the filters: "spanning from 128 to 32 and back to 128 becoming as closer match for
# letter 'V'", and 64 before flattening. We search a little wider than that. A *sequence* is
#
# | part | fall | | bottom | rise | | end |
# |---|---|---|---|---|---|---|
# | filters | 128 | 64 | 32 | 64 | 128 | 64 |
# | how many blocks | 1 to 3 | 0 to 3 | 1 to 3 | 0 to 3 | 0 to 3 | 0 to 2 |
#
# A sequence that can be made in two ways (where 128 is left out, a 64 may stand in the rise or in
# the end) is one sequence. A *candidate* is a sequence with 1 or 3 channels, with or without
# `dense_norm`, and a last side of 1 to 16.
#
# A match means little if there are many candidates. All filters are multiples of 32, so every
# candidate's count leaves the same remainder, 3, when divided by 32. Within 1 % of 792,291, that is
# from 784,369 to 800,213, lie therefore about 495 numbers that a candidate can have. If the
# candidates there were spread evenly over these, how many would have 792,291 **by luck**?
#
# **4c (2 points).** Make the list `candidates` of tuples `(filters, channels, dense_norm, side)`,
# then `found`, those with `PRINTED` parameters, and `by_luck`, the number of candidates within 1 %
# divided by 495. `product` of `itertools` saves six nested loops. It takes seconds.

# %% nbgrader={"grade": false, "grade_id": "search", "locked": false, "schema_version": 3, "solution": true, "task": false}
# candidates = [(filters, channels, dense_norm, side), ...]
# counts = array of their parameters, in this order
# found = the candidates with 792,291
# by_luck = float
### BEGIN SOLUTION
sequences = {
    (128,) * a + (64,) * b + (32,) * c + (64,) * d + (128,) * e + (64,) * f
    for a, b, c, d, e, f in product((1, 2, 3), range(4), (1, 2, 3), range(4), range(4), range(3))
}
candidates = list(product(sorted(sequences), (1, 3), (False, True), range(1, 17)))
counts = np.array([parameters(*candidate) for candidate in candidates])
found = [candidate for candidate, n in zip(candidates, counts) if n == PRINTED]
by_luck = np.sum(abs(counts - PRINTED) <= 0.01 * PRINTED) / 495
### END SOLUTION
print(f"{len(candidates)} candidates, {by_luck:.2f} expected by luck, {len(found)} found:")
print(*found, sep="\n")

# %% nbgrader={"grade": true, "grade_id": "search-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
### BEGIN HIDDEN TESTS
def count_of(filters, channels, dense_norm, side, units=512):
    """Independent of the student's functions."""
    pairs = zip((channels, *filters), filters)
    dense = side * side * filters[-1] * units + units * (1 + 4 * dense_norm) + 3 * units + 3
    return sum(9 * c * n + 5 * n for c, n in pairs) + dense


times = product(*(range(low, high + 1) for low, high in ((1, 3), (0, 3), (1, 3), (0, 3), (0, 3), (0, 2))))
all_sequences = {sum(((n,) * k for n, k in zip((128, 64, 32, 64, 128, 64), ks)), ()) for ks in times}
expected = set(product(all_sequences, (1, 3), (False, True), range(1, 17)))
### END HIDDEN TESTS
assert len(candidates) == len(set(candidates)) == len(counts), "some candidates are there twice"
assert set(np.array(counts) % 32) == {3}
### BEGIN HIDDEN TESTS
assert {(tuple(f), c, bool(d), s) for f, c, d, s in candidates} == expected
assert sorted(found) == sorted(c for c in expected if count_of(*c) == PRINTED)
assert abs(by_luck - sum(abs(count_of(*c) - PRINTED) <= 0.01 * PRINTED for c in expected) / 495) < 0.01
### END HIDDEN TESTS

# %% [markdown]
# ## Your own count
#
# Is it usual that so few fit? The next cell draws a network of the same kind for you: a V with one
# or two blocks doubled, and a dense layer of one of the sizes in `DENSE_UNITS`. Do not look at
# `drawn` yet: you have only its count, as a reader of the paper has.

# %% nbgrader={"grade": false, "grade_id": "draw", "locked": true, "schema_version": 3, "solution": false, "task": false}
rng = np.random.default_rng(seed)
doubled = rng.choice((0, 1, 3, 4, 5), rng.integers(1, 3), replace=False)  # not the block of 32
drawn = tuple(n for i, n in enumerate((128, 64, 32, 64, 128, 64)) for _ in range(1 + (i in doubled)))
largest_side = {7: 3, 8: 2}[len(drawn)]
drawn = (drawn, int(rng.choice((1, 3))), bool(rng.integers(2)), int(rng.integers(2, largest_side + 1)), int(rng.choice(DENSE_UNITS)))
MY_COUNT = parameters(*drawn)
print(f"Your network has {MY_COUNT:,} parameters.")

# %% [markdown]
# **4d (1 point).** List all networks with your count: tuples `(filters, channels, dense_norm, side,
# dense_units)`, where the first four are one of your `candidates`.

# %% nbgrader={"grade": false, "grade_id": "mine", "locked": false, "schema_version": 3, "solution": true, "task": false}
# mine = [(filters, channels, dense_norm, side, dense_units), ...]
### BEGIN SOLUTION
mine = [
    (*candidate, units)
    for candidate, units in product(candidates, DENSE_UNITS)
    if parameters(*candidate, units) == MY_COUNT
]
### END SOLUTION
print(f"{len(mine)} networks have {MY_COUNT:,} parameters:")
print(*mine, sep="\n")

# %% nbgrader={"grade": true, "grade_id": "mine-test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
assert all(len(network) == 5 for network in mine) and drawn in mine
### BEGIN HIDDEN TESTS
assert count_of(*drawn) == MY_COUNT
assert sorted(mine) == sorted((*c, u) for c in expected for u in DENSE_UNITS if count_of(*c, u) == MY_COUNT)
### END HIDDEN TESTS

# %% [markdown]
# ## Which images can it take?
#
# The count knows the last map, not the image. Pooling over 2x2 halves a side. An odd side is
# rounded up if the pooling is padded (`padding="same"`) and down if it is not (`"valid"`). The
# films of the database have 299x299 pixels, so a network that needs larger images is unlikely.
#
# **4e (2 points).** Write the side of the last map. Then give, for `same` pooling, the smallest and
# the largest image side that fit the paper's network (six blocks, last map 4x4), the same for
# `valid`, and the list `possible`: those of your networks in `mine` that some image of at most
# 299 px a side fits, with `same` pooling in every block.

# %% nbgrader={"grade": false, "grade_id": "sides", "locked": false, "schema_version": 3, "solution": true, "task": false}
def last_side(image_side, blocks, padding):
    """The side of the last map, an int. padding: of the pooling, "same" or "valid"."""
    ### BEGIN SOLUTION
    for _ in range(blocks):
        image_side = ceil(image_side / 2) if padding == "same" else image_side // 2
    return image_side
    ### END SOLUTION


# sides = {"same": (smallest, largest), "valid": (smallest, largest)}
# possible = [(filters, channels, dense_norm, side, dense_units), ...]
### BEGIN SOLUTION
sides = {}
for padding in ("same", "valid"):
    fitting = [s for s in range(64, 1025) if last_side(s, 6, padding) == 4]
    sides[padding] = (min(fitting), max(fitting))
possible = [
    network
    for network in mine
    if any(last_side(s, len(network[0]), "same") == network[3] for s in range(1, 300))
]
### END SOLUTION
print(f"the paper's network: {sides}; of your {len(mine)} networks {len(possible)} are possible")

# %% nbgrader={"grade": true, "grade_id": "sides-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert last_side(7, 1, "same") == 4 and last_side(7, 1, "valid") == 3
assert set(possible) <= set(mine)
### BEGIN HIDDEN TESTS
rng = np.random.default_rng(seed + 2)
for padding in ("same", "valid"):
    for blocks, side in zip((3, 5, 6), rng.integers(64, 500, 3).tolist()):
        stack = [keras.Input((side, side, 1)), *(layers.MaxPooling2D(2, padding=padding) for _ in range(blocks))]
        assert last_side(side, blocks, padding) == keras.Sequential(stack).output_shape[1]
# A last side of s needs more than (s - 1) and at most s times 2^blocks pixels, or from s to less than s + 1 times.
assert {k: tuple(map(int, v)) for k, v in sides.items()} == {"same": (3 * 64 + 1, 4 * 64), "valid": (4 * 64, 5 * 64 - 1)}
assert sorted(possible) == sorted(n for n in mine if (n[3] - 1) * 2 ** len(n[0]) + 1 <= 299)
### END HIDDEN TESTS

# %% [markdown]
# Two networks of the search had 792,291. Look at `found` again: does each of them go "back to 128",
# and which image would each need with padded pooling?
#
# ## Rebuild it
#
# **4f (2 points).** Build the network in Keras: blocks of a 3x3 convolution with `padding="same"`,
# ReLU, batch normalisation, 2x2 max pooling with `padding="same"` and dropout of 0.2; then flatten,
# the dense layer with ReLU, batch normalisation if `dense_norm`, dropout of 0.5 and a softmax over
# three classes. `build_bare` builds it without the memory for its weights: enough to count.

# %% nbgrader={"grade": false, "grade_id": "build", "locked": false, "schema_version": 3, "solution": true, "task": false}
def build(filters, channels, dense_norm, image_side, dense_units=512):
    """The network as a keras.Model (or keras.Sequential), from an image's side, not the last map's."""
    ### BEGIN SOLUTION
    stack = [keras.Input((image_side, image_side, channels))]
    for n in filters:
        stack += [
            layers.Conv2D(n, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2, padding="same"),
            layers.Dropout(0.2),
        ]
    stack += [layers.Flatten(), layers.Dense(dense_units, activation="relu")]
    stack += [layers.BatchNormalization()] if dense_norm else []
    stack += [layers.Dropout(0.5), layers.Dense(3, activation="softmax")]
    return keras.Sequential(stack)
    ### END SOLUTION


# network = the paper's network, for images of 224 px, built with `build_bare`
### BEGIN SOLUTION
network = build_bare(lambda: build((128, 64, 32, 64, 128, 64), 3, True, 224))
### END SOLUTION
theirs = build_bare(partial(build_vbreathnet, (224, 224, 3)))
print("yours       ", count_parameters(network))
print("the project ", count_parameters(theirs))

# %% nbgrader={"grade": true, "grade_id": "build-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert network.output_shape == (None, 3)
### BEGIN HIDDEN TESTS
assert count_parameters(network) == count_parameters(theirs)
kinds = [type(layer).__name__ for layer in network.layers]
assert (kinds.count("Conv2D"), kinds.count("MaxPooling2D"), kinds.count("Dense")) == (6, 6, 2)
assert kinds.count("Dropout") == 7
last = network.layers[-1]
assert isinstance(last, layers.Softmax) or last.activation is keras.activations.softmax
fitting = (drawn[3] - 1) * 2 ** len(drawn[0]) + 1  # the smallest image that leaves this last map
own = build_bare(lambda: build(drawn[0], drawn[1], drawn[2], fitting, drawn[4]))
assert count_parameters(own)["total_parameters"] == count_of(*drawn)
untrained = 2 * (sum(drawn[0]) + drawn[2] * drawn[4])
assert count_parameters(own)["trainable_parameters"] == count_of(*drawn) - untrained
### END HIDDEN TESTS

# %% [markdown]
# ## The heads of Table 3
#
# Section 3.2 puts three networks with ImageNet weights to the same task. Table 3 prints all of
# their parameters and those that are trained. What lies between, the *base*, can be compared with
# `keras.applications` to the digit; what is trained, the *head*, is described nowhere.
# `LAST[name][side]` is the side of the base's last map for an image of that side.

# %% nbgrader={"grade": false, "grade_id": "bases", "locked": true, "schema_version": 3, "solution": false, "task": false}
TABLE_3 = {  # name: total, trainable
    "DenseNet121": (8_217_667, 1_180_163),
    "MobileNetV2": (3_733_059, 1_475_075),
    "VGG16": (15_305_027, 590_339),
}
FEATURES, LAST = {}, {}
for name, (total, trainable) in TABLE_3.items():
    application = getattr(keras.applications, name)
    base = build_bare(partial(application, include_top=False, weights=None, input_shape=(None, None, 3)))
    FEATURES[name] = base.output_shape[-1]
    LAST[name] = {s: base.compute_output_shape((1, s, s, 3))[1] for s in IMAGE_SIDES}
    print(f"{name}: {total - trainable:,} printed as not trained,"
          f" {count_parameters(base)['total_parameters']:,} in the base; {FEATURES[name]} features")

# %% [markdown]
# Five heads that are seen in tutorials, on a last map of `last` x `last` with `features` channels:
#
# | head | layers, the convolution without padding |
# |---|---|
# | `"pool"` | 3x3 convolution to 128 filters, global average pooling, dense 3 |
# | `"flatten"` | 3x3 convolution to 128 filters, flatten, dense 3 |
# | `"maxpool"` | 3x3 convolution to 128 filters, 2x2 max pooling (`valid`), flatten, dense 3 |
# | `"dense"` | flatten, dense 128, dense 3 |
# | `"pool-dense"` | global average pooling, dense 128, dense 3 |
#
# **4g (2 points).** Write their counts. Then find for each head the image sides in `IMAGE_SIDES` at
# which *all three* networks have the printed number of trained parameters.

# %% nbgrader={"grade": false, "grade_id": "heads", "locked": false, "schema_version": 3, "solution": true, "task": false}
HEADS = ("pool", "flatten", "maxpool", "dense", "pool-dense")


def head_parameters(head, features, last):
    """Of one of HEADS on a map (last, last, features); an int."""
    ### BEGIN SOLUTION
    convolution, valid = convolution_parameters(3, features, 128), last - 2
    if head == "pool":
        return convolution + dense_parameters(128, 3)
    if head == "flatten":
        return convolution + dense_parameters(valid**2 * 128, 3)
    if head == "maxpool":
        return convolution + dense_parameters((valid // 2) ** 2 * 128, 3)
    inputs = last**2 * features if head == "dense" else features
    return dense_parameters(inputs, 128) + dense_parameters(128, 3)
    ### END SOLUTION


# fits = {head: [image sides], ...}
### BEGIN SOLUTION
fits = {
    head: [
        side
        for side in IMAGE_SIDES
        if all(head_parameters(head, FEATURES[n], LAST[n][side]) == TABLE_3[n][1] for n in TABLE_3)
    ]
    for head in HEADS
}
### END SOLUTION
for head in HEADS:
    print(f"{head:11}", f"{min(fits[head])} to {max(fits[head])} px" if fits[head] else "never")

# %% nbgrader={"grade": true, "grade_id": "heads-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert set(fits) == set(HEADS)
### BEGIN HIDDEN TESTS
def keras_head(head, features, last):
    """Parameters of one of HEADS, built by Keras."""
    first = [layers.Conv2D(128, 3)] if head in ("pool", "flatten", "maxpool") else []
    if head == "maxpool":
        first += [layers.MaxPooling2D(2)]
    flat = layers.GlobalAveragePooling2D() if "pool" in head[:4] else layers.Flatten()
    hidden = [layers.Dense(128)] if head.endswith("dense") else []
    stack = [keras.Input((last, last, features)), *first, flat, *hidden, layers.Dense(3)]
    return count_parameters(build_bare(partial(keras.Sequential, stack)))["total_parameters"]


rng = np.random.default_rng(seed + 3)
for head in HEADS:
    f, last = int(rng.integers(8, 2000)), int(rng.integers(4, 9))
    assert head_parameters(head, f, last) == keras_head(head, f, last), head
    least = 4 if head == "maxpool" else 3  # no convolution and pooling on less
    fit = {
        n: {m for m in set(LAST[n].values()) if m >= least and keras_head(head, FEATURES[n], m) == TABLE_3[n][1]}
        for n in TABLE_3
    }
    assert sorted(fits[head]) == [s for s in IMAGE_SIDES if all(LAST[n][s] in fit[n] for n in fit)], head
### END HIDDEN TESTS

# %% [markdown]
# **4h (3 points, graded by hand).** One figure with two panels. Left: the parameters of each layer
# of your rebuilt `network` as bars, with the layers' names (`layer.count_params()`). Right: a
# histogram of `counts` over a logarithmic axis, with the printed count marked.
#
# *1 point for the bars of all layers that have parameters, 1 for the histogram with the mark, 1 for
# names on the axes and a scale on which all of it can be read.*

# %% nbgrader={"grade": true, "grade_id": "picture", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
colours = {"Conv2D": "tab:blue", "BatchNormalization": "tab:orange", "Dense": "tab:green"}
counted = [layer for layer in network.layers if layer.count_params()]
for kind, colour in colours.items():
    rows = [i for i, layer in enumerate(counted) if type(layer).__name__ == kind]
    bars = left.barh(rows, [counted[i].count_params() for i in rows], color=colour, label=kind)
    left.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
left.set_yticks(range(len(counted)), [layer.name for layer in counted], fontsize=8)
left.invert_yaxis()
left.set(xlabel="parameters", title=f"{count_parameters(network)['total_parameters']:,} parameters, layer by layer", xlim=(0, 640_000))
left.legend(loc="upper right")
right.hist(counts, np.geomspace(counts.min(), counts.max(), 80), color="tab:gray")
right.axvline(PRINTED, color="tab:red")
right.set(xscale="log", xlabel="parameters", ylabel="candidates", title=f"{len(counts):,} candidates; red: the printed {PRINTED:,}")
### END SOLUTION

# %% [markdown]
# **4i (4 points, graded by hand).** Two sentences each. First: `found` holds a network that fits
# the paper's words. What makes you believe that it is V-BreathNet, and what of the network does the
# count not show at all? Use `by_luck` and what happened with your own count. Second: why do several heads have the
# counts of Table 3, and what outside the counts could tell them apart?
#
# *1 point for how much the match alone proves, and what rules the other network out. 1 for two things
# that the count does not show. 1 for the reason why heads agree. 1 for a fact outside the counts.*

# %% [markdown] nbgrader={"grade": true, "grade_id": "sentences", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# About one of the 96,768 candidates would have 792,291 by luck and two have it, so the match alone
# is weak evidence; but only one of the two returns to 128, as section 3.3 says, and the other has
# seven blocks and needs images of at least 385 px, more than the database's 299. My own count fits
# several networks that go back to 128, because it stays the same when another 64 or another 128 is
# doubled. The count does not show the rates of dropout, whether ReLU stands before or after batch
# normalisation, whether the images had 193 or 256 px, or kernels that we did not try.
#
# A dense layer of 128 on a flattened 3x3 map has 9 x features x 128 weights and 128 biases, exactly
# as a 3x3 convolution to 128 filters, and pooling or flattening a map that is 1x1 by then adds
# nothing. The image side tells them apart (96 px for two heads, 128 to 160 px for one, any for
# pooling), and so might the training time: 8.5 hours for VGG16 are much for images of 96 px.

# %% nbgrader={"grade": false, "grade_id": "answers", "locked": true, "schema_version": 3, "solution": false, "task": false}
# Your numbers, to compare with your neighbour's: which are the same for all, and which are not?
answers = {
    "candidates": float(len(candidates)),
    "expected by luck with 792,291": float(by_luck),
    "found with 792,291": float(len(found)),
    "your count": float(MY_COUNT),
    "networks with your count": float(len(mine)),
    "of these for images of at most 299 px": float(len(possible)),
    "parameters that are trained": float(count_parameters(network)["trainable_parameters"]),
    "heads that fit at some side": float(sum(bool(fitting) for fitting in fits.values())),
}
print(*(f"{name}: {value:,.2f}" for name, value in answers.items()), sep="\n")
