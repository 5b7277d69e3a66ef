"""Who the phantom patients are and how they were filmed: every parameter, drawn without the class.

Four groups of parameters, each with its own table of quantiles: `Anatomy` and `Lesion` once a
patient, `Exposure` once a film. Every patient draws a lesion of each kind; only
`lesions.lesion_map` looks at the class and uses one, or none.
"""

from dataclasses import asdict, dataclass, fields, replace

import numpy as np

from replication.phantoms import chance, choice, integer, log_uniform, quantile_table, uniform
from vbreathnet.config import CLASSES

COVID, NORMAL, PNEUMONIA = CLASSES
# Words seen on films of the database.
MARKERS = ("R", "L", "AP", "PORTATIL", "SUPINO", "DCHA")
# Ours: for the classroom exercise on shortcuts only: word, whether it stands on the left, and where
# `Exposure.marker_along` begins, of which `PLANTED_ALONG` is left to chance. Planted markers are as
# large and as white as drawn ones can be, on a black plate: a linear model is to see them.
MARKER_OF_CLASS = {COVID: "PORTATIL", NORMAL: "L", PNEUMONIA: "R"}
MARKER_PLACE_OF_CLASS = {COVID: (True, 0.0), NORMAL: (False, 0.0), PNEUMONIA: (True, 0.7)}
PLANTED_ALONG = 0.1
PLANTED_HEIGHT, PLANTED_GREY = 0.06, 1.0
BAD_SHARE = 0.08  # Ours: of each class this share is blurred, and as many films are low in contrast


@dataclass(frozen=True)
class Anatomy:
    """One chest. Lengths are shares of the picture's width at scale 1; attenuations are in nepers.

    All ranges are Ours, chosen to span children to obese adults on real films.
    """

    body_half_width: float = uniform(0.43, 0.58)
    fat: float = uniform(0.7, 1.5)  # thickness of the chest wall, relative
    arm_gap: float = uniform(-0.06, 0.1)  # between trunk and arm; negative: they overlap
    lung_half_width: float = uniform(0.345, 0.415)  # midline to the inside of the ribs
    apex: float = uniform(-0.43, -0.37)  # height of the lungs' tops; downwards is positive
    shoulder_slope: float = uniform(0.07, 0.17)
    left_dome_lower: float = uniform(0.01, 0.045)  # Ours: the left diaphragm is lower
    dome_curve: float = uniform(0.07, 0.13)  # depth of the costophrenic angle
    heart_radius: float = uniform(0.135, 0.19)
    heart_offset: float = uniform(0.055, 0.10)
    heart_tilt_deg: float = uniform(25, 48)
    atrium: float = uniform(0.055, 0.085)
    aortic_knob: float = uniform(0.022, 0.04)
    pedicle: float = uniform(0.05, 0.072)  # half-width of the mediastinum above the heart
    bone: float = uniform(0.7, 1.3)  # contrast of spine, clavicles, shoulders
    rib_contrast: float = uniform(0.18, 0.34)
    rib_spacing: float = uniform(0.064, 0.078)
    rib_drop: float = uniform(0.15, 0.23)  # from the spine to the front end
    vessel_contrast: float = uniform(0.18, 0.36)
    vessel_stems: int = integer(6, 9)  # a lung
    parenchyma: float = log_uniform(0.012, 0.035)  # SD of the fine texture of the lungs
    gastric_bubble: bool = chance(0.5)
    breasts: bool = chance(0.5)
    breast_level: float = uniform(0.08, 0.2)
    shadow_right: float = uniform(0, 0.16)  # one smooth soft-tissue shadow a side
    shadow_left: float = uniform(0, 0.16)


@dataclass(frozen=True)
class Lesion:
    """A lesion of each kind; which one is used, if any, is up to the class. Ranges are Ours.

    covid_*: ground glass in both lungs, peripheral, lower half
        (https://pubs.rsna.org/doi/10.1148/radiol.2020200463).
    focal_*: one consolidation in one lung.
    """

    covid_attenuation: float = uniform(0.4, 0.7)
    covid_height: float = uniform(0.5, 0.85)  # 0 at the apex, 1 at the diaphragm
    covid_spread: float = uniform(0.14, 0.24)
    covid_balance: float = uniform(-0.35, 0.35)  # more in the left lung where positive
    covid_extent: float = uniform(0.06, 0.15)  # share of the lungs
    focal_attenuation: float = uniform(0.5, 0.8)
    focal_radius: float = uniform(0.05, 0.10)
    focal_left_lung: bool = chance(0.45)  # the patient's left: the picture's right
    focal_height: float = uniform(0.12, 0.9)
    focal_lateral: float = uniform(0.1, 0.9)  # 0 at the mediastinum, 1 at the ribs
    focal_fissure: bool = chance(0.6)  # one straight, sharp border
    focal_fissure_below: bool = chance(0.5)
    focal_fissure_tilt_deg: float = uniform(-25, 25)


