"""Who the phantom patients are: every parameter of every patient, drawn without the class."""

from dataclasses import dataclass, field, fields

import numpy as np

from lungsliding_tf import speckle
from preprocessing.errors import InputError
from replication.phantoms import chance, integer, log_uniform, quantile_table, uniform

PRESENT, ABSENT = "present", "absent"
CLIP_SECONDS = 2.0  # Paper: Kolárik 2023, section 3.1.1: 60 frames at 30 fps


@dataclass(frozen=True)
class PhantomConfig:
    """One phantom cohort. Equal configurations give equal files."""

    present: int = 28  # Paper: Kolárik 2023, section 3.1: 28 videos with lung sliding
    absent: int = 20  # Paper: Kolárik 2023, section 3.1: 20 videos without
    seed: int = 0
    # Paper: Kolárik 2023, section 3.1: 3-18 s present, 2-11 s absent. Ours: one range for both.
    seconds: tuple[float, float] = (2.0, 18.0)
    patients: int | None = None  # only the first so many of the same cohort
    twin: bool = True  # False leaves out the counterfactual twin (an ablation: too easy)

    def __post_init__(self):
        low, high = self.seconds
        if not CLIP_SECONDS <= low <= high:
            raise InputError(f"seconds={self.seconds}: expected {CLIP_SECONDS:g} <= low <= high")
        if min(self.present, self.absent) < 0 or self.present + self.absent == 0:
            raise InputError("present and absent: expected at least one patient, none negative")
        if self.patients is not None and not 1 <= self.patients <= self.present + self.absent:
            total = self.present + self.absent
            raise InputError(f"patients={self.patients}: expected 1 to {total}, the whole cohort")


