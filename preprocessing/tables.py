"""JSON, CSV, .npy and .npz files from outside: read whole or refused in one line.

What they name lies below the data folder: a name that leaves it is refused. Links that lie inside
are followed, since large data often lie on another disk.
"""

import csv
import io
import json
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import numpy as np

from preprocessing.errors import InputError

# What `parse_json` ends with if there is no JSON. RecursionError: nested too deeply.
JSON_ERRORS = (ValueError, RecursionError)
_ARRAY_ERRORS = (
    ValueError, TypeError, OverflowError, OSError, EOFError, SyntaxError, tokenize.TokenError,
    MemoryError, RecursionError,
)  # fmt: skip
# What reading a .npz file ends with if it is damaged, or none. RuntimeError, with
# NotImplementedError below it: the archive claims to be encrypted, or compressed in another way.
NPZ_ERRORS = (*_ARRAY_ERRORS, KeyError, RuntimeError, zlib.error, zipfile.BadZipFile)


def parse_json(path: Path) -> object:
    """What a JSON file holds.

    Raises:
        OSError: it cannot be read.
        ValueError, RecursionError (`JSON_ERRORS`): it is not JSON, or has text that UTF-8 cannot
            hold.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    json.dumps(document, ensure_ascii=False).encode("utf-8")
    return document


@dataclass(frozen=True)
class Table:
    """A CSV file.

    Attributes:
        columns: names of the columns.
        rows: (number of its last line, text by column) of each row. White space around a field is
            gone; one that a row lacks is empty, one beyond the columns is dropped.
        mark: what parts fields, a comma or a semicolon.
    """

    columns: list[str]
    rows: list[tuple[int, dict[str, str]]]
    mark: str


def read_table(path: Path, semicolons: bool = False) -> Table:
    """Read a CSV file with a header.

    Args:
        path: a table in UTF-8.
        semicolons: whether a header with semicolons means that they part fields.

    Raises:
        InputError: it cannot be read, is no UTF-8 text, has a quote that is not closed or a field
            of more than 131,072 characters.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        mark = ";" if semicolons and ";" in text.partition("\n")[0] else ","
        reader = csv.DictReader(
            io.StringIO(text, newline=""), delimiter=mark, restval="", strict=True
        )
        columns = list(reader.fieldnames or ())
        rows = [
            (reader.line_num, {k: v.strip() for k, v in row.items() if k is not None})
            for row in reader
        ]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: is not a CSV table in UTF-8 ({error}); correct it and save it as UTF-8"
        ) from error
    return Table(columns, rows, mark)


def leaves_folder(name: str) -> bool:
    """Whether a name, in the spelling of any system, is absolute or climbs out of its folder."""
    parts = name.replace("\\", "/").split("/")
    if PureWindowsPath(name).is_absolute() or Path(name).drive or (parts[1:] and not parts[0]):
        return True
    depth = 0
    for part in parts:
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            return True
    return False


def check_inside(name: str, folder: Path, where: str) -> None:
    """Refuse a name in a table or list that leaves its data folder.

    Args:
        name: as written there.
        folder: that it is relative to.
        where: begins the message.

    Raises:
        InputError: it is absolute, or `..` leads out of the folder.
    """
    if leaves_folder(name):
        raise InputError(
            f"{where}: {shown(name)} lies outside {folder}; give its path below that folder, and "
            "move it there if it is not"
        )


def check_name(path: Path) -> None:
    """Refuse a path that no table in UTF-8 can hold; SimpleITK ends the process on it.

    Names from old archives may be in another encoding.

    Raises:
        InputError: it is not UTF-8.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{ascii(str(path))}: its name is not UTF-8; rename it") from error


def exists(path: Path) -> bool:
    """Whether there is a file or folder; a name that no system takes is none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def shown(text: str) -> str:
    """Text from a file as it stands in a message: on one line, and not without end."""
    short = text if len(text) <= 200 else text[:197] + "..."
    return short if short.isprintable() else repr(short)[1:-1]


def open_array(path: Path) -> np.ndarray:
    """The array of a .npy file, mapped: nothing is read before it is used, nothing unpickled.

    Raises:
        InputError: no .npy file, or not as long as its header says; an array of objects.
    """
    try:
        with path.open("rb") as file:
            start = file.read(12)
        # NumPy sets memory aside for a header of any length, then refuses one above 10,000.
        if int.from_bytes(start[8 : 10 if start[6:7] == b"\1" else 12], "little") > 10_000:
            raise ValueError("header too long")
        return np.lib.format.open_memmap(path, mode="r")
    except _ARRAY_ERRORS as error:
        raise InputError(f"{path}: is not a readable array; copy the file again") from error
