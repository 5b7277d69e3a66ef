"""Who the phantom patients are and how they were scanned: every parameter, drawn without the class.

Three groups of parameters, each with its own table of quantiles: `Body`, `Acquisition` and
`Lesion`. Every patient draws lesions of both kinds; only `lesions.place_lesions` looks at the class
and uses those of one kind, or none.
"""

from dataclasses import asdict, dataclass, fields
from typing import Literal

import numpy as np

from cnr_iemn.config import CLASSES
from replication.phantoms import chance, choice, integer, log_uniform, quantile_table, uniform

NORMAL, COVID, CAP = CLASSES
FOLDERS = {COVID: "COVID-19 subjects", CAP: "Cap subjects", NORMAL: "Normal subjects"}
IDENTIFIERS = {COVID: "P{:03d}", CAP: "cap{:03d}", NORMAL: "normal{:03d}"}
# Paper: 3.1, what the training set, the second and the third test set of the challenge are.
Kind = Literal["standard", "low-dose", "heart"]
STANDARD, LOW_DOSE, HEART = "standard", "low-dose", "heart"
OPERATIONS = ("none", "pacemaker", "sternotomy", "effusion", "sternotomy and effusion")
LOW_DOSE_NOISE = 2.2  # Ours: noise goes with dose^-1/2, so this is a fifth of the dose
LARGE_HEART = 1.2  # Ours


@dataclass(frozen=True)
class Body:
    """One thorax. Ranges are Ours unless said otherwise, chosen to span adults on real scans.

    Lengths are in mm, densities in HU.
    """

    male: bool = chance(0.55)
    age: int = integer(24, 86)
    size: float = uniform(0.88, 1.12)  # of all lengths in the axial plane
    depth: float = uniform(0.92, 1.1)  # front to back, relative
    fat_mm: float = log_uniform(5, 34)  # under the skin
    muscle: float = uniform(0.8, 1.2)  # thickness, relative
    breast_mm: float = uniform(6, 30)  # thickness, in women
    inflation: float = uniform(0, 1)  # 0: breathed out, 1: full breath
    length_extra_mm: float = uniform(-14, 14)  # of the lungs
    turn_deg: float = uniform(-5, 5)
    shift_x_mm: float = uniform(-10, 10)
    shift_y_mm: float = uniform(-8, 8)
    warp_mm: float = uniform(1.5, 4.5)  # how far all borders wander
    heart: float = uniform(0.88, 1.14)
    heart_tilt_deg: float = uniform(-34, -12)
    aorta: float = uniform(0.85, 1.2)
    mediastinal_fat: float = uniform(0.9, 1.12)  # width of the mediastinum, relative
    right_dome: float = uniform(0.64, 0.73)  # height: 0 is the apex, 1 the base of the lungs
    left_dome_lower: float = uniform(0.015, 0.06)
    rib_drop: float = uniform(0.26, 0.40)
    bone: float = uniform(0.75, 1.2)  # density, relative
    gas: float = uniform(0, 1)  # in stomach and bowel
    # Lungs; median density of real ones is -850 to -906 HU, and less air remains after breathing
    # out (https://thorax.bmj.com/content/44/6/485).
    lung_hu_extra: float = uniform(-26, 26)
    gradient_hu: float = uniform(
        20, 110
    )  # the back is denser; http://pubmed.ncbi.nlm.nih.gov/512106
    coarse_hu: float = uniform(8, 20)
    fine_hu: float = uniform(5, 12)
    vessels: float = uniform(0.85, 1.2)  # radius, relative
    airway_wall: float = uniform(0.8, 1.5)  # thickness, relative
    # What is no infection: in every class.
    dependent_mm: float = uniform(0, 9)  # dense lung along the back
    scars: int = integer(0, 3)
    emphysema: bool = chance(0.3)
    bullae: int = integer(4, 18)  # where there is emphysema
    nodules: int = integer(0, 2)
    # In the heart set alone.
    operation: str = choice(OPERATIONS)
    effusion_mm: float = uniform(24, 60)  # depth of the fluid at the base
    effusion_side: str = choice(("right", "left", "both"))

    @property
    def lung_length_mm(self) -> float:
        """From the apex to the lowest recess."""
        return 232 + 62 * self.inflation + self.length_extra_mm

    @property
    def lung_hu(self) -> float:
        return -830 - 68 * self.inflation + self.lung_hu_extra


@dataclass(frozen=True)
class Acquisition:
    """How one scan is taken. Ranges are Ours unless said otherwise; lengths in mm, noise in HU."""

    field_mm: float = uniform(345, 425)  # of view, times the patient's size
    noise_hu: float = log_uniform(10, 28)  # SD in soft tissue; 9 to 18 HU on real scans
    dose: float = log_uniform(0.8, 2.2)  # noise of the heart set, relative
    grain_px: float = uniform(0.55, 1.05)  # of the noise, at 512 px
    kernel_mm: float = uniform(0.35, 0.65)  # blur, SD
    offset_hu: float = uniform(-6, 6)
    # Paper: 3.1, 2 mm; various in the third test set. Which ones is Ours.
    thickness_mm: str = choice(("1", "1.5", "2", "3", "5"))
    above_mm: float = uniform(8, 34)  # scanned above the apex
    below_mm: float = uniform(2, 44)  # scanned below the lungs
    first_location_mm: float = uniform(-120, 60)
    phase: float = uniform(0, 1)  # of the slices against the body
    table_mm: float = uniform(2, 9)  # below the back
    gown: float = uniform(-0.6, 1)  # folds of clothes in front of the chest; below 0 none
    padded: bool = chance(0.4)  # file names IM0007.dcm, else CODE_7.dcm


