"""Which scans train, which of their slices have a label, and that nothing leaks."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from cnr_iemn import split
from cnr_iemn.config import CAP, COVID, NORMAL
from cnr_iemn.split import NO_FOLD, UNLABELLED, split_scans
from preprocessing.errors import InputError
from preprocessing.store import Store

SLICES = 4
# Slices 1 and 2 of each labelled scan are infected, of cap0 the first alone.
INFECTED = (False, True, True, False)
SCANS = [
    *((f"covid{n}", COVID) for n in range(10)),  # 7 labelled
    *((f"cap{n}", CAP) for n in range(6)),  # 5 labelled
    *((f"normal{n}", NORMAL) for n in range(9)),  # the first 6 of them count
]


@pytest.fixture
def cohort(make_store, make_labels, small_config):
    """A function from settings and seed to the split of those scans."""
    store = make_store(SCANS, slices=SLICES, side=8)
    infected = {f"covid{n}": INFECTED for n in range(7)} | {f"cap{n}": INFECTED for n in range(5)}
    infected["cap0"] = (True, False, False, False)
    labels = make_labels(infected, [name for name, label in SCANS if label == NORMAL])
    config = dataclasses.replace(small_config, normal_scans=6, folds=3)

    def split_by(seed=0, **settings):
        changed = dataclasses.replace(config, **settings)
        return changed, split_scans(changed, store, labels, seed)

    return split_by


def labels_of(slices, patient) -> list[int]:
    (number,) = np.flatnonzero(slices.scans.patients == patient)
    return slices.labels[slices.scans.rows[number]].tolist()


def patients_of(slices, rows) -> set[str]:
    return {slices.scans.store.index[row]["patient_id"] for row in rows}


@pytest.mark.parametrize("seed", range(8))
def test_patients_are_apart_and_each_stratum_is_divided(cohort, seed):
    _, slices = cohort(seed)
    train, val = (patients_of(slices, slices.rows_of(part)) for part in ("train", "val"))
    assert train and val and not train & val
    rows = np.concatenate([slices.rows_of("train"), slices.rows_of("val")])
    assert len(set(rows)) == len(rows) == (slices.labels != UNLABELLED).sum()
    for prefix, first, count, held_out in (
        ("covid", 0, 7, 2), ("covid", 7, 3, 1), ("cap", 0, 5, 2), ("cap", 5, 1, 0),
        ("normal", 0, 6, 2), ("normal", 6, 3, 1),
    ):  # fmt: skip
        names = {f"{prefix}{n}" for n in range(first, first + count)}
        part = slices.parts[np.isin(slices.scans.patients, list(names))]
        assert (part == "val").sum() == held_out, (prefix, first)


def test_the_split_depends_on_the_seed_alone(cohort):
    same = [cohort(1)[1], cohort(1)[1]]
    np.testing.assert_array_equal(same[0].parts, same[1].parts)
    np.testing.assert_array_equal(same[0].folds, same[1].folds)
    assert any((cohort(seed)[1].parts != same[0].parts).any() for seed in (2, 3))


def test_labels_come_from_the_order_head_first(cohort):
    _, slices = cohort()
    # File names run the other way round.
    assert slices.scans.store.column("file")[:4].tolist() == ["4.dcm", "3.dcm", "2.dcm", "1.dcm"]
    assert labels_of(slices, "cap0") == [CAP, NORMAL, NORMAL, NORMAL]
    assert labels_of(slices, "covid3") == [NORMAL, COVID, COVID, NORMAL]
    assert labels_of(slices, "covid7") == [UNLABELLED] * SLICES


def test_the_first_normal_scans_alone_are_labelled(cohort):
    _, slices = cohort()
    found = [set(labels_of(slices, f"normal{n}")) for n in range(9)]
    assert found == [{NORMAL}] * 6 + [{UNLABELLED}] * 3


def test_uninfected_slices_of_patients_count_as_normal_if_asked(cohort):
    _, slices = cohort(uninfected_as_normal=False)
    assert labels_of(slices, "covid3") == [UNLABELLED, COVID, COVID, UNLABELLED]
    assert labels_of(slices, "normal0") == [NORMAL] * SLICES
    assert cohort()[1].label_hash != slices.label_hash


def test_copies_are_of_the_training_part_alone(cohort):
    config, slices = cohort(covid_copies=3, cap_copies=10)
    count = len(slices.labels)
    train, val = slices.rows_of("train"), slices.rows_of("val")
    for scenario in ("augmented", "multitask"):
        keys = slices.training_keys(config, scenario, None, epoch=0)
        assert len(np.unique(keys)) == len(keys)
        assert not set(keys % count) & set(val)
        copies, rows = np.divmod(keys, count)
        for label, each in ((NORMAL, 0), (COVID, 3), (CAP, 10)):
            of_class = train[slices.labels[train] == label]
            for row in of_class:
                assert sorted(copies[rows == row]) == list(range(each + 1))
    for scenario in ("gray", "segmented"):
        keys = slices.training_keys(config, scenario, None, epoch=0)
        assert sorted(keys) == sorted(train)


def test_epochs_have_orders_of_their_own(cohort):
    config, slices = cohort()
    one, again, other = (slices.training_keys(config, "gray", None, e) for e in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any() and sorted(one) == sorted(other)


def test_slices_drawn_anew_are_other_copies_in_every_epoch(cohort):
    config, slices = cohort(augmentation="every-epoch")
    count, train = len(slices.labels), slices.rows_of("train")
    keys = [slices.training_keys(config, "multitask", None, epoch) for epoch in (0, 1, 1)]
    np.testing.assert_array_equal(keys[1], keys[2])
    assert not set(keys[0]) & set(keys[1])
    for drawn in keys:
        assert sorted(drawn % count) == sorted(train)
        assert (drawn >= count).all()  # each is a copy, normal slices too


@pytest.mark.parametrize("seed", range(4))
def test_folds_divide_the_labelled_training_scans(cohort, seed):
    config, slices = cohort(seed)
    labelled = np.array([(slices.labels[rows] != UNLABELLED).any() for rows in slices.scans.rows])
    trains = (slices.parts == "train") & labelled
    np.testing.assert_array_equal(slices.folds != NO_FOLD, trains)
    sizes = [
        [int(((slices.folds == fold) & (slices.scans.diagnoses == c)).sum()) for c in range(3)]
        for fold in range(3)
    ]
    assert (np.ptp(sizes, axis=0) <= 1).all() and np.min(sizes) >= 1
    val = set(slices.rows_of("val"))
    for fold in range(3):
        rows = np.concatenate([slices.scans.rows[i] for i in np.flatnonzero(slices.folds == fold)])
        held_out = set(rows[slices.labels[rows] != UNLABELLED])
        left = set(slices.training_keys(config, "gray", fold, 0))
        assert held_out and not held_out & left and not val & (held_out | left)
        assert held_out | left == set(slices.rows_of("train"))


def test_without_folds_no_scan_has_one(cohort):
    _, slices = cohort(folds=0)
    assert (slices.folds == NO_FOLD).all()


def test_shuffled_diagnoses_are_of_whole_scans(cohort):
    _, plain = cohort()
    _, slices = cohort(shuffle_labels=True)
    assert (slices.scans.diagnoses != plain.scans.diagnoses).any()
    assert sorted(slices.scans.diagnoses) == sorted(plain.scans.diagnoses)
    for diagnosis, rows in zip(slices.scans.diagnoses, slices.scans.rows, strict=True):
        assert set(slices.labels[rows]) <= {diagnosis, UNLABELLED}


def test_a_class_with_one_labelled_scan_is_refused(make_store, make_labels, small_config):
    scans = [*((f"c{n}", COVID) for n in range(3)), ("a0", CAP), ("a1", CAP),
             ("n0", NORMAL), ("n1", NORMAL)]  # fmt: skip
    store = make_store(scans, side=8)
    infected = {f"c{n}": INFECTED for n in range(3)} | {"a0": INFECTED}
    for a1 in ({}, {"a1": (False,) * SLICES}):  # labelled, and no slice of it is infected
        labels = make_labels(infected | a1, ["n0", "n1"])
        with pytest.raises(InputError, match="1 scans of CAP have slices with that label; .* two"):
            split_scans(small_config, store, labels, 0)


@pytest.fixture
def few_caps(make_store, make_labels, small_config):
    """A function from settings and seed to a split of 4 of 6 labelled scans of each class, of which
    CAP's last three have no infected slice."""
    names = [(f"{letter}{n}", label) for letter, label in zip("nca", range(3), strict=True)
             for n in range(6)]  # fmt: skip
    store = make_store(names, side=8)
    infected = {name: INFECTED for name, _ in names if name[0] != "n"}
    infected |= dict.fromkeys(("a3", "a4", "a5"), (False,) * SLICES)
    labels = make_labels(infected, [name for name, _ in names if name[0] == "n"])

    def split_by(seed=0, **settings):
        return split_scans(
            dataclasses.replace(small_config, normal_scans=6, **settings), store, labels, seed
        )

    return split_by


