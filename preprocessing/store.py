"""The sample store: what `prepare` leaves on disk and training reads.

A store is a folder:
    samples.npy   uint8 or float16, first axis = sample, read as a memory map
    index.csv     one row a sample: sample_id, patient_id, label, file and what the study needs
    sources.csv   one row a source file: used or left out, why, and what was counted in it
    recipe.json   parameters, source files with sizes and SHA-256, package versions

It is written source by source under a temporary name and renamed when complete. An interrupted
one is taken up again after its last complete source.
"""

import csv
import functools
import hashlib
import io
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from preprocessing.errors import InputError
from preprocessing.tables import JSON_ERRORS, open_array, parse_json, shown

SAMPLES, INDEX, SOURCES, RECIPE = "samples.npy", "index.csv", "sources.csv", "recipe.json"
SAMPLE_TYPES = ("uint8", "float16")
_PROGRESS = "progress.json"


def file_sha256(path: Path, pattern: str = "*.png") -> str:
    """SHA-256 of a file, or of names and contents of a folder's files of a pattern, as hex."""
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(p for p in path.glob(pattern) if p.is_file()):
            digest.update(file.name.encode() + bytes.fromhex(file_sha256(file)))
        return digest.hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256(path: Path) -> str:
    """SHA-256 of a file as hex, read once a process as long as its size and time stay."""
    state = path.stat()
    return _sha256_of(path, state.st_size, state.st_mtime_ns)


@functools.cache
def _sha256_of(path: Path, size: int, changed: int) -> str:
    return file_sha256(path)


def file_bytes(path: Path, pattern: str = "*.png") -> int:
    """Size of a file, or of a folder's files of a pattern together."""
    if path.is_dir():
        return sum(p.stat().st_size for p in path.glob(pattern) if p.is_file())
    return path.stat().st_size


