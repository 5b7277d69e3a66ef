"""Every hyperparameter of the study. The defaults are the paper's run where it states one."""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from preprocessing.errors import InputError
from replication.records import MARGIN

STUDY = "cnr_iemn"  # the folder of its runs

# Paper: section 3.3.1 names the classes in this order. Ours: it is the order of the outputs.
CLASSES = ("Normal", "COVID-19", "CAP")
NORMAL, COVID, CAP = range(3)

Network = Literal["resnext50_32x4d", "densenet161", "inception_v3", "wide_resnet50_2"]
NETWORKS: tuple[Network, ...] = (
    "resnext50_32x4d",
    "densenet161",
    "inception_v3",
    "wide_resnet50_2",
)
PAPER_ROWS = {
    "resnext50_32x4d": "ResneXt-50",
    "densenet161": "Densenet-161",
    "inception_v3": "Inception-v3",
    "wide_resnet50_2": "Wide-Resnet-50",
}

# `width` is a multiple of one over these: the largest number that divides channels and groups of
# each layer of a network.
WIDTH_PARTS = {
    "resnext50_32x4d": 32,
    "densenet161": 48,
    "inception_v3": 16,
    "wide_resnet50_2": 64,
}
RISE_MASKS_AT_LEAST = 128  # two batches, to see whether a map is stable

Scenario = Literal["gray", "segmented", "augmented", "multitask"]
SCENARIOS: tuple[Scenario, ...] = ("gray", "segmented", "augmented", "multitask")
# Paper: sections 4.2.1 to 4.2.4: each scenario has a table and a figure of confusion matrices.
PAPER_TABLES = {
    "gray": ("1", "figure 6"),
    "segmented": ("2", "figure 7"),
    "augmented": ("3", "figure 8"),
    "multitask": ("4", "figure 9"),
}


