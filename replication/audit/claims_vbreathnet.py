"""What the numbers of V-BreathNet allow: Table 4's matrix, accuracies, images, heads."""

from collections.abc import Iterator
from fractions import Fraction
from math import log

from replication.audit.checks import check_names, check_repeated
from replication.audit.digits import parse_printed, percent, plain, rounded
from replication.audit.findings import PROVEN, STRONG, WEAK, Finding
from replication.audit.order import check_claims
from replication.audit.quotes import check_text
from replication.audit.recorded import OUTSIDE, Tables, as_printed, named
from replication.audit.shares import recover_class_matrices, recover_shares, recover_sizes
from replication.intervals import wilson

COVID = "COVID"
TEST, ACCURACIES, IMAGES, NETWORKS = "Table 4", "Accuracies", "Images", "Networks and training"
BATCHES = range(2, 129)


def audit(tables: Tables) -> Iterator[Finding]:
    """All findings, by topic."""
    yield from _table_4(tables)
    yield from _accuracies(tables)
    yield from _images(tables)
    yield from _networks(tables)
    yield from check_repeated(tables, {})
    yield from check_text(tables, {})
    yield from check_names(tables)
    yield from check_claims(tables)


def _table_4(tables: Tables) -> Iterator[Finding]:
    """The confusion matrix of the test images, and what was done to them."""
    printed: dict[str, dict[str, str]] = {}
    for r in tables.metrics:
        if r.table == "4":
            printed.setdefault(r.positive_class, {})[r.metric] = as_printed(r)
    n = tables.count("test", "images")
    each = n // len(printed)
    row_sums = dict.fromkeys(printed, each)
    matrices = recover_class_matrices(row_sums, printed)
    if len(matrices) != 1:
        return
    (matrix,) = matrices
    right = sum(matrix[i][i] for i in range(len(matrix)))
    rows = "; ".join(f"{c} {', '.join(map(str, row))}" for c, row in zip(printed, matrix,
                                                                      strict=True))  # fmt: skip
    yield Finding(
        "one-matrix", TEST,
        f"Table 4 has exactly one confusion matrix of {len(printed)} x {each} images, "
        f"{right}/{n} = {percent(Fraction(right, n), 2)} right",
        f"{rows} (answers in the order {', '.join(printed)}): of all matrices with these rows the "
        f"only one whose {3 * len(printed)} metrics print so, rounded or truncated",
        PROVEN, "Table 4; section 4",
    )  # fmt: skip
    place = list(printed).index(COVID)
    before = tables.count("test before cropping", "right", COVID)
    rectified, cropped = (tables.count("cropped", m, COVID) for m in ("right", "images"))
    if matrix[place][place] == before + rectified > before:
        first = right - rectified
        yield Finding(
            "test-edited", TEST,
            "Table 4 counts test images that were cropped because they had been wrong",
            f"{before}/{each} of {COVID} were right at first, {rectified} of the {cropped} wrong "
            f"ones after cropping; the recall {printed[COVID]['recall']} is {before} + {rectified} "
            f"= {matrix[place][place]}/{each}. Before it {first}/{n} = "
            f"{percent(Fraction(first, n), 2)} were right", PROVEN, "section 4; Table 4",
        )  # fmt: skip
        (low, high), (low_first, high_first) = wilson(right, n), wilson(first, n)
        if low < high_first:
            yield Finding(
                "test-too-small", TEST, f"{n} images cannot tell {right} right from {first}",
                f"95 % Wilson intervals: {low:.3f} to {high:.3f} and {low_first:.3f} to "
                f"{high_first:.3f}", PROVEN, "section 4",
            )  # fmt: skip