@dataclass(frozen=True)
class Lesion:
    """Lesions of both kinds; which are used, if any, is up to the class. Ranges are Ours.

    covid_*: ground glass in both lungs, peripheral, dorsal
        (https://pubs.rsna.org/doi/10.1148/radiol.2020200463); mean densities near -450 HU
        (https://www.acemap.info/paper/290460253).
    cap_*: one or few consolidations, mostly of one lung.
    """

    covid_extent: float = log_uniform(0.012, 0.13)  # share of the lungs
    covid_count: int = integer(5, 16)
    covid_hu: float = uniform(-640, -380)
    covid_height: float = uniform(0.42, 0.72)  # 0 at the apex, 1 at the base
    covid_dorsal: float = uniform(0.1, 0.6)
    covid_cores: float = uniform(0, 0.6)  # share of lesions with a dense core
    covid_balance: float = uniform(0.3, 0.7)  # share in the right lung
    cap_extent: float = log_uniform(0.008, 0.12)
    cap_count: int = integer(1, 3)
    cap_hu: float = uniform(-40, 55)
    cap_left: bool = chance(0.45)
    cap_both: bool = chance(0.15)
    cap_height: float = uniform(0.2, 0.85)
    cap_lobar: bool = chance(0.6)  # ends at the fissure
    cap_rim_mm: float = uniform(3, 7)  # of ground glass around it


@dataclass(frozen=True)
class Patient:
    """One scan of one patient; everything that decides how it looks."""

    patient: str  # as the data set names them: P001, cap001, normal001
    label: str
    number: int
    seed: int
    kind: Kind
    body: Body
    scan: Acquisition
    lesion: Lesion

    @property
    def folder(self) -> str:
        return f"{FOLDERS[self.label]}/{self.patient}"

    @property
    def thickness_mm(self) -> float:
        return float(self.scan.thickness_mm) if self.kind == HEART else 2.0

    @property
    def noise_hu(self) -> float:
        """SD of the noise in soft tissue."""
        factor = {STANDARD: 1.0, LOW_DOSE: LOW_DOSE_NOISE, HEART: self.scan.dose}[self.kind]
        return factor * self.scan.noise_hu

    @property
    def heart(self) -> float:
        return self.body.heart * (LARGE_HEART if self.kind == HEART else 1)

    @property
    def operation(self) -> str:
        return self.body.operation if self.kind == HEART else OPERATIONS[0]

    def stream(self, purpose: int) -> np.random.Generator:
        """A stream for each purpose: the class cannot change what the others draw."""
        return np.random.default_rng([self.seed, 3, purpose, self.number])


def draw_cohort(
    covid: int, cap: int, normal: int, seed: int, kind: Kind = STANDARD
) -> list[Patient]:
    """Draw all patients: COVID-19 first, then CAP, then normal ones, each numbered from 1.

    Each parameter is stratified within each class (Latin hypercube): over n patients it takes one
    value from each of its n quantiles, in random order. All classes then share one distribution.
    The strata depend on n: each size is a cohort of its own.
    """
    cohort = []
    for k, (label, count) in enumerate([(COVID, covid), (CAP, cap), (NORMAL, normal)]):
        rng = np.random.default_rng([seed, 1, k])
        bodies, scans = _draw(Body, rng, count), _draw(Acquisition, rng, count)
        lesions = _draw(Lesion, np.random.default_rng([seed, 2, k]), count)
        for n, (body, scan, lesion) in enumerate(zip(bodies, scans, lesions, strict=True)):
            name = IDENTIFIERS[label].format(n + 1)
            number = len(CLASSES) * n + k
            cohort.append(Patient(name, label, number, seed, kind, body, scan, lesion))
    return cohort


def drawn_values(patient: Patient) -> dict:
    """Every drawn parameter by name; what the class or the kind of set ignores is ''."""
    used = {COVID: "covid_", CAP: "cap_"}.get(patient.label)
    unused = {name for name in asdict(patient.lesion) if used is None or not name.startswith(used)}
    if patient.kind != HEART:
        unused |= {"operation", "effusion_mm", "effusion_side", "dose", "thickness_mm"}
    drawn = asdict(patient.body) | asdict(patient.scan) | asdict(patient.lesion)
    return {name: "" if name in unused else value for name, value in drawn.items()}


def _draw(kind, rng: np.random.Generator, count: int) -> list:
    """`count` instances of a parameter class, one from each of `count` strata a parameter."""
    quantiles = [f.metadata["quantile"] for f in fields(kind)]
    table = quantile_table(rng, len(quantiles), count)
    return [kind(*(q(float(u)) for q, u in zip(quantiles, row, strict=True))) for row in table]