@dataclass(frozen=True)
class CnrIemnConfig:
    """CNR-IEMN: CT scans told apart as normal, COVID-19 or community-acquired pneumonia (CAP).

    Four slice networks in the four scenarios of Tables 1 to 4, then the patient's diagnosis from
    their predictions, unless --network and --scenario name fewer.
    """

    data: Path
    """Folder of class folders with one folder of DICOM files (or one NIfTI file) a patient, and
    slice labels (COVID-CT-MD as published, or a slice_labels.csv)."""
    out: Path
    """Folder for the stores, runs and verdicts. Running again with the same one carries on."""
    test: tuple[Path, ...] = ()
    """Folders of further scans, laid out as --data, that test the patient stage: the challenge's
    three test sets, in its order (section 3.1)."""

    scenario: tuple[Scenario, ...] = SCENARIOS
    """gray repeats the slice three times (Table 1); segmented stacks slice, lung mask and their
    product (Table 2); augmented adds copies of infected slices (Table 3); multitask adds the second
    task (Table 4). The patient stage runs on multitask alone (section 4.2.5)."""
    network: tuple[Network, ...] = NETWORKS
    """Backbones (section 3.3.1)."""
    weights: str = "imagenet"
    """Initial weights of the backbones (section 3.3.1: ImageNet): imagenet fetches them, a path
    names a weight file or a folder of them, random does without, and the report says so."""
    width: float = 1.0
    """Share of the channels that each convolution of the backbones has, with random weights only;
    1 is published. Ours: a class cannot train the published ones in an afternoon."""
    seeds: int = 1
    """How many runs, with seeds 0, 1, ... Ours: the paper reports one."""
    stop_after: Literal["prepare", "train", "evaluate"] = "evaluate"
    """Stop after this stage."""

    labels: Literal["updated", "first"] = "updated"
    """Slice labels as corrected in September 2021, or as first published. Inferred: the corrected
    ones have 3815 infected slices of COVID-19 and 1178 of CAP, 1333 and 436 more than train
    (section 3.3.1), and all recalls of Figures 6 to 9 are rounded shares of 1333 and of 436. The
    first ones would leave 1297 of COVID-19, of which none of its four recalls is a share."""
    window_low: float = -1000.0
    """HU shown as black. Ours: section 3.3.1 says no contrast enhancement, and no window."""
    window_high: float = 400.0
    """HU shown as white. Ours."""
    keep_regions: Literal[1, 2] = 2
    """Regions that the lung segmentation keeps. Section 3.2 says the biggest; the program that it
    cites keeps two, and with one a lung is lost wherever the lungs are not joined."""
    store_size: int = 320
    """Side of the slices in the store, from which networks' inputs are cut. Ours."""
    input_size: int = 224
    """Side of the networks' inputs. Ours: not stated; what ImageNet weights were trained with."""
    inception_size: int = 299
    """The same for Inception-v3. Ours."""

    val_fraction: float = 0.3
    """Share of the scans that validates (section 3.1; Inferred: it was 98 of 307, 0.32)."""
    normal_scans: int = 30
    """Normal scans whose slices all count as normal in the first stage: the first ones (section
    3.3)."""
    uninfected_as_normal: bool = True
    """Whether uninfected slices of labelled COVID-19 and CAP scans count as normal. Inferred: the
    10294 normal slices of section 3.3.1 are more than 30 scans can have; with these slices they
    are still more than expected, so how the paper counted stays open."""

    augmentation: Literal["copies", "every-epoch"] = "copies"
    """copies: originals and fixed copies of the infected slices (section 3.3.1). every-epoch: each
    training slice is drawn anew in every epoch. Ours: the latter; where copies are of infected
    slices alone, the marks of augmentation, such as a turned table, tell the class."""
    covid_copies: int = 3
    """Augmented copies of each COVID-19 slice of the training part (section 3.3.1)."""
    cap_copies: int = 10
    """Augmented copies of each CAP slice of the training part (section 3.3.1)."""
    jitter: float = 0.2
    """Brightness and contrast change by up to this share (section 3.3.1)."""
    jitter_chance: float = 0.2
    """Probability of that (section 3.3.1)."""
    flip_chance: float = 0.2
    """Probability of a horizontal flip (section 3.3.1)."""
    perspective: float = 0.5
    """Distortion of the perspective (section 3.3.1)."""
    perspective_chance: float = 0.5
    """Probability of that. Ours: not stated; the default of the library that the paper used."""
    rotation: float = 30.0
    """Degrees to either side (section 3.3.1)."""
    crop: float = 0.875
    """Side of the random crop as a share of the slice's. Ours: section 3.3.1 gives no size; 224 of
    256 pixels are usual."""

    batch_size: int = 64
    """Slices a step (section 4.1)."""
    plain_epochs: int = 20
    """Epochs of the scenarios without copies (sections 4.2.1, 4.2.2)."""
    plain_decays: tuple[int, ...] = (10, 15)
    """Epochs after which their learning rate is divided by ten (sections 4.2.1, 4.2.2)."""
    epochs: int = 10
    """Epochs of the scenarios with copies (sections 4.2.3, 4.2.4)."""
    decays: tuple[int, ...] = (3, 6)
    """Epochs after which their learning rate is divided by ten (sections 4.2.3, 4.2.4)."""
    learning_rate: float = 1e-4
    """Of Adam, at the start (sections 4.2.1 to 4.2.4)."""
    focal_gamma: float = 1.5
    """Of the focal loss (section 4.1)."""
    regions: int = 5
    """Equal parts of a scan from head to foot that the second task tells apart (section 3.3.1)."""
    region_weight: float = 0.3
    """Of the second task's loss; the first has 1 (section 4.2.4)."""
    precision: Literal["float32", "auto"] = "float32"
    """Ours: auto takes mixed_float16 on GPUs and mixed_bfloat16 on CPUs that multiply it."""
    devices: Literal["one", "all"] = "one"
    """all: each batch is shared among the GPUs of the machine, batch norm too; dropout draws other
    masks, and samples that cannot be shared equally are left out of an epoch. Ours."""

    groups: int = 20
    """Groups of slices of a scan whose predictions are counted (section 3.3.2)."""
    folds: int = 3
    """Parts of the training scans for out-of-fold predictions: each part is predicted by networks
    that did not see it, so that the second stage learns from predictions as good as those it will
    meet. Ours; 0 leaves it with the published way alone, which is reported in any case."""

    jobs: int = 1
    """Slice networks trained and evaluated at once, each in a process with its share of the cores
    and the memory of one: on a CPU two small ones together take less time than one after the other.
    Scans are read on all cores in any case. Ours."""
    cluster: str | None = None
    """Do both on a Dask cluster, named by its scheduler's address such as tcp://10.0.0.5:8786.
    Ours."""
    rise_slices: int = 2
    """Slices of each class that are explained (Figures 13 to 15: two)."""
    rise_masks: int = 4000
    """Most masks of a heat map; fewer if it is stable before. Ours: section 4.5 has no number."""
    shuffle_labels: bool = False
    """Sanity check: deal the diagnoses out anew. The accuracy must fall to chance."""
    paper_data: bool = False
    """Claim that --data and --test hold the challenge's own scans. Only then are our numbers
    compared with the printed ones, and ranked among the challenge's."""
    margin: float = MARGIN
    """Our numbers agree with printed ones where they surely differ by less than this. It is written
    down before training begins; scripts/verify.py --margin takes another, and says so."""

    def __post_init__(self):
        """Refuse values that no run can have.

        Raises:
            InputError: names the flag, its value and what it may be.
        """
        for name in ("seeds", "batch_size", "plain_epochs", "epochs", "learning_rate", "scenario",
                     "network", "normal_scans", "rise_masks", "groups", "jobs",
                     "margin"):  # fmt: skip
            value = getattr(self, name)
            if not (value if isinstance(value, tuple) else value > 0):
                self._refuse(name, "more than zero" if value != () else "at least one")
        for name in ("covid_copies", "cap_copies", "rise_slices", "focal_gamma", "region_weight",
                     "rotation"):  # fmt: skip
            if getattr(self, name) < 0:
                self._refuse(name, "0 or more")
        for name in ("jitter_chance", "flip_chance", "perspective_chance", "jitter"):
            if not 0 <= getattr(self, name) <= 1:
                self._refuse(name, "0 to 1")
        if not 0 < self.val_fraction < 1:
            self._refuse("val_fraction", "between 0 and 1")
        for name in ("crop", "width"):
            if not 0 < getattr(self, name) <= 1:
                self._refuse(name, "more than 0, 1 at most")
        if self.width < 1 and self.weights != "random":
            self._refuse("width", "1 with pretrained weights; --weights random takes another")
        parts = math.gcd(*(WIDTH_PARTS[network] for network in self.network))
        if not _is_whole(parts * self.width):
            names = ", ".join(self.network)
            self._refuse("width", f"a multiple of 1/{parts}, to leave layers of {names} whole")
        if not 0 <= self.perspective < 1:
            self._refuse("perspective", "at least 0 and below 1")
        for name in (field.name for field in fields(self) if field.type is float):
            if not math.isfinite(getattr(self, name)):
                self._refuse(name, "a finite number")
        if not self.window_high > self.window_low:
            self._refuse("window_high", f"more than --window-low {self.window_low:g}")
        check_rise_masks(self.rise_masks)
        if self.folds < 0 or self.folds == 1:
            self._refuse("folds", "0, or 2 and more")
        if self.regions < 2:
            self._refuse("regions", "2 or more")
        if min(self.input_size, self.store_size) < 32:
            self._refuse("input_size", "32 or more, and --store-size too")
        if "inception_v3" in self.network and self.inception_size < 75:
            self._refuse("inception_size", "75 or more, or the network ends in nothing")
        for network in self.network:
            if self.size_of(network) > self.store_size:
                name = "inception_size" if network == "inception_v3" else "input_size"
                self._refuse(name, f"at most --store-size {self.store_size}: inputs are cut")

    def _refuse(self, name: str, expected: str) -> None:
        flag = "--" + name.replace("_", "-")
        raise InputError(f"{flag} is {getattr(self, name)}; it has to be {expected}")

    def size_of(self, network: str) -> int:
        """Side of a network's input, px."""
        return self.inception_size if network == "inception_v3" else self.input_size


def check_rise_masks(masks: int) -> None:
    """Refuse a number of masks that RISE cannot do with.

    Raises:
        InputError: there are too few.
    """
    if masks < RISE_MASKS_AT_LEAST:
        raise InputError(
            f"--rise-masks is {masks}; it has to be {RISE_MASKS_AT_LEAST} or more: two batches, to "
            "see whether a map is stable"
        )


def _is_whole(number: float) -> bool:
    return math.isclose(number, round(number))