def _accuracies(tables: Tables) -> Iterator[Finding]:
    """Of how many images the validation accuracies can be shares."""
    stated = {
        int(r.value): named(r.table)
        for r in tables.counts
        if r.row in ("testing part", "validation part") and r.metric == "images"
    }
    texts = {r.row: (named(r.table), as_printed(r)) for r in tables.metrics
             if r.metric == "accuracy"}  # fmt: skip
    exact = []
    for row, (place, text) in texts.items():
        ways = {
            n: {way: recover_shares(text, n, way) for way in ("rounded", "truncated")}
            for n in stated
        }
        value = percent(parse_printed(text).value, 2)
        notes = [
            f"of {n:,} ({stated[n]}) "
            + (" and ".join(f"{k[0]:,} {way}" for way, k in of.items() if k) or "nothing")
            for n, of in ways.items()
        ]
        if any(of["rounded"] for of in ways.values()):
            exact.append(f"{value} ({row}) {', '.join(notes)}")
            continue
        never = " or ".join(f"{n:,}" for n, of in ways.items() if not of["truncated"])
        cut = " or ".join(f"{n:,}" for n, of in ways.items() if of["truncated"])
        near = recover_sizes([text], range(min(stated) - 22, max(stated) + 1), "rounded")
        yield Finding(
            f"accuracy-{row}", ACCURACIES,
            f"{value}, the validation accuracy of {row}, is no share of {never} images"
            + (f", and of {cut} only if it was truncated" if cut else ""),
            f"{'; '.join(notes)}. Rounded it is a share of {_ranges(near)}", PROVEN,
            f"{place}; {', '.join(stated.values())}",
        )  # fmt: skip
        if cut:
            yield from _whole_batches(text, min(stated))
    if exact:
        yield Finding(
            "accuracies-that-fit", ACCURACIES,
            f"{len(exact)} of {len(texts)} validation accuracies are shares of a stated number",
            "; ".join(exact), PROVEN, f"Table 3; {', '.join(stated.values())}",
        )  # fmt: skip
    span = range(min(stated) - 202, max(stated) + 81)
    baselines = [text for place, text in texts.values() if place == "Table 3"]
    common = {w: recover_sizes(baselines, span, w) for w in ("rounded", "truncated")}
    if not set(stated) & set(sum(common.values(), [])):
        yield Finding(
            "baselines-not-on-one-set", ACCURACIES,
            f"The {len(baselines)} pre-trained networks were not validated on one stated set, or a "
            "number is wrong",
            f"from {span[0]:,} to {span[-1]:,} images all {len(baselines)} accuracies are rounded "
            f"shares of {_ranges(common['rounded'])}, truncated ones of "
            f"{_ranges(common['truncated'])}; none is {' or '.join(f'{n:,}' for n in stated)}",
            STRONG, "section 3.2; Table 3",
        )  # fmt: skip


