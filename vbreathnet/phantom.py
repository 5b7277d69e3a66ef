"""Chest radiograph phantoms in the layout of the COVID-19 Radiography Database.

A film is a set of drawn parameters (`cohort.Film`), rendered with known lungs and lesions
(`render`). Attenuation is summed up (`anatomy`, `lesions`), then exposed: quanta, detector blur,
logarithm, sharpening, window, gamma, as a digital radiography system does. Nuisances (anatomy,
position, exposure, markers) never look at the class; the class enters at one place,
`lesions.lesion_map`.

What a lesion adds is small against what body size, breath and window do to the grey levels, so
a thumbnail tells little (`floors`), while its form is plain to see.

A folder of phantoms holds, as the database does, `<class>/images/<class>-<n>.png` and
`<class>/masks/<class>-<n>.png` (lungs); and beside the class folders

* `lesions/<class>/<class>-<n>.png`: where a lesion can be seen; black for normal films. All
  pictures are 8-bit gray (size, size), masks 0 or 255;
* `phantom.csv`, a row a film: image (path), patient_id, film (of that patient), label, blurred,
  low_contrast, marker (its text), lung_share (of the picture), lesion_share (of the lungs), then
  every drawn parameter, with its range in `cohort.py`;
* `manifest.csv`: file, patient_id, origin, for `data.find_radiographs`;
* `phantom.json`: the arguments that give the same bytes again.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from preprocessing.errors import InputError
from replication.phantoms import new_folder
from replication.records import write_csv
from vbreathnet.anatomy import build_chest, make_frame
from vbreathnet.cohort import Exposure, Film, draw_cohort, drawn_values
from vbreathnet.config import CLASSES
from vbreathnet.lesions import lesion_map, lesion_mask

# Raise when films of an unchanged configuration change, so that old folders are made anew.
GENERATOR_VERSION = 1
RECIPE_FILE = "phantom.json"
INDEX_FILE = "phantom.csv"
MANIFEST_FILE = "manifest.csv"  # what `data.py` reads: patients, and that these are phantoms
LESION_FOLDER = "lesions"
RENDER_SIZE = 320  # px; films are averaged down to the size asked for
SIZES = (64, RENDER_SIZE)


@dataclass(frozen=True)
class Rendering:
    """A film and its truth.

    image: uint8 (size, size), 0 to 255, dense is bright.
    lungs: bool (size, size), lung that neither heart, mediastinum nor diaphragm hide.
    lesions: bool (size, size), where a lesion can be seen in `lungs`; nowhere in normal films.
    """

    image: np.ndarray
    lungs: np.ndarray
    lesions: np.ndarray


def render(film: Film, size: int = 299) -> Rendering:
    """Make one film. Equal films give equal bytes.

    Args:
        size: width and height in px, 64 to 320. The database's own is 299.
    """
    exposure = film.exposure
    frame = make_frame(exposure, RENDER_SIZE)
    # One stream for each purpose: the class cannot change what the others draw.
    patient, lesion, shot = (
        np.random.default_rng([film.seed, *purpose])
        for purpose in ((3, film.patient), (4, film.patient), (5, film.patient, film.film))
    )
    chest = build_chest(film.anatomy, exposure, frame, patient)
    added = lesion_map(film.label, film.lesion, chest, lesion)
    behind_lungs = float(np.median(chest.attenuation[chest.airy > 0.5]))
    attenuation = chest.attenuation + added + _field(exposure, shot)
    grey = _expose(attenuation, behind_lungs, exposure, shot)
    open_field = _collimation(exposure)
    image = cv2.resize(grey * open_field, (size, size), interpolation=cv2.INTER_AREA)
    _write_marker(image, film)
    image = _spoil(image, film)
    lungs, lesions = (
        cv2.resize(mask * open_field, (size, size), interpolation=cv2.INTER_AREA) > 0.5
        for mask in (chest.airy > 0.5, lesion_mask(added))
    )
    grey_levels = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    return Rendering(grey_levels, lungs, lesions & lungs)


# ---- exposure -----------------------------------------------------------------------------------


def _field(exposure: Exposure, rng: np.random.Generator) -> np.ndarray:
    """Uneven beam, and electrodes with their leads on the skin."""
    ramp = np.linspace(-0.5, 0.5, RENDER_SIZE, dtype=np.float32)
    field = exposure.gradient_x * ramp[None, :] + exposure.gradient_y * ramp[:, None]
    places = rng.uniform((0.15, 0.1), (0.85, 0.8), (3, 2)) * RENDER_SIZE
    ends = rng.uniform((0, 0.9), (1, 1.1), (3, 2)) * RENDER_SIZE
    bends = (places + ends) / 2 + rng.normal(0, 0.1 * RENDER_SIZE, (3, 2))
    if not exposure.electrodes:
        return field
    drawn = np.zeros(field.shape, np.uint8)
    t = np.linspace(0, 1, 30)[:, None]
    for place, bend, end in zip(places, bends, ends, strict=True):
        lead = (1 - t) ** 2 * place + 2 * t * (1 - t) * bend + t**2 * end
        points = np.rint(lead * 16).astype(np.int32)
        cv2.polylines(drawn, [points], False, 110, 1, cv2.LINE_AA, 4)
        centre = tuple(int(round(16 * v)) for v in place)
        cv2.circle(drawn, centre, 16 * 6, 60, -1, cv2.LINE_AA, 4)
        cv2.circle(drawn, centre, 16 * 2, 255, -1, cv2.LINE_AA, 4)
    return field + drawn.astype(np.float32) / 255


def _expose(attenuation, reference: float, exposure: Exposure, rng) -> np.ndarray:
    """(N, N) float32 grey levels 0 to 1 of an attenuation map.

    Args:
        reference: attenuation behind which `exposure.quanta` arrive at each pixel.
    """
    # Poisson counts are many: their logarithm is Gaussian with the SD 1 / sqrt(count).
    spread = np.exp(np.clip(attenuation - reference, -3, 3) / 2) / np.sqrt(exposure.quanta)
    signal = attenuation + spread * rng.standard_normal(attenuation.shape, np.float32)
    signal = cv2.GaussianBlur(signal.astype(np.float32), (0, 0), 0.6)
    signal += exposure.sharpening * (signal - cv2.GaussianBlur(signal, (0, 0), 2.0))
    low, high = np.percentile(signal[::2, ::2], [exposure.window_low, exposure.window_high])
    grey = np.clip((signal - low) / (high - low), 0, 1) ** np.float32(exposure.gamma)
    if exposure.local_contrast:
        equaliser = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8))
        grey = equaliser.apply(np.rint(255 * grey).astype(np.uint8)).astype(np.float32) / 255
    return exposure.black + (exposure.white - exposure.black) * grey


def _collimation(exposure: Exposure) -> np.ndarray:
    """(N, N) float32: 1 in the open field, 0 in the margins."""
    field = np.ones((RENDER_SIZE, RENDER_SIZE), np.float32)
    if exposure.collimated:
        left, right, top, bottom = (
            round(margin * RENDER_SIZE)
            for margin in (
                exposure.margin_left,
                exposure.margin_right,
                exposure.margin_top,
                exposure.margin_bottom,
            )
        )
        field[:top], field[RENDER_SIZE - bottom :] = 0, 0
        field[:, :left], field[:, RENDER_SIZE - right :] = 0, 0
    return field


def _write_marker(image: np.ndarray, film: Film) -> None:
    """Write the film's marker into `image`, near its left or right edge."""
    if not film.marker:
        return
    exposure, size = film.exposure, len(image)
    font, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(size / 200))
    scale = cv2.getFontScaleFromHeight(font, max(round(exposure.marker_height * size), 6))
    (width, height), _ = cv2.getTextSize(film.marker, font, scale, thickness)
    margin = round(0.03 * size)
    x = margin if exposure.marker_on_left else size - margin - width
    y = margin + height + round(exposure.marker_along * 0.55 * size)
    if film.planted:
        image[max(y - height - margin, 0) : y + margin, max(x - margin, 0) : x + width + margin] = 0
    grey = float(exposure.marker_grey)
    cover = np.zeros((size, size), np.uint8)
    cv2.putText(cover, film.marker, (x, y), font, scale, 255, thickness, cv2.LINE_AA)
    share = cover.astype(np.float32) / 255
    image += share * (grey - image)