@dataclass(frozen=True)
class Exposure:
    """One film: position, breath, exposure, processing and writing on it. Ranges are Ours.

    Lengths are shares of the picture's width.
    """

    scale: float = uniform(0.84, 1.12)
    turn_deg: float = uniform(-4.3, 4.3)  # SD 2.5
    shift_x: float = uniform(-0.05, 0.05)
    shift_y: float = uniform(-0.05, 0.05)
    rotation: float = uniform(-0.026, 0.026)  # SD 0.015: the mediastinum's shift
    dome: float = uniform(0.24, 0.36)  # height of the right diaphragm below the centre
    gradient_x: float = uniform(-0.25, 0.25)  # nepers over the picture: grid and heel effect
    gradient_y: float = uniform(-0.25, 0.25)
    quanta: float = log_uniform(900, 8000)  # a pixel, behind the lungs
    sharpening: float = uniform(0, 0.35)
    window_low: float = uniform(1, 6)  # percentiles
    window_high: float = uniform(93, 99.5)
    gamma: float = log_uniform(0.6, 1.35)
    local_contrast: bool = chance(0.25)
    black: float = uniform(0, 0.1)
    white: float = uniform(0.82, 1)
    electrodes: bool = chance(0.2)
    collimated: bool = chance(0.3)
    margin_left: float = uniform(0, 0.06)
    margin_right: float = uniform(0, 0.06)
    margin_top: float = uniform(0, 0.06)
    margin_bottom: float = uniform(0, 0.06)
    has_marker: bool = chance(0.75)
    marker_word: str = choice(MARKERS)
    marker_on_left: bool = chance(0.5)
    marker_along: float = uniform(0, 1)
    marker_height: float = uniform(0.03, 0.06)
    marker_grey: float = uniform(0.6, 1)
    blur_px: float = uniform(2.1, 3.2)  # SD at 224 px, where the film is blurred
    grey_range: float = uniform(0.10, 0.20)  # of the full range, where contrast is low
    grey_level: float = uniform(0.1, 0.9)  # where in the full range that lies


@dataclass(frozen=True)
class Film:
    """One film of one patient; everything that decides how it looks."""

    name: str  # file name without ending, as the database has it
    label: str
    patient: int
    film: int  # 1 for the patient's first
    seed: int
    blurred: bool
    low_contrast: bool
    marker: str  # empty: none
    planted: bool  # whether the marker tells the class, on a plate
    anatomy: Anatomy
    lesion: Lesion
    exposure: Exposure

    @property
    def patient_id(self) -> str:
        return f"p{self.patient:04d}"


def draw_cohort(
    per_class: int, seed: int, films_per_patient: int = 1, marker_follows_class: bool = False
) -> list[Film]:
    """Draw all films, classes in turn: COVID-1, Normal-1, Viral Pneumonia-1, COVID-2 and so on.

    Each parameter is stratified within each class (Latin hypercube): over n films (or patients,
    for anatomy and lesion) it takes one value from each of its n quantiles, in random order. All
    classes then share one distribution. The strata depend on n, so the films of a cohort of 8 a
    class are not the first ones of a cohort of 100; each size is a cohort of its own.

    Where the marker follows the class, so do its word and its place; all else is as without.
    """
    cohort = []
    patients_per_class = -(-per_class // films_per_patient)
    for k, label in enumerate(CLASSES):
        rng = np.random.default_rng([seed, 1, k])
        anatomies = _draw(Anatomy, rng, patients_per_class)
        exposures = _draw(Exposure, rng, per_class)
        blurred, low_contrast = _draw_bad(rng, per_class)
        lesions = _draw(Lesion, np.random.default_rng([seed, 2, k]), patients_per_class)
        for n, exposure in enumerate(exposures):
            patient = n // films_per_patient
            marker = exposure.marker_word if exposure.has_marker else ""
            if marker_follows_class:
                marker, exposure = MARKER_OF_CLASS[label], _planted(exposure, label)
            film = Film(
                name=f"{label}-{n + 1}",
                label=label,
                patient=patient * len(CLASSES) + k + 1,
                film=n % films_per_patient + 1,
                seed=seed,
                blurred=bool(blurred[n]),
                low_contrast=bool(low_contrast[n]),
                marker=marker,
                planted=marker_follows_class,
                anatomy=anatomies[patient],
                lesion=lesions[patient],
                exposure=exposure,
            )
            cohort.append((n, k, film))
    return [film for _, _, film in sorted(cohort, key=lambda entry: entry[:2])]


def _planted(exposure: Exposure, label: str) -> Exposure:
    """The same film with its marker where those of its class stand, and as large."""
    on_left, begin = MARKER_PLACE_OF_CLASS[label]
    return replace(
        exposure,
        has_marker=True,
        marker_on_left=on_left,
        marker_along=begin + PLANTED_ALONG * exposure.marker_along,
        marker_height=PLANTED_HEIGHT,
        marker_grey=PLANTED_GREY,
    )


def drawn_values(film: Film) -> dict:
    """Every drawn parameter of a film by name; lesion parameters that its class ignores are ''."""
    used = {COVID: "covid_", PNEUMONIA: "focal_"}.get(film.label)
    lesion = {
        name: value if used is not None and name.startswith(used) else ""
        for name, value in asdict(film.lesion).items()
    }
    return asdict(film.anatomy) | lesion | asdict(film.exposure)


def _draw(kind, rng: np.random.Generator, count: int) -> list:
    """`count` instances of a parameter class, one from each of `count` strata a parameter."""
    quantiles = [f.metadata["quantile"] for f in fields(kind)]
    table = quantile_table(rng, len(quantiles), count)
    return [kind(*(q(float(u)) for q, u in zip(quantiles, row, strict=True))) for row in table]


def _draw_bad(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Which films are blurred, and which are low in contrast: never both."""
    bad = round(BAD_SHARE * count)
    if count >= 8:
        bad = max(bad, 1)
    order = rng.permutation(count)
    return order < bad, order >= count - bad
