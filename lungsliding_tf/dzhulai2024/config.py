"""Every hyperparameter of the study. The defaults are the paper's run where it states one."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lungsliding_tf.floors import LONGEST_LAG
from preprocessing.errors import InputError
from replication.records import MARGIN

Network = Literal["rcm2d", "cmwra", "cmwru", "inception", "cnn2d"]
Flow = Literal["raft-large", "raft-small", "dis", "farneback"]
Experiments = Literal[
    "networks", "first-attempts", "dropout", "clipping", "frames", "flow-step", "gamma",
    "batch-size", "normalisation", "augmentation", "final",
]  # fmt: skip

# Paper: section IV: absent is class 1. Recall, the paper's most important metric, is of it.
CLASSES = ("present", "absent")
FLOW_NETWORKS = ("cmwra",)
FRAME_NETWORKS = ("inception", "cnn2d")
# What one of torchvision's RAFT needs at least, px.
RAFT_SMALLEST = 128
CROP_SIZE = 32  # Paper: section IV


@dataclass(frozen=True)
class DzhulaiConfig:
    """Dzhulai 2024: three networks that detect absent lung sliding, from videos to verdicts.

    With no experiment named, the three networks are trained with Table IV's hyperparameters.
    """

    data: Path
    """Folder with sliding_metafile.json (video_name, video_class, cut_interval) and a folder of
    PNG frames for each video, or with labels.csv and videos."""
    out: Path
    """Folder for stores, runs and verdicts. Running again with the same one carries on."""

    experiment: tuple[Experiments, ...] = ("networks",)
    """networks: the three of section V. first-attempts: InceptionV3 and a 2D network (section III).
    dropout, clipping: Tables II and III. frames, flow-step, gamma, batch-size: Figures 9 to 13 and
    16 to 18. normalisation: the recurrent network without the batch norm that section V-A calls
    mandatory. augmentation: per clip, and per frame as the released code does. final: CMWRU trained
    on the training and validation parts (Table V)."""
    network: tuple[Network, ...] = ("rcm2d", "cmwra", "cmwru")
    """Networks of the experiment "networks"."""
    rcm2d: Literal["paper", "released"] = "paper"
    """The recurrent network of Figure 2, or of the released code."""
    seeds: int = 1
    """How many runs of each experiment, with seeds 0, 1, ... Ours: the paper reports one."""
    stop_after: Literal["prepare", "train", "evaluate"] = "evaluate"
    """Stop after this stage."""

    size: int = 256
    """Side of the whole frames, px (Figures 2, 8, 15)."""
    crops: bool = False
    """Take 32x32 px crops of the marked area instead of whole frames (section IV, first
    experiments; section V-B trains CMWRA on them)."""
    max_crops: int | None = None
    """At most this many crops of a video, evenly spread. Ours: the paper takes all."""
    skip_unusable: bool = False
    """List unreadable videos instead of stopping at the first."""
    frames: int = 45
    """Frames of a clip (Table IV)."""
    rcm2d_frames: int = 30
    """The same for the recurrent network (section V-A)."""
    cmwra_frames: int = 40
    """The same for the network with optical flow (Figure 8)."""

    flow: Flow = "raft-large"
    """What measures optical flow: RAFT (Released: raft-large), which needs --raft-weights, or one
    of OpenCV's methods (Ours)."""
    raft_weights: Path | None = None
    """RAFT's weights, .safetensors or torchvision's .pth (scripts/convert_weights.py)."""
    raft: Literal["frozen", "trainable"] = "frozen"
    """frozen: flow is measured once, into the store. trainable: RAFT is a part of the network and
    trained with it. Released: trainable, as nothing in the code freezes it; the paper does not say
    so."""
    raft_updates: int = 12
    """How often RAFT refines its flow; its time grows with it. Released: 12."""
    flow_step: int = 1
    """Frames between the two pictures of a flow field (section V-B: 1, 2 or 3)."""

    split: Literal["patient-wise", "released-videos"] = "patient-wise"
    """60:20:20 by patient, as section IV states, or by video, as the released code does."""
    test_fraction: float = 0.2
    """Share that tests (section IV)."""
    val_fraction: float = 0.2
    """Share that validates (section IV)."""
    equal_ratios: bool = True
    """Drop clips with sliding until all parts have the same class ratio (section IV)."""
    two_pools: bool = True
    """The recurrent network sees in each epoch as many clips of one class as of the other, new ones
    of the larger class every time (section IV)."""
    allow_mixed_patients: bool = False
    """Accept patients with both classes, as where one lung slides and the other does not."""

    augmentation: Literal["per-clip", "released", "none"] = "per-clip"
    """per-clip: section III's transformations, drawn once for all frames of a clip. released: drawn
    for each frame, as in the released code, and with its brightness."""
    chance: float = 0.5
    """Probability of each transformation (section III)."""
    jitter: float = 0.2
    """Brightness and contrast change by up to this share. Ours; the released code multiplies by 0
    to 0.2 and cuts at 1 of 255."""
    rotation: float = 10.0
    """Degrees to either side. Released; section III: by a specified angle."""
    crop: float = 0.8
    """Least share of the area that the random crop keeps. Released."""

    batch_size: int = 20
    """Clips a step (Table IV)."""
    epochs: int = 16
    """Passes over the training part. Inferred: Table IV's scheduler epochs; no other number is
    printed."""
    sweep_epochs: int = 10
    """The same in sweeps (section V-C)."""
    schedule_epochs: int = 16
    """Epochs of the one-cycle schedule (Table IV)."""
    learning_rate: float = 1e-3
    """Of Adam, at the top of the cycle (Table IV)."""
    weight_decay: float = 1e-3
    """Added to the gradient of every weight (Table IV)."""
    clipping: float = 0.4
    """Gradients are cut at this value (Table IV)."""
    dropout: float = 0.65
    """Probability (Table IV)."""
    rcm2d_dropout: float = 0.4
    """The same of the recurrent network. Released; Table IV is of the final one."""
    gamma: float = 1.0
    """Of the focal loss (Table IV)."""
    alpha: float | Literal["auto"] = 0.8
    """Weight of the absent class in it (Table IV). auto: the share of training clips with sliding,
    as in the released code."""
    smooth_samples: int = 20
    """Noisy copies for SmoothGrad. Ours: the paper explains no network."""
    batch_norm_over: Literal["clip", "batch"] = "clip"
    """Whose frames the recurrent network's batch norm averages in training: each clip's own, as in
    the released code, or all of the batch (Ours)."""
    precision: Literal["float32", "auto"] = "float32"
    """Ours: auto takes mixed_float16 on GPUs and mixed_bfloat16 on CPUs that multiply it."""
    devices: Literal["one", "all"] = "one"
    """all: each batch is shared among the GPUs of the machine, batch norm too; dropout draws other
    masks, and samples that cannot be shared equally are left out of an epoch. Ours."""

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
    overfit_clips: int | None = None
    """Sanity check: train on so many clips alone, half of each class, without augmentation,
    dropout and weight decay. The loss on them must fall to nearly nothing, or the network cannot
    learn."""
    paper_data: bool = False
    """Claim that --data holds the paper's own 171 videos (139 present, 32 absent). Only then are
    our numbers compared with the printed ones."""
    margin: float = MARGIN
    """Our numbers agree with printed ones where they surely differ by less than this. It is written
    down before training begins; scripts/verify.py --margin takes another, and says so."""

    def __post_init__(self):
        """Refuse values that no run can have.

        Raises:
            InputError: names the flag, its value and what it may be.
        """
        for name in ("seeds", "frames", "rcm2d_frames", "cmwra_frames", "flow_step",
                     "raft_updates", "epochs", "sweep_epochs", "schedule_epochs", "learning_rate",
                     "clipping", "experiment", "network", "smooth_samples", "margin",
                     "jobs"):  # fmt: skip
            value = getattr(self, name)
            if not (value if isinstance(value, tuple) else value > 0):
                self._refuse(name, "more than zero" if value != () else "at least one")
        for name, most in (("weight_decay", math.inf), ("jitter", 1), ("rotation", 180)):
            if not 0 <= getattr(self, name) <= most:
                self._refuse(name, "0 or more" if most == math.inf else f"0 to {most}")
        for name in ("chance", "dropout", "rcm2d_dropout"):
            if not 0 <= getattr(self, name) <= (1 if name == "chance" else 0.99):
                self._refuse(name, "0 to 1" if name == "chance" else "at least 0 and below 1")
        for name in ("test_fraction", "val_fraction", "crop"):
            if not 0 < getattr(self, name) < (1.0001 if name == "crop" else 1):
                self._refuse(name, "between 0 and 1")
        clip_lengths = {self.frames_of(network) for network in self.network}
        if self.control_frozen and len(clip_lengths) > 1:
            self._refuse("control_frozen", "given with equal --frames, --rcm2d-frames and "
                         "--cmwra-frames: each clip is frozen by itself")  # fmt: skip
        if self.alpha != "auto" and not 0 < self.alpha < 1:
            self._refuse("alpha", "between 0 and 1, or auto")
        if not self.gamma >= 1:
            self._refuse("gamma", "1 or more, or the loss of a sure answer has no finite gradient")
        if self.test_fraction + self.val_fraction >= 1:
            self._refuse("val_fraction", "less than what the test part leaves")
        if self.batch_size < 2:
            self._refuse("batch_size", "2 or more: batch norm has nothing to average in one clip")
        if self.overfit_clips is not None and (self.overfit_clips < 4 or self.overfit_clips % 2):
            self._refuse("overfit_clips", "4 or more, and even")
        if self.max_crops is not None and self.max_crops < 1:
            self._refuse("max_crops", "1 or more")
        if self.size < 32 or self.size % 16:
            self._refuse("size", "32 or more, and divisible by 16, which the networks pool it by")
        for name in ("frames", "rcm2d_frames", "cmwra_frames"):
            if getattr(self, name) <= LONGEST_LAG:
                self._refuse(name, f"more than {LONGEST_LAG}: floors compare frames so far apart")
        if self.flow_step >= self.cmwra_frames - 2:
            self._refuse("flow_step", f"far less than --cmwra-frames {self.cmwra_frames}")
        if self.control_frozen and self.shuffle_labels:
            self._refuse("shuffle_labels", "left out with --control-frozen, which has no labels")
        if self.raft == "trainable" and not self.flow.startswith("raft"):
            self._refuse("raft", f"frozen with --flow {self.flow}, which cannot be trained")

    def _refuse(self, name: str, expected: str) -> None:
        flag = "--" + name.replace("_", "-")
        raise InputError(f"{flag} is {getattr(self, name)}; it has to be {expected}")

    @property
    def side(self) -> int:
        """Side of the networks' input, px."""
        return CROP_SIZE if self.crops else self.size

    def frames_of(self, network: str) -> int:
        """Frames of a network's clips."""
        return {"rcm2d": self.rcm2d_frames, "cmwra": self.cmwra_frames}.get(network, self.frames)
