"""Every hyperparameter of the study. The defaults are the paper's run where it states one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from preprocessing.errors import InputError
from replication.records import MARGIN

# Ours: the order of the network's outputs: alphabetical, as Keras orders class folders.
CLASSES = ("COVID", "Normal", "Viral Pneumonia")

PAPER_TRANSFER_RATE = 0.01  # Paper: section 3.2: "ideal", found by trying several

Model = Literal["v-breathnet", "densenet121", "mobilenetv2", "vgg16"]
PAPER_ROWS = {
    "v-breathnet": "V-BreathNet",
    "densenet121": "DenseNet",
    "mobilenetv2": "MobileNet-V2",
    "vgg16": "VGG16",
}


@dataclass(frozen=True)
class VBreathNetConfig:
    """V-BreathNet: chest radiographs told apart as COVID, normal or viral pneumonia.

    Runs the network and the three transfer-learning baselines of Table 3, unless --model names
    fewer.
    """

    data: Path
    """Folder of class folders COVID, Normal and Viral Pneumonia, with the images in them or in an
    images folder inside (the COVID-19 Radiography Database as published)."""
    out: Path
    """Folder for the store, runs and verdicts. Running again with the same one carries on."""

    model: tuple[Model, ...] = ("v-breathnet", "densenet121", "mobilenetv2", "vgg16")
    """Networks (section 3.3 and Table 3)."""
    weights: str = "imagenet"
    """Initial weights of the baselines (section 3.2: ImageNet): imagenet fetches them, a path
    names a folder with the weight files of keras.applications, random does without, and the
    report says so."""
    seeds: int = 1
    """How many runs of each model, with seeds 0, 1, ... Ours: the paper reports one run."""
    stop_after: Literal["prepare", "train", "evaluate"] = "evaluate"
    """Stop after this stage."""

    classes: tuple[str, ...] = CLASSES
    """Names of the class folders, in the order of the network's outputs."""
    image_size: int = 224
    """Side of the images. Inferred: 193 to 256 give the printed parameter count."""
    min_sharpness: float = 10.0
    """Images whose variance of the Laplacian (at 224 px, 8 bit) is lower are blurred and
    removed (section 3.1). Ours: the threshold is not stated."""
    min_contrast: float = 25.0
    """Images whose gray levels have a lower SD are removed for very low contrast (section 3.1).
    Ours: the threshold is not stated."""
    max_contrast: float = 100.0
    """Images whose gray levels have a higher SD are removed for high contrast (section 3.1).
    Ours: the threshold is not stated; a picture of black and white alone has up to 127."""
    max_unreadable: float = 0.01
    """Unreadable files are listed and skipped up to this share of all; more stop the run. Ours."""

    protocol: Literal["split-first", "published-leaky-augment-first"] = "split-first"
    """split-first augments only the training part. published-leaky-augment-first is the paper's
    order (section 3.1: 3200 of each class by augmentation, then split): copies of an image land
    on both sides, and every number is reported as LEAKY."""
    val_fraction: float = 0.2
    """Share of the images that validate (sections 3.1 to 3.3: 80:20)."""
    test_per_class: int = 30
    """Images of each class held out for the test (section 4: 90 images in equal parts)."""
    per_class: int = 3170
    """Images of each class, training and validation together (section 3.3: 7608 and 1902 of all
    three; the 3200 of section 3.1 and Table 2 count 30 test images more). Larger classes are drawn
    down; smaller ones grow by augmented copies, in the training part alone unless the protocol
    says otherwise. 0 takes the images as they are."""
    augmentation: Literal["copies", "every-epoch", "none"] = "copies"
    """copies: originals and fixed augmented copies (section 3.1). every-epoch: each training
    image is drawn anew in every epoch. none: originals alone. Ours: the last two."""
    rotation: float = 10.0
    """Augmentation turns by up to this many degrees. Ours: section 3.1 names no operation."""
    shift: float = 0.05
    """Augmentation shifts by up to this share of the side. Ours."""
    zoom: float = 0.1
    """Augmentation scales by up to this share. Ours."""

    scaling: Literal["unit", "standardized"] = "unit"
    """Pixel values 0 to 1, or each image to mean 0 and SD 1. Ours: not stated. The baselines
    always get 0 to 1, which their own preprocessing continues."""
    batch_size: int = 32
    """Images a step. Ours: not stated (Inferred: if 96.84 % is of whole
    batches of 1902 images it was none of 16, 32, 64 and 128; 20 would fit, and 28 others)."""
    epochs: int = 30
    """Passes over the training part. Ours: section 4 has its best epoch at the 24th."""
    learning_rate: float = 1e-3
    """Of RMSprop, at the start (section 3.3)."""
    halve_every: int = 5
    """Epochs after which the learning rate is halved (section 3.3)."""
    min_learning_rate: float = 1e-6
    """The halving stops here (section 3.3)."""
    dropout: float = 0.2
    """Rate after each block. Ours: section 3.3 names dropout without a rate."""
    dense_dropout: float = 0.5
    """Rate after the dense layer. Ours: likewise."""
    batch_norm_momentum: float = 0.99
    """Weight of the old moving average. Ours: not stated; the Keras default."""
    activation_order: Literal["conv-relu-norm", "conv-norm-relu"] = "conv-relu-norm"
    """Ours: section 3.3 does not place the ReLU."""

    transfer_epochs: int = 5
    """Epochs of the baselines (section 3.2, Table 3: five)."""
    transfer_head: Literal["pool", "flatten", "dense"] = "pool"
    """Head of the baselines. Inferred: pool gives the printed counts at any size, the other two at
    --image-size 96 only."""
    transfer_learning_rate: tuple[float, ...] = (PAPER_TRANSFER_RATE,)
    """Of the baselines (section 3.2: 0.01, found by trying several: name several to compare).
    Ours: it stays constant, and their optimizer, RMSprop; the paper names none for them."""

    precision: Literal["float32", "auto"] = "float32"
    """Ours: auto takes mixed_float16 on GPUs and mixed_bfloat16 on CPUs that multiply it."""
    devices: Literal["one", "all"] = "one"
    """all: each batch is shared among the GPUs of the machine, batch norm too; dropout draws other
    masks, and samples that cannot be shared equally are left out of an epoch. Ours."""
    smooth_samples: int = 30
    """Noisy copies for SmoothGrad. Ours: the paper says saliency map, without a method."""
    roi_dir: Path | None = None
    """Folder of the region files if they are not beside the images. They hold the chest boxes that
    scripts/mark_roi.py draws for the cropped test of section 4; an image without one takes the
    box of its lung mask, where there is one."""
    export: bool = True
    """Also write V-BreathNet for low-power devices (LiteRT, float and int8)."""
    export_beside: bool = True
    """Measure MobileNetV2's files beside those of V-BreathNet, which takes a minute."""

    jobs: int = 1
    """Networks trained and evaluated at once, each in a process with its share of the cores and the
    memory of one. Images are read on all cores in any case. Ours."""
    cluster: str | None = None
    """Do both on a Dask cluster, named by its scheduler's address such as tcp://10.0.0.5:8786.
    Ours."""

    shuffle_labels: bool = False
    """Sanity check: deal the labels out anew. The accuracy must fall to chance."""
    paper_data: bool = False
    """Claim that --data holds the paper's own images (Table 1's counts). Only then are our numbers
    compared with the printed ones."""
    margin: float = MARGIN
    """Our numbers agree with printed ones where they surely differ by less than this. It is written
    down before training begins; scripts/verify.py --margin takes another, and says so."""

    def __post_init__(self):
        """Refuse values that no run can have.

        Raises:
            InputError: names the flag, its value and what it may be.
        """
        for name in ("seeds", "batch_size", "epochs", "learning_rate", "min_learning_rate",
                     "halve_every", "test_per_class", "transfer_epochs", "smooth_samples", "model",
                     "transfer_learning_rate", "margin", "jobs"):  # fmt: skip
            value = getattr(self, name)
            if not (value if isinstance(value, tuple) else value > 0):
                self._refuse(name, "more than zero" if value != () else "at least one")
        for name in ("val_fraction", "batch_norm_momentum"):
            if not 0 < getattr(self, name) < 1:
                self._refuse(name, "between 0 and 1")
        for name in ("dropout", "dense_dropout", "max_unreadable", "shift", "zoom"):
            if not 0 <= getattr(self, name) < 1:
                self._refuse(name, "at least 0 and below 1")
        for name in ("per_class", "min_sharpness", "min_contrast", "rotation"):
            if getattr(self, name) < 0:
                self._refuse(name, "0 or more")
        if self.learning_rate < self.min_learning_rate:
            self._refuse("learning_rate", f"at least --min-learning-rate {self.min_learning_rate}")
        if self.max_contrast <= self.min_contrast:
            self._refuse("max_contrast", f"more than --min-contrast {self.min_contrast}")
        if min(self.transfer_learning_rate) <= 0:
            self._refuse("transfer_learning_rate", "more than zero")
        if self.image_size < 32:
            self._refuse("image_size", "32 or more, for six poolings of V-BreathNet")
        if self.image_size < 96 and set(self.model) != {"v-breathnet"}:
            self._refuse(
                "image_size", "96 or more, or the baselines' maps are below their head's 3x3"
            )
        if len(set(self.classes)) < 2 or len(set(self.classes)) < len(self.classes):
            self._refuse("classes", "two or more different names")

    def _refuse(self, name: str, expected: str) -> None:
        flag = "--" + name.replace("_", "-")
        raise InputError(f"{flag} is {getattr(self, name)}; it has to be {expected}")

    @property
    def leaky_protocol(self) -> bool:
        """Whether the paper's order, which leaks, was asked for."""
        return self.protocol == "published-leaky-augment-first"
