"""Every hyperparameter of the study. The defaults are the paper's run where it states one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from preprocessing.errors import InputError
from replication.records import MARGIN

MMODE_CELL = "64-frame"  # Paper: Table 5's name for the M-mode data set
# Paper: Tables 1 to 3 report these five data sets; 2_90x90 is defined and never reported.
REPORTED_CELLS = ("2_30x30", "all_30x30", "2_60x60", "all_60x60", "all_90x90")

Cell = Literal["2_30x30", "all_30x30", "2_60x60", "all_60x60", "2_90x90", "all_90x90", "64-frame"]
Depth = Literal[18, 34, 50]


@dataclass(frozen=True)
class KolarikConfig:
    """Kolárik 2023: 3D ResNets that detect lung sliding, from videos to verdicts.

    With no cell and no depth named, the whole grid of 15 cells (Tables 1 to 3) is run.
    """

    data: Path
    """Folder with labels.csv (file, patient_group, lung_sliding) and the videos."""
    out: Path
    """Folder for stores, runs and verdicts. Running again with the same one carries on."""

    cell: tuple[Cell, ...] = REPORTED_CELLS
    """Data sets (section 3.1.1): rows of tiles and tile size, or 64-frame for the M-mode images
    of Table 5."""
    depth: tuple[Depth, ...] = (18, 34, 50)
    """Depths of the ResNet (section 3.2). M-mode images always use the 2D ResNet-18 (Table 5)."""
    seeds: int = 1
    """How many runs of each cell, with seeds 0, 1, ... Ours: the paper reports one run."""
    stop_after: Literal["prepare", "train", "evaluate"] = "evaluate"
    """Stop after this stage."""

    write_unified: bool = False
    """Also write every video at 640x480 and 30 FPS as MP4, as the paper did (section 3.1.1)."""
    region: Literal["marked", "whole"] = "marked"
    """Use the marked region (section 3.1.1), or the whole picture of every video."""
    roi_dir: Path | None = None
    """Folder of the region files if they are not beside the videos."""
    skip_unusable: bool = False
    """List unreadable videos and regions smaller than a tile instead of stopping at the first."""
    stretch: bool = False
    """Stretch to 640x480 instead of letterboxing. Ours: section 3.1.1 does not say which."""
    max_tiles: int | None = None
    """At most this many tiles a clip, evenly spread. Ours: the paper takes all."""
    mmode_frames: int = 64
    """Width of an M-mode image in frames (Table 5: 64)."""
    mmode_height: int = 128
    """Rows that a column of the region is resampled to. Ours: not stated."""
    mmode_columns: int = 8
    """Columns for each M-mode window. Ours: not stated."""
    mmode_vote: Literal["mean", "majority"] = "mean"
    """How the columns of an M-mode window vote. Ours: not stated."""

    protocol: Literal["patient-wise", "published-leaky-clips"] = "patient-wise"
    """How to split. patient-wise: 70:30 as section 3.1.1 states, with a validation part.
    published-leaky-clips: what the printed numbers reveal, 20 % of the clips at random with the
    checkpoint chosen on the test loss; every number is then reported as LEAKY."""
    test_fraction: float = 0.30
    """Share of the patients that test (section 3.1.1: 70:30)."""
    val_fraction: float = 0.15
    """Share of the patients that choose the checkpoint. Ours: the paper names none."""
    allow_mixed_patients: bool = False
    """Accept patients with both classes. Section 3.1: one video a patient, so one class."""

    scaling: Literal["standardized", "unit"] = "standardized"
    """Pixel values: each clip to mean 0 and SD 1, or 0 to 1. Ours: not stated. On phantoms the
    network finds motion in unseen patients far sooner with the former (docs/results)."""
    batch_size: int = 32
    """Clips a step (section 3.2)."""
    epochs: int = 16
    """Passes over the training part (section 3.2)."""
    learning_rate: float = 1e-3
    """Of Adam. Ours: section 3.2 names Adam alone; this is the Keras default."""
    batch_norm_momentum: float = 0.99
    """Weight of the old moving average. Released: the Keras default; lower it for short runs."""
    precision: Literal["float32", "auto"] = "float32"
    """Ours: auto takes mixed_float16 on GPUs and mixed_bfloat16 on CPUs that multiply it."""
    devices: Literal["one", "all"] = "one"
    """all: each batch is shared among the GPUs of the machine, batch norm too; dropout draws other
    masks, and samples that cannot be shared equally are left out of an epoch. Ours."""
    smooth_samples: int = 50
    """Noisy copies for SmoothGrad. Ours: section 4.5 names the method alone."""

    jobs: int = 1
    """Independent work that is done at once, each in a process with its share of the cores: the
    videos of a store, then the runs. Each run takes the memory of one. Ours."""
    cluster: str | None = None
    """The same on a Dask cluster, named by its scheduler's address such as tcp://10.0.0.5:8786.
    Ours."""

    shuffle_labels: bool = False
    """Sanity check: deal the labels out anew over the patients. The AUROC must fall to chance."""
    control_frozen: bool = False
    """Control experiment: every clip against a motion-frozen copy of itself, labels ignored."""
    paper_data: bool = False
    """Claim that --data holds the paper's own 48 videos (28 present, 20 absent). Only then are
    our numbers compared with the printed ones."""
    margin: float = MARGIN
    """Our numbers agree with printed ones where they surely differ by less than this. It is written
    down before training begins; scripts/verify.py --margin takes another, and says so."""

    def __post_init__(self):
        """Refuse values that no run can have.

        Raises:
            InputError: names the flag, its value and what it may be.
        """
        positive = ("seeds", "batch_size", "epochs", "learning_rate", "smooth_samples",
                    "mmode_frames", "mmode_height", "mmode_columns", "cell", "depth",
                    "margin", "jobs")  # fmt: skip
        for name in positive:
            value = getattr(self, name)
            if not (value if isinstance(value, tuple) else value > 0):
                self._refuse(name, "more than zero" if value != () else "at least one")
        if self.max_tiles is not None and self.max_tiles < 1:
            self._refuse("max_tiles", "1 or more")
        for name in ("test_fraction", "val_fraction", "batch_norm_momentum"):
            if not 0 < getattr(self, name) < 1:
                self._refuse(name, "between 0 and 1")
        if self.test_fraction + self.val_fraction >= 1:
            self._refuse("val_fraction", "less than what the test part leaves")
        if self.control_frozen and self.shuffle_labels:
            self._refuse("shuffle_labels", "left out with --control-frozen, which has no labels")

    def _refuse(self, name: str, expected: str) -> None:
        flag = "--" + name.replace("_", "-")
        raise InputError(f"{flag} is {getattr(self, name)}; it has to be {expected}")

    @property
    def experiments(self) -> tuple[tuple[str, int | None], ...]:
        """The (cell, depth) pairs to run; M-mode has no depth of its own."""
        pairs = [(c, d) for c in self.cell if c != MMODE_CELL for d in self.depth]
        return tuple(pairs + [(c, None) for c in self.cell if c == MMODE_CELL])
