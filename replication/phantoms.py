"""What phantom cohorts of every kind share: stratified parameters, and a folder whole or absent."""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import Field, field
from pathlib import Path
from typing import Any

import numpy as np

from preprocessing.errors import InputError
from replication.occupied import in_turn

PARTIAL, OUTDATED = "partial", "outdated"


def seed_of(name: str) -> int:
    """A seed for phantoms of one's own, from a name such as a student's id.

    Small and capital letters are the same, and blanks around the name do not count.

    Returns:
        0 to 2^31 - 1; equal names give equal seeds on every machine.

    Raises:
        InputError: the name is empty.
    """
    plain = name.strip().lower()
    if not plain:
        raise InputError("the name is empty; type your own, it decides which phantoms you get")
    return int.from_bytes(hashlib.sha256(plain.encode()).digest()[:4], "big") >> 1


# A drawn parameter is a dataclass field that knows its quantile function, from 0..1 to its range.


def uniform(low: float, high: float) -> Any:
    """A field drawn uniformly from [low, high]."""
    return _drawn(lambda u: low + u * (high - low))


def log_uniform(low: float, high: float) -> Any:
    """A field whose logarithm is drawn uniformly; `low` is more than 0."""
    return _drawn(lambda u: low * (high / low) ** u)


def integer(low: int, high: int) -> Any:
    """A field drawn from the integers low to high, both included."""
    return _drawn(lambda u: low + int(u * (high + 1 - low)))


def chance(share: float) -> Any:
    """A field that is True with this probability."""
    return _drawn(lambda u: bool(u < share))


def choice(options: tuple[str, ...]) -> Any:
    """A field that is one of several words, all equally likely."""
    return _drawn(lambda u: options[int(u * len(options))])


def _drawn(quantile) -> Field:
    return field(metadata={"quantile": quantile})


def quantile_table(rng: np.random.Generator, parameters: int, count: int) -> np.ndarray:
    """float (count, parameters) in 0..1: one number from each of `count` strata of a parameter.

    A Latin hypercube: small cohorts are then as balanced as large ones.
    """
    strata = rng.permuted(np.tile(np.arange(count)[:, None], parameters), axis=0)
    return (strata + rng.random(strata.shape)) / count


@contextlib.contextmanager
def new_folder(out: Path, recipe_file: str, recipe: dict, kind: str) -> Iterator[Path | None]:
    """A folder beside `out` to write phantoms into, renamed to `out` when the block ends well.

    One process writes `out` at a time, others wait for it; it takes away what killed ones left.

    Args:
        out: the folder that shall stand in the end; an older one of the same generator is replaced.
        recipe_file: name of the JSON file that `recipe` is kept in.
        recipe: what determines the content, JSON-able; `generator` names what made it, and ends
            with a version.
        kind: such as "phantom films", for messages.

    Yields:
        The folder to write into, or None if `out` already holds exactly this.

    Raises:
        InputError: `out` holds something else, cannot be written, or is the working folder.
    """
    recipe = json.loads(json.dumps(recipe))  # as it is read back
    place = Path(os.path.realpath(out))  # "." has no name, and a link shall stay one
    if _holds(out, recipe_file, recipe, kind) and not _leftovers(place):
        yield None
        return
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with in_turn(out, lock_file=place.with_name(f".{place.name}.lock")):
            _remove_leftovers(place)
            if _holds(out, recipe_file, recipe, kind):  # by now
                yield None
                return
            if Path.cwd().is_relative_to(place):
                problem = f"{out}: is where you are, and is replaced as a whole; name a new folder"
                raise InputError(problem)
            try:
                partial = _beside(place, PARTIAL)
                partial.mkdir()
                yield partial
                text = json.dumps(recipe, indent=2) + "\n"
                (partial / recipe_file).write_text(text, encoding="utf-8")
                if place.exists():  # aside first: it is then whole or missing at any moment
                    place.rename(_beside(place, OUTDATED))
                partial.rename(place)
            finally:
                _remove_leftovers(place)
    except OSError as error:
        problem = f"{out}: cannot be written ({error.strerror}); check the folder and the disk"
        raise InputError(problem) from error


def _beside(place: Path, what: str) -> Path:
    """A hidden sibling of this process's own.

    Processes that a killed one had started may still write into the one that they were given.
    """
    return place.with_name(f".{place.name}.{what}-{os.getpid()}")


def _leftovers(place: Path) -> list[Path]:
    """Such siblings of any process."""
    name = re.compile(rf"\.{re.escape(place.name)}\.({PARTIAL}|{OUTDATED})-\d+")
    return [path for path in place.parent.glob(".*") if name.fullmatch(path.name)]


def _remove_leftovers(place: Path) -> None:
    """Remove them all: whoever has the lock is alone."""
    for leftover in _leftovers(place):
        shutil.rmtree(leftover, ignore_errors=True)


def _holds(out: Path, recipe_file: str, recipe: dict, kind: str) -> bool:
    """Whether `out` holds just this. Refuses a folder that this generator did not make."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        found = json.loads((out / recipe_file).read_text(encoding="utf-8"))
        ours = _generator(found) == _generator(recipe)
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise InputError(f"{out}: exists and holds no {kind}; name a new folder")
    return found == recipe


def _generator(recipe: dict) -> str:
    """The generator's name without its version."""
    return str(recipe["generator"]).rpartition(" ")[0]