def _spoil(image: np.ndarray, film: Film) -> np.ndarray:
    """Blur, or squeeze the grey levels, in the films that are meant to be bad. The last step."""
    exposure = film.exposure
    if film.blurred:  # with all that is written on it, else sharp letters give it away
        return cv2.GaussianBlur(image, (0, 0), exposure.blur_px * len(image) / 224)
    if film.low_contrast:
        return exposure.grey_level * (1 - exposure.grey_range) + exposure.grey_range * image
    return image


# ---- files --------------------------------------------------------------------------------------


def read_lesions(data: Path, file: str) -> np.ndarray:
    """Where a lesion can be seen in a phantom film: bool (size, size), nowhere in normal ones.

    Args:
        data: a folder of `write_cohort`.
        file: the film, relative to it: `image` in `phantom.csv`.

    Raises:
        InputError: there is no such mask, or it cannot be read.
    """
    path = Path(data) / LESION_FOLDER / Path(file).parts[0] / Path(file).name
    content = np.fromfile(path, np.uint8) if path.exists() else np.empty(0, np.uint8)
    mask = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE) if content.size else None
    if mask is None:
        raise InputError(f"{path}: is no mask of lesions; make the phantoms anew")
    return mask > 0


def write_cohort(
    out: Path,
    per_class: int = 250,
    seed: int = 0,
    size: int = 299,
    films_per_patient: int = 1,
    marker_follows_class: bool = False,
    workers: int = 2,
    progress: bool = True,
    labels: tuple[str, ...] = CLASSES,
) -> Path:
    """Chest radiographs in the database's layout, with lung and lesion masks and an index.

    Appears whole or not at all. A complete folder of the same arguments is left alone; one of
    other arguments is replaced. Equal arguments give equal bytes, whatever `workers` is.
    Parameters are stratified over the class, so another `per_class` gives other films.

    Args:
        out: Folder to make.
        per_class: Films of each of the three classes.
        seed: Another seed, another cohort.
        size: Width and height in px, 64 to 320; the database's own is 299.
        films_per_patient: Films of one patient share the chest and the lesion; position, breath
            and exposure differ.
        marker_follows_class: Plant a shortcut, for exercises: word and place of every film's
            marker tell its class. Nothing else changes: the films are those of the same arguments
            without it.
        workers: Processes.
        progress: Show a progress bar on terminals.
        labels: Write the films of these classes alone; they are those of the whole cohort.

    Returns:
        `out`.

    Raises:
        InputError: a number is out of range, or `out` holds something else than phantom films,
            or cannot be written.
    """
    _check(per_class, seed, size, films_per_patient, workers, labels)
    out = Path(out)
    recipe = {
        "generator": f"chest radiographs {GENERATOR_VERSION}",
        "per_class": per_class,
        "seed": seed,
        "size": size,
        "films_per_patient": films_per_patient,
        "marker_follows_class": "word and place" if marker_follows_class else False,
        "labels": [label for label in CLASSES if label in labels],
    }
    with new_folder(out, RECIPE_FILE, recipe, "phantom films") as partial:
        if partial is None:
            return out
        for label in labels:
            for folder in (f"{label}/images", f"{label}/masks", f"{LESION_FOLDER}/{label}"):
                (partial / folder).mkdir(parents=True)
        drawn = draw_cohort(per_class, seed, films_per_patient, marker_follows_class)
        cohort = [film for film in drawn if film.label in labels]
        jobs = Parallel(n_jobs=workers, return_as="generator")(
            delayed(_write_film)(partial, film, size) for film in cohort
        )
        quiet = None if progress else True  # None: a bar on terminals alone
        rows = list(tqdm(jobs, "phantom films", len(cohort), unit="film", disable=quiet))
        write_csv(partial / INDEX_FILE, rows)
        write_csv(partial / MANIFEST_FILE, [_manifest_row(row) for row in rows])
    return out