@pytest.mark.parametrize("seed", range(4, 8))
def test_each_part_and_each_fold_has_each_class(few_caps, seed):
    slices = few_caps(seed, folds=2)
    for rows in (slices.rows_of("val"), *(slices.rows_of("train", fold) for fold in (None, 0, 1))):
        assert set(slices.labels[rows]) == {NORMAL, COVID, CAP}
    assert set(slices.folds) == {0, 1, NO_FOLD}


def test_more_folds_than_training_scans_of_a_class_are_refused(few_caps, cohort):
    with pytest.raises(
        InputError, match="--folds is 3, and 2 scans of CAP .* give 2 at most, or 0"
    ) as error:
        few_caps(folds=3)
    assert "\n" not in str(error.value)
    assert few_caps(folds=3, scenario=("gray",)) and few_caps(folds=0)  # folds train nothing there
    with pytest.raises(InputError, match="--folds is 4, and 3 scans of CAP"):
        cohort(folds=4)


@pytest.fixture
def copies(make_store):
    """A function from a pair of scans to a store in which they share one slice."""
    names = [("c0", COVID), ("c1", COVID), ("a0", CAP)]
    folder = make_store(names, side=8).folder

    def share(one, other):
        store = Store(folder)
        rows = {name: [row for row in store.index if row["scan"] == name] for name, _ in names}
        rows[other][2]["hu_sha256"] = rows[one][1]["hu_sha256"]
        return store

    return share


