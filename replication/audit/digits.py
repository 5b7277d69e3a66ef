"""A printed number, and the exact range of values that print so."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from preprocessing.errors import InputError

Printing = Literal["rounded", "truncated", "either"]
"""How numbers were cut to their printed digits.

"rounded" takes every value that is off by half a digit or less, both ends included. By decimals
half a digit goes up or to even, but papers are printed from binary floats, whose last bit decides:
0.295 prints as 0.29, since the double nearest to it lies below, and an F1 of 0.375 as 0.37 if it
was computed as 2 x 0.3 x 0.5 / (0.3 + 0.5). So no end can be ruled out by its digit, and a range
closed at both ends loses no true matrix.

"truncated" takes what has these digits, as decimals, before others were dropped, towards zero.
"either" lets each number have its own way."""

MOST_DECIMALS = 10  # whatever is computed with them stays within 64 bits
MOST_DIGITS = 30  # before the point; a share needs three
_NUMBER = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?\s*(%?)")


@dataclass(frozen=True)
class Range:
    """All x with low <= scale * x <= high, less an end that is open."""

    low: int
    high: int
    scale: int
    low_open: bool = False
    high_open: bool = False

    def holds(self, numerator, denominator):
        """Whether numerator / denominator lies inside; integers or arrays of them.

        0 / 0 counts as 0, which is what scikit-learn and Keras print for it.
        """
        scaled = self.scale * numerator
        above = scaled > self.low * denominator
        below = scaled < self.high * denominator
        if not self.low_open:
            above = above | (scaled == self.low * denominator)
        if not self.high_open:
            below = below | (scaled == self.high * denominator)
        inside = above & below & (denominator != 0)
        if self.low <= 0 <= self.high:
            inside = inside | (denominator == 0)
        return inside


@dataclass(frozen=True)
class Printed:
    """A printed number: `digits` / `scale` is its value, with a percent sign or without."""

    text: str
    digits: int
    scale: int

    @property
    def value(self) -> Fraction:
        """The number that stands there."""
        return Fraction(self.digits, self.scale)

    def range(self, printing: Printing = "either") -> Range:
        """All values that print so."""
        # In half units of the last digit. Dropped digits lead away from zero.
        low, high = {"rounded": (-1, 1), "truncated": (0, 2), "either": (-1, 2)}[printing]
        d, scale = 2 * self.digits, 2 * self.scale
        if printing == "rounded":
            return Range(d + low, d + high, scale)
        if self.digits == 0:
            return Range(-2, 2, scale, True, True)
        if self.digits < 0:
            return Range(d - high, d - low, scale, low_open=True)
        return Range(d + low, d + high, scale, high_open=True)


def parse_printed(text: str) -> Printed:
    """Read a number as it is printed, such as 0.7047, .7047, 70.47 or 90.38 %.

    Raises:
        InputError: it is no number, is too long, or has more than ten decimals as a share of 1.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None or not (match[2] or match[3]):
        raise InputError(f"{text[:MOST_DIGITS]!r} is no number; write it as 0.7047 or 70.47 %")
    sign, whole, decimals, percent = match[1], match[2], match[3] or "", match[4]
    if len(whole) > MOST_DIGITS:
        raise InputError(f"'{whole[:MOST_DIGITS]}...' is too long to be a share")
    if len(decimals) + 2 * bool(percent) > MOST_DECIMALS:
        raise InputError(f"{text!r} has more than {MOST_DECIMALS} decimals, as a share of 1")
    digits = int(whole + decimals or "0") * (-1 if sign == "-" else 1)
    return Printed(text.strip(), digits, 10 ** len(decimals) * (100 if percent else 1))


def rounded(value: Fraction, decimals: int) -> str:
    """A value with that many decimals, half a digit upwards, from integers alone."""
    scaled = abs(value) * 10**decimals
    units = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    sign = "-" if value < 0 and units else ""
    whole, part = divmod(units, 10**decimals)
    return f"{sign}{whole}.{part:0{decimals}d}" if decimals else f"{sign}{whole}"


def percent(share: Fraction, decimals: int = 1) -> str:
    """A share as a percentage."""
    return f"{rounded(100 * share, decimals)} %"


def four(share: Fraction) -> str:
    """A share with four decimals."""
    return rounded(share, 4)


def plain(share: Fraction) -> str:
    """A share as a short decimal number."""
    return f"{float(share):g}"