def _check(
    per_class: int,
    seed: int,
    size: int,
    films_per_patient: int,
    workers: int,
    labels: tuple[str, ...],
) -> None:
    for name, value in (
        ("per_class", per_class),
        ("films_per_patient", films_per_patient),
        ("workers", workers),
    ):
        if value < 1:
            raise InputError(f"{name}={value}: expected at least 1")
    if seed < 0:
        raise InputError(f"seed={seed}: expected 0 or more")
    if not SIZES[0] <= size <= SIZES[1]:
        raise InputError(f"size={size}: expected {SIZES[0]} to {SIZES[1]} px")
    if not labels or not set(labels) <= set(CLASSES):
        raise InputError(f"labels={labels}: expected some of {', '.join(CLASSES)}")


def _write_film(folder: Path, film: Film, size: int) -> dict:
    """Film and masks of one film; returns its row of the index."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the processes share the cores already
    try:
        rendering = render(film, size)
    finally:
        cv2.setNumThreads(threads)
    image = f"{film.label}/images/{film.name}.png"
    _write_png(folder / image, rendering.image)
    _write_png(folder / film.label / "masks" / f"{film.name}.png", rendering.lungs)
    _write_png(folder / LESION_FOLDER / film.label / f"{film.name}.png", rendering.lesions)
    lung_px = int(rendering.lungs.sum())
    lesion_px = int(rendering.lesions.sum())
    first = {
        "image": image,
        "patient_id": film.patient_id,
        "film": film.film,
        "label": film.label,
        "blurred": film.blurred,
        "low_contrast": film.low_contrast,
        "marker": film.marker,
        "lung_share": round(lung_px / size**2, 4),
        "lesion_share": round(lesion_px / lung_px, 4),
    }
    return first | drawn_values(film)


def _write_png(path: Path, picture: np.ndarray) -> None:
    if picture.dtype == bool:
        picture = picture.astype(np.uint8) * 255
    done, encoded = cv2.imencode(".png", picture)
    if not done:
        raise InputError(f"{path}: OpenCV cannot encode this picture")
    path.write_bytes(encoded.tobytes())  # unlike cv2.imwrite, this tells why it fails


def _manifest_row(row: dict) -> dict:
    return {"file": row["image"], "patient_id": row["patient_id"], "origin": "phantom"}
