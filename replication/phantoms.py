"""What phantom cohorts of every kind share: stratified parameters, and a folder whole or absent."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import Field, field
from pathlib import Path
from typing import Any

import numpy as np

from preprocessing.errors import InputError


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

    Args:
        out: the folder that shall stand in the end; an older one of the same generator is replaced.
        recipe_file: name of the JSON file that `recipe` is kept in.
        recipe: what determines the content, JSON-able; `generator` names what made it, and ends
            with a version.
        kind: such as "phantom films", for messages.

    Yields:
        The folder to write into, or None if `out` already holds exactly this.

    Raises:
        InputError: `out` holds something else, or cannot be written.
    """
    recipe = json.loads(json.dumps(recipe))  # as it is read back
    if _holds(out, recipe_file, recipe, kind):
        yield None
        return
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    outdated = out.with_name(f".{out.name}.outdated-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        yield partial
        (partial / recipe_file).write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")
        if out.exists():  # aside first: `out` is then whole or missing at any moment
            out.rename(outdated)
        partial.rename(out)
    except OSError as error:
        problem = f"{out}: cannot be written ({error.strerror}); check the folder and the disk"
        raise InputError(problem) from error
    finally:
        for leftover in (partial, outdated):
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