def test_two_scans_of_a_folder_that_share_a_slice_are_refused(copies):
    with pytest.raises(InputError) as error:
        split.check_copies([Path("scans")], [copies("c0", "a0")])
    assert str(error.value) == (
        f"{Path('scans/a0')}: holds the same slice (2.dcm) as {Path('scans/c0')}; a scan may be in "
        "a folder once, or it trains and validates: remove one of the two"
    )


def test_scans_of_two_folders_that_share_a_slice_are_refused(copies):
    whole = copies("c0", "c0")  # a slice twice in one scan is no second scan
    split.check_copies([Path("scans")], [whole])
    folders = [Path("scans"), Path("one"), Path("two")]
    with pytest.raises(InputError, match="train or test, not both: remove one of the two"):
        split.check_copies(folders[:2], [whole, whole])
    other = copies("c0", "c0")
    for row in other.index:
        row["hu_sha256"] = f"other {row['sample_id']}"
    split.check_copies(folders[:2], [other, whole])
    with pytest.raises(InputError, match="^two.c0: holds .* as one.c0; a scan may test once: "):
        split.check_copies(folders, [other, whole, whole])


def test_padding_is_no_copy(copies):
    store = copies("c0", "c0")
    for row in store.index[::2]:
        row["hu_sha256"] = ""
    split.check_copies([Path("scans")], [store])


def test_regions_are_equal_parts_from_head_to_foot(make_store):
    scans = split.Scans.of(make_store([("a", 0)], slices=10, side=8))
    assert scans.regions(5).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert scans.regions(3).tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_scans_keep_the_order_of_the_store(make_store):
    scans = split.Scans.of(make_store([("P10", 1), ("P2", 1), ("a", 2)], side=8))
    assert scans.patients.tolist() == ["P10", "P2", "a"]
    assert scans.diagnoses.tolist() == [1, 1, 2]
    assert [rows.tolist() for rows in scans.rows] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_a_test_set_without_labels_scores_no_slices(make_store, small_config, scans, tmp_path):
    """Its normal scans need no labels, and would make an accuracy of one class."""
    store = make_store([("n0", NORMAL), ("c0", COVID)], side=8)
    for name in ("COVID-19/c0", "Normal/n0"):
        (tmp_path / "test" / name).mkdir(parents=True)
    config = dataclasses.replace(small_config, test=(tmp_path / "test",))
    (found,) = split.read_test_sets(config, [store])
    assert found.name == "test-1" and (found.labels == UNLABELLED).all()