def _whole_batches(text: str, images: int) -> Iterator[Finding]:
    """Whether an accuracy counts whole batches alone, the rest of the images dropped."""
    fits = [b for b in BATCHES if recover_shares(text, images // b * b, "rounded")]
    if fits:
        sizes = sorted({images // b * b for b in fits})
        powers = [b for b in (16, 32, 64, 128) if b not in fits]
        yield Finding(
            "whole-batches", ACCURACIES,
            f"{percent(parse_printed(text).value, 2)} may count whole batches of the {images:,} "
            "images alone",
            f"it is a rounded share of {_ranges(sizes)}, which {len(fits)} of the batch sizes from "
            f"{BATCHES[0]} to {BATCHES[-1]} leave of {images:,}; "
            f"{', '.join(map(str, powers))} do not", WEAK, "section 4",
        )  # fmt: skip


def _images(tables: Tables) -> Iterator[Finding]:
    """Whether the counts of images agree, and what they say of the order of the steps."""
    train = [tables.count("training part", "images", table=t) for t in ("2", "section 3.3")]
    held = [tables.count("testing part", "images", table="2"),
            tables.count("validation part", "images", table="section 3.3")]  # fmt: skip
    test = tables.count("test", "images")
    missing = train[0] + held[0] - train[1] - held[1]
    if missing == test:
        classes = tables.count("V-BreathNet", "neurons, output")
        each, left = test // classes, (train[1] + held[1]) // classes
        yield Finding(
            "test-from-the-pool", IMAGES,
            f"Table 2 and section 3.3 differ by the {test} test images: these were drawn from the "
            "balanced set, augmented copies among them",
            f"{train[0]:,} + {held[0]:,} - {train[1]:,} - {held[1]:,} = {missing}; {left:,} + "
            f"{each} = {left + each:,} of each class, and both are split "
            f"{percent(Fraction(train[1], train[1] + held[1]), 0)} to "
            f"{percent(Fraction(held[1], train[1] + held[1]), 0)}", STRONG,
            "Table 2; sections 3.1, 3.3 and 4",
        )  # fmt: skip
    if held[0] != held[1]:
        yield Finding(
            "validated-on-other-images", IMAGES,
            "V-BreathNet and the pre-trained networks were not validated on the same images",
            f"{held[0]:,} against {held[1]:,} images", STRONG, "Table 2; section 3.3",
        )  # fmt: skip
    full = tables.count("balanced set", "images of each class")
    least = min((r for r in tables.counts if r.table == "1" and r.metric == "images"),
                key=lambda r: r.value)  # fmt: skip
    films = int(least.value)
    if films < full:
        share = Fraction(tables.count("training part", "percent", table="section 3.2"), 100)
        most = -(-full // films)  # how often a film occurs at most
        often, seldom = full - (most - 1) * films, films * most - full
        seen = Fraction(0)
        for times, number in ((most, often), (most - 1, seldom)):
            seen += times * number * (1 - (1 - share) ** (times - 1)) / full
        yield Finding(
            "augmented-before-the-split", IMAGES,
            f"At least {full - films:,} of the {full:,} images of {least.positive_class} are "
            "copies, made before the split",
            f"{films:,} films became {full:,} before the split (3.1, 3.2), even if no film was "
            "removed", PROVEN, "Tables 1 and 2; sections 3.1 and 3.2",
        )  # fmt: skip
        yield Finding(
            "copies-on-both-sides", IMAGES,
            f"About {percent(seen, 0)} of the {least.positive_class} images that validate have "
            "another version of the same film in training",
            f"{seldom} films occur {most - 1} times, {often} {most} times, if the copies go round; "
            f"another version is in training with {percent(share, 0)}, or "
            f"{percent(1 - (1 - share) ** (most - 1), 0)} with two others", STRONG,
            "sections 3.1 and 3.2",
        )  # fmt: skip
    outside = {r.positive_class: r.value for r in tables.counts if r.table.startswith(OUTSIDE)}
    inside = {r.positive_class: r.value for r in tables.counts
              if r.table == "1" and r.metric == "images"}  # fmt: skip
    if outside and outside == inside:
        source = next(named(r.table) for r in tables.counts if r.table.startswith(OUTSIDE))
        yield Finding(
            "not-sirm", IMAGES, f"The images are those of the {source}, not of SIRM",
            f"{', '.join(f'{n:,.0f} {c}' for c, n in inside.items())}: the same three counts",
            STRONG, "abstract; section 3.1; Table 1",
        )  # fmt: skip


def _networks(tables: Tables) -> Iterator[Finding]:
    """Heads by their parameters; losses and learning rates that cannot be meant as they stand."""
    classes = tables.count("V-BreathNet", "neurons, output")
    units = 128
    widths = {}
    for r in tables.metrics:
        if r.table == "3" and r.metric == "trainable_parameters":
            rest = int(r.value) - units - classes * (units + 1)
            widths[r.row] = Fraction(rest, 9 * units)
    if widths and all(width.denominator == 1 for width in widths.values()):
        yield Finding(
            "one-head", NETWORKS,
            f"All {len(widths)} pre-trained networks have one head: 9 x {units} x features + "
            f"{units} parameters, then {units} x {classes} + {classes}",
            f"features: {', '.join(f'{name} {width}' for name, width in widths.items())}, whole "
            f"numbers {len(widths)} times out of {len(widths)}, and the widths of DenseNet121, "
            "MobileNetV2 and VGG16. A 3x3 convolution with global pooling has this count, and so "
            "has a dense layer on 3 x 3 x features", STRONG, "Table 3",
        )  # fmt: skip
    yield from _training_times(tables)
    losses = [as_printed(r) for r in tables.metrics
              if (r.table, r.metric) == ("3", "cross_entropy")]  # fmt: skip
    constant = log(classes)
    if all(float(loss) < constant / 2 for loss in losses):
        yield Finding(
            "maximum-loss", NETWORKS, '"Maximum loss" in Table 3 must be the lowest one',
            f"{', '.join(losses)}, where a network that knows nothing starts at log {classes} = "
            f"{constant:.2f}", STRONG, "Table 3; section 3.2",
        )  # fmt: skip
    rate, by, floor = (
        parse_printed(tables.setting("V-BreathNet", name)).value
        for name in ("learning rate", "learning rate reduced by", "lowest learning rate")
    )
    every = tables.count("V-BreathNet", "epochs between reductions")
    best = tables.count("V-BreathNet", "best epoch")
    if rate - by < 0:
        yield Finding(
            "reduced-by-a-factor", NETWORKS,
            f'A learning rate "reduced by {plain(by)}" is reduced by that factor',
            f"{plain(rate)} - {plain(by)} = {plain(rate - by)} is no learning rate", PROVEN,
            "section 3.3",
        )  # fmt: skip
        there = rate * by ** ((best - 1) // every)
        steps = 0
        while rate * by**steps > floor:
            steps += 1
        if there > floor:
            yield Finding(
                "floor-not-reached", NETWORKS,
                f"The lowest learning rate, {plain(floor)}, was not reached by the best epoch",
                f"{plain(rate)} x {plain(by)}^{(best - 1) // every} = {plain(there)} in epoch "
                f"{best}; below the floor from epoch {steps * every + 1} on", PROVEN,
                "sections 3.3 and 4",
            )  # fmt: skip


def _training_times(tables: Tables) -> Iterator[Finding]:
    """Whether training times can be held against one another."""
    minutes = [r for r in tables.counts if r.metric == "minutes of training"]
    hours = [r for r in tables.counts if r.metric == "hours of training"]
    for r in hours:
        long = parse_printed(as_printed(r)).value * 60
        longest = max(int(m.value) for m in minutes)
        yield Finding(
            "training-times", NETWORKS,
            f"The training time of {r.row} cannot be held against the others': it had no GPU (3.2)",
            f"{as_printed(r)} hours are {plain(long)} minutes for the same epochs, "
            f"{rounded(long / longest, 1)} times the {longest} of the slower of the others, "
            f"{' and '.join(f'{m.value:.0f}' for m in minutes)}; how much of it is the network's "
            "is not known", STRONG, "Table 3; section 3.2",
        )  # fmt: skip


def _ranges(numbers: list[int]) -> str:
    """Sorted numbers, runs of neighbours as ranges."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    return ", ".join(f"{r[0]:,}" + (f" to {r[-1]:,}" if len(r) > 1 else "") for r in runs) or "none"