@dataclass(frozen=True)
class Patient:
    """All drawn parameters of one patient.

    Every range is Ours unless said otherwise, chosen to look like a linear probe on an adult's
    chest. The first five fields name the patient; the others are drawn, without the class.
    """

    patient: str
    number: int
    lung_sliding: str
    seed: int
    twin: bool
    # Video. Paper: Kolárik 2023, section 3.1: these formats; how often each occurs is Ours.
    seconds: float = field(metadata={"quantile": None})  # from PhantomConfig, log-uniform
    wide: bool = chance(0.4)  # 854x480, else 640x480
    fast: bool = chance(0.4)  # 54 fps, else 30
    avi: bool = chance(0.5)  # AVI (MJPG), else MP4 (mp4v)
    # Picture and beam, mm; dB.
    depth_mm: float = uniform(25, 50)
    width_mm: float = log_uniform(32, 48)
    lateral_fwhm_mm: float = log_uniform(0.55, 1.1)  # 2 to 4 wavelengths at 5-12 MHz
    axial_fwhm_mm: float = log_uniform(0.18, 0.32)  # 1 to 2 wavelengths
    gain_db: float = uniform(-7, 7)
    range_db: float = uniform(52, 72)
    gamma: float = log_uniform(0.8, 1.35)
    gain_has_step: bool = chance(0.35)
    gain_step_db: float = uniform(-3, 3)
    flicker: float = log_uniform(0.004, 0.05)  # share of speckle power new in every frame
    # Anatomy. Shares of the picture's height, mm, echo relative to the pleural line.
    pleura_depth: float = uniform(0.32, 0.52)
    pleura_tilt: float = uniform(-0.08, 0.08)
    pleura_thickness_mm: float = uniform(0.22, 0.38)
    left_rib: bool = chance(0.6)
    right_rib: bool = chance(0.65)
    gap: float = uniform(0.5, 0.62)  # between the ribs, share of the picture's width
    gap_centre: float = uniform(-0.04, 0.04)
    rib_above_pleura_mm: float = uniform(3.5, 6)
    fascia_lines: int = integer(5, 13)
    a_lines: int = integer(0, 3)
    a_line_echo: float = log_uniform(0.06, 0.25)
    has_b_lines: bool = chance(0.3)
    haze_db: float = uniform(-2, 5)
    haze_decay_mm: float = log_uniform(4, 12)
    shading: float = uniform(0.3, 0.5)  # SD of the log of the haze along x
    # Motion of everything: hand, heart, breath.
    drift_mm: float = log_uniform(0.1, 1.5)
    restless: bool = chance(0.35)
    restless_mm: float = log_uniform(1, 4)
    restless_hz: float = uniform(0.15, 0.6)
    wobble_mm: float = log_uniform(0.05, 0.3)
    heart_per_min: float = log_uniform(55, 115)
    pulse_mm: float = log_uniform(0.05, 0.35)
    # The sliding, or the sliding that the counterfactual twin stands for.
    breaths_per_min: float = log_uniform(12, 28)
    sliding_mm_s: float = log_uniform(4, 13)  # peak speed
    to_the_right: bool = chance(0.5)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the video in px."""
        return (854, 480) if self.wide else (640, 480)

    @property
    def fps(self) -> float:
        return 54.0 if self.fast else 30.0

    @property
    def frames(self) -> int:
        return round(self.seconds * self.fps)

    @property
    def video_name(self) -> str:
        return f"{self.patient}.{'avi' if self.avi else 'mp4'}"

    @property
    def gap_mm(self) -> float:
        return self.gap * self.width_mm

    @property
    def gap_centre_mm(self) -> float:
        return self.gap_centre * self.width_mm

    @property
    def excursion_mm(self) -> float:
        """How far the lung slides in a breath; about 4 to 14 mm."""
        return self.sliding_mm_s / (np.pi * self.breaths_per_min / 60)

    @property
    def beam(self) -> speckle.Beam:
        """The beam's grid and point-spread function."""
        row_mm = self.depth_mm / speckle.BEAM_ROWS
        line_mm = self.width_mm / speckle.BEAM_LINES
        axial_sd = self.axial_fwhm_mm * speckle.FWHM_TO_SD / row_mm
        lateral_sd = self.lateral_fwhm_mm * speckle.FWHM_TO_SD / line_mm
        return speckle.Beam(row_mm, line_mm, axial_sd, lateral_sd)

    @property
    def display(self) -> speckle.Display:
        return speckle.Display(self.gain_db, self.range_db, self.gamma)


def draw_cohort(config: PhantomConfig) -> list[Patient]:
    """Draw all patients; the first n of a cohort are the same whatever `config.patients` is.

    Each parameter is stratified within each class (Latin hypercube): for n patients it takes one
    value from each of its n quantiles, in random order. Small cohorts are then as balanced as
    large ones, and the two classes share one distribution.
    """
    total = config.present + config.absent
    tables = {
        label: quantile_table(
            np.random.default_rng([config.seed, 1, k]), len(_drawn_fields()), count
        )
        for k, (label, count) in enumerate([(PRESENT, config.present), (ABSENT, config.absent)])
    }
    rows = {label: iter(table) for label, table in tables.items()}
    cohort = []
    for number in range(1, total + 1):
        # Classes take turns in their proportion, so that any first n patients hold both.
        is_present = number * config.present // total > (number - 1) * config.present // total
        label = PRESENT if is_present else ABSENT
        cohort.append(_draw_patient(config, number, label, next(rows[label])))
    return cohort[: config.patients]


def _drawn_fields():
    return [f for f in fields(Patient) if "quantile" in f.metadata]


def _draw_patient(config, number: int, label: str, quantiles: np.ndarray) -> Patient:
    low, high = config.seconds
    drawn = {}
    for parameter, u in zip(_drawn_fields(), quantiles, strict=True):
        quantile = parameter.metadata["quantile"] or (lambda u: low * (high / low) ** u)
        drawn[parameter.name] = quantile(float(u))
    return Patient(f"p{number:03d}", number, label, config.seed, config.twin, **drawn)