class Store:
    """A finished store, opened for reading.

    Attributes:
        samples: memory-mapped array (n, ...); indexing copies only what is read.
        index: list of dicts of strings, one for each sample.
        sources: list of dicts of strings, one for each source file.
        recipe: what it was made from.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            if (folder / _PROGRESS).exists():
                raise ValueError("an interrupted prepare left it")
            self.recipe = _read_recipe(folder / RECIPE)
            self.index = _read_csv(folder / INDEX)
            self.sources = _read_csv(folder / SOURCES)
            self.samples = open_array(folder / SAMPLES)
            if not self.index:
                raise ValueError(f"{INDEX} has no row")
            if not self.samples.ndim or self.samples.dtype.name not in SAMPLE_TYPES:
                raise ValueError(f"{SAMPLES} holds other values than {' or '.join(SAMPLE_TYPES)}")
        except (OSError, *JSON_ERRORS) as error:
            raise self._incomplete(error) from error
        if len(self.index) != len(self.samples):
            raise InputError(
                f"{folder}: holds {len(self.samples)} samples and {len(self.index)} index rows; "
                "it was changed by hand: delete it and prepare again"
            )

    def column(self, name: str) -> np.ndarray:
        """One column of the index as an array of strings."""
        if name not in self.index[0]:
            raise self._incomplete(f"{INDEX} lacks the column {name}")
        return np.array([row[name] for row in self.index])

    def __reduce__(self):
        """Another process gets the name of the store, not its samples, and opens it itself."""
        return _open_again, (self.folder.absolute(), self.fingerprint)

    @property
    def fingerprint(self) -> str:
        """A hash of recipe and index: two stores with the same one hold the same samples."""
        digest = hashlib.sha256()
        for name in (RECIPE, INDEX):
            digest.update((self.folder / name).read_bytes())
        return digest.hexdigest()

    @property
    def file_hashes(self) -> dict[str, str]:
        """SHA-256 of each source file by its name."""
        try:
            return {source["file"]: source["sha256"] for source in self.recipe["sources"]}
        except KeyError as error:
            raise self._incomplete(f"{RECIPE} lacks {error}") from error

    def _incomplete(self, why: object) -> InputError:
        return InputError(
            f"{self.folder}: is not a complete sample store ({shown(str(why))}); delete it and "
            "prepare again"
        )


@functools.lru_cache(maxsize=8)  # an index of a hundred thousand rows takes a second to read
def _open_again(folder: Path, fingerprint: str) -> Store:
    """The store that another process has open.

    Raises:
        InputError: it is not there, or no longer the same.
    """
    found = Store(folder)
    if found.fingerprint != fingerprint:
        raise InputError(f"{folder}: was prepared anew meanwhile; run the same command again")
    return found


class SourceSamples:
    """The samples of one source on their way to a `StoreWriter` elsewhere; takes what that takes.

    Attributes:
        folder, shape, dtype: as the writer's.
        samples, rows: what was added, in its order.
    """

    def __init__(self, folder: Path, sample_shape: Sequence[int], dtype=np.uint8):
        self.folder, self.shape, self.dtype = folder, tuple(sample_shape), dtype
        self.samples: list[np.ndarray] = []
        self.rows: list[dict] = []

    @property
    def count(self) -> int:
        """How many samples there are."""
        return len(self.samples)

    def add(self, sample: np.ndarray, row: dict) -> None:
        """As `StoreWriter.add`."""
        self.samples.append(sample.copy())  # a tile would keep its whole clip in memory
        self.rows.append(row)

    def discard_source(self) -> None:
        """As `StoreWriter.discard_source`."""
        self.samples.clear()
        self.rows.clear()


class StoreWriter:
    """Writes a store source by source.

    Use `add` for samples and `finish_source` after each source file; `close` makes it whole.
    `done` names the sources that an interrupted earlier writer had finished: skip those.

    Args:
        folder: where the finished store will stand; an older one there is replaced at the end.
        recipe: JSON-able, with a list `sources` of dicts naming a `file`. A partial store is taken
            up if its parameters and its finished sources are unchanged, else thrown away.
        sample_shape: shape of one sample.
        dtype: uint8 or float16.
    """

    def __init__(self, folder: Path, recipe: dict, sample_shape: Sequence[int], dtype=np.uint8):
        self.folder = folder
        self.partial = folder.with_name(folder.name + ".partial")
        self.recipe = json.loads(json.dumps(recipe))  # as it will be read back
        self.shape, self.dtype = tuple(sample_shape), np.dtype(dtype)
        self.count = 0
        self.done: list[str] = []
        self._take_up_or_begin()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for file in (self._samples, self._index, self._sources):
            file.close()

    def add(self, sample: np.ndarray, row: dict) -> None:
        """Append one sample and its index row (sample_id is filled in)."""
        if sample.shape != self.shape or sample.dtype != self.dtype:
            raise ValueError(
                f"expected {self.dtype} {self.shape}, got {sample.dtype} {sample.shape}"
            )
        self._samples.write(np.ascontiguousarray(sample).data)
        self._index.append({"sample_id": self.count, **row})
        self.count += 1

    def finish_source(self, summary: dict) -> None:
        """Commit what was added since the last call; `summary` has `file` and `reason`."""
        self._sources.append(summary)
        self.done.append(summary["file"])
        self._flush()
        # This small file is the commit: what lies beyond its lengths is cut off on resuming.
        lengths = {
            name: (self.partial / name).stat().st_size
            for name in (SAMPLES, INDEX, SOURCES)
            if (self.partial / name).exists()
        }
        write_text(self.partial / _PROGRESS, json.dumps({"count": self.count, "bytes": lengths}))

    def discard_source(self) -> None:
        """Take back what was added since the last `finish_source`."""
        self.__exit__()
        self._take_up_or_begin()

    def close(self) -> Store:
        """Turn the partial folder into the finished store.

        Raises:
            InputError: not one usable sample was found.
        """
        self.__exit__()
        if self.count == 0:
            reasons = "; ".join(
                f"{s['file']}: {s['reason']}" for s in _read_csv(self.partial / SOURCES)[:3]
            )
            shutil.rmtree(self.partial)
            raise InputError(f"{self.folder}: no source gave a usable sample ({reasons} ...)")
        if (self.partial / SAMPLES).stat().st_size != self._bytes_of(self.count):
            raise InputError(f"{self.partial}: another process wrote into it; run one at a time")
        with (self.partial / SAMPLES).open("r+b") as samples:
            samples.write(self._header(self.count))
        (self.partial / _PROGRESS).unlink()
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.partial.rename(self.folder)
        return Store(self.folder)

    def _begin(self) -> None:
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir(parents=True)
        write_text(self.partial / RECIPE, json.dumps(self.recipe, indent=1))
        (self.partial / SAMPLES).write_bytes(self._header(0))
        self.count, self.done = 0, []

    def _open_files(self) -> None:
        self._samples = (self.partial / SAMPLES).open("ab")
        self._index = _CsvAppender(self.partial / INDEX)
        self._sources = _CsvAppender(self.partial / SOURCES)

    def _flush(self) -> None:
        for file in (self._samples, self._index, self._sources):
            file.flush()

    def _header(self, count: int) -> bytes:
        """The .npy header; NumPy pads it so that the first axis can grow without moving data."""
        buffer = io.BytesIO()
        description = np.lib.format.dtype_to_descr(self.dtype)
        np.lib.format.write_array_header_1_0(
            buffer, {"descr": description, "fortran_order": False, "shape": (count, *self.shape)}
        )
        return buffer.getvalue()

    def _bytes_of(self, count: int) -> int:
        """Length of samples.npy with so many samples."""
        sample_bytes = int(np.prod(self.shape)) * self.dtype.itemsize
        return len(self._header(0)) + count * sample_bytes

    def _take_up_or_begin(self) -> None:
        try:
            self._take_up()
        except (FileNotFoundError, KeyError, TypeError, AttributeError, *JSON_ERRORS):
            self._begin()  # nothing was begun, nothing was finished, or it is damaged
        self._open_files()

    def _take_up(self) -> None:
        """Go on after the last finished source of a partial store.

        Raises:
            FileNotFoundError, KeyError, TypeError, AttributeError, ValueError, RecursionError:
                there is none, it is damaged, or its parameters or finished sources are no longer
                right.
        """
        earlier = _read_recipe(self.partial / RECIPE)
        progress = parse_json(self.partial / _PROGRESS)
        count, lengths = progress["count"], progress["bytes"]
        texts = {}
        for name in (SAMPLES, INDEX, SOURCES):
            size = (self.partial / name).stat().st_size if name in lengths else 0
            if type(count) is not int or not 0 <= lengths.get(name, 0) <= size:
                raise ValueError(f"{name} is shorter than what was finished")
            if name != SAMPLES:
                with (self.partial / name).open("rb") if name in lengths else io.BytesIO() as file:
                    texts[name] = file.read(lengths.get(name, 0)).decode("utf-8")
        done = [row["file"] for row in _parse_csv(texts[SOURCES], SOURCES)]
        if lengths[SAMPLES] != self._bytes_of(count) or not done:
            raise ValueError("nothing was finished")
        if len(_parse_csv(texts[INDEX], INDEX)) != count:
            raise ValueError(f"{INDEX} has not a row for each sample")
        was = {source["file"]: source for source in earlier["sources"]}
        now = {source["file"]: source for source in self.recipe["sources"]}
        same_parameters = {**earlier, "sources": None} == {**self.recipe, "sources": None}
        if not same_parameters or any(now.get(f) != was[f] for f in done if f in was):
            raise ValueError("the recipe or a finished source changed")
        for name in (SAMPLES, INDEX, SOURCES):
            if name in lengths:
                os.truncate(self.partial / name, lengths[name])
            else:
                (self.partial / name).unlink(missing_ok=True)
        self.count, self.done = count, done
        write_text(self.partial / RECIPE, json.dumps(self.recipe, indent=1))


def is_current(folder: Path, recipe: dict) -> bool:
    """Whether a finished store of exactly this recipe stands in `folder`."""
    try:
        return parse_json(folder / RECIPE) == json.loads(json.dumps(recipe))
    except (OSError, *JSON_ERRORS):
        return False


def check_space(folder: Path, needed: int) -> None:
    """Refuse to start what cannot fit.

    Raises:
        InputError: the disk that will hold `folder` has fewer than `needed` bytes free.
    """
    partial = folder.with_name(folder.name + ".partial") / SAMPLES
    if partial.exists():  # what an interrupted prepare wrote already has its place
        needed -= partial.stat().st_size
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise InputError(
            f"{folder}: the store needs about {needed / 1e9:.2f} GB and the disk has "
            f"{free / 1e9:.2f} GB free; free some space or choose another --out"
        )


class _CsvAppender:
    """Appends dict rows to a CSV file; the first row fixes the columns."""

    def __init__(self, path: Path):
        self._path, self._file, self._writer = path, None, None

    def append(self, row: dict) -> None:
        if self._writer is None:
            columns = list(row)
            is_new = not self._path.exists()
            if not is_new:
                with self._path.open(newline="", encoding="utf-8") as file:
                    columns = next(csv.reader(file))
            self._file = self._path.open("a", newline="", encoding="utf-8")
            self._writer = csv.DictWriter(self._file, columns)
            if is_new:
                self._writer.writeheader()
        if set(row) - set(self._writer.fieldnames):
            raise InputError(
                f"{self._path}: is damaged (it lacks columns); delete its folder and prepare again"
            )
        self._writer.writerow(row)

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _read_recipe(path: Path) -> dict:
    """A recipe with what every store's has; ValueError or RecursionError if it is damaged."""
    recipe = parse_json(path)
    sources = recipe.get("sources") if isinstance(recipe, dict) else None
    if not isinstance(sources, list) or not all(
        isinstance(source, dict) and isinstance(source.get("file"), str) for source in sources
    ):
        raise ValueError(f"{path.name} has no list of sources")
    return recipe


def _read_csv(path: Path) -> list[dict[str, str]]:
    return _parse_csv(path.read_bytes().decode("utf-8"), path.name)


def _parse_csv(text: str, name: str) -> list[dict[str, str]]:
    """Rows of a CSV file that a writer wrote; ValueError if it is damaged."""
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(f"{name}: {error}") from error
    if any(None in row or None in row.values() for row in rows):
        raise ValueError(f"{name} has a row of another length than its header")
    return rows


def write_text(path: Path, text: str) -> None:
    """Write a small UTF-8 file whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
