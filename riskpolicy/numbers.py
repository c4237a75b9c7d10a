"""Exact numbers and instants: what a written or floating number means, and how one is printed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from riskpolicy._rational import exact_of, shortest

#: Longer numbers are refused before they are converted: exactness must not cost unbounded time.
MAX_NUMBER_LENGTH = 100
MAX_EXPONENT = 100

_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")


class NumberError(ValueError):
    """A text that is not a number within the limits."""


def parse_decimal(text: str) -> Decimal:
    """Return the decimal that `text` writes; NumberError when it is no finite number within limits."""
    if len(text) > MAX_NUMBER_LENGTH:
        raise NumberError(f"a number of {len(text)} characters; at most {MAX_NUMBER_LENGTH} are allowed")
    if not _NUMBER.fullmatch(text) or not text.isascii():
        raise NumberError(f"`{text}` is not a number")
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise NumberError(f"`{text}` is not a number within the limits") from None
    if value and abs(value.adjusted()) > MAX_EXPONENT:
        raise NumberError(f"`{text}` is beyond 1e{MAX_EXPONENT} or below 1e-{MAX_EXPONENT}")
    return value


def parse_rate(text: str) -> Decimal:
    """Return the fraction that a rate writes: `0.4%` and `0.004` are the same.

    A bare rate of 1 or more in size is a NumberError, since it is nearly always a percentage that
    lost its sign.
    """
    if text.endswith("%"):
        return parse_decimal(text[:-1].rstrip()).scaleb(-2)
    value = parse_decimal(text)
    if abs(value) >= 1:
        raise NumberError(f"a rate of {text} without a percent sign")
    return value


def exact(value: int | float | Decimal | Fraction | str) -> Fraction:
    """Return the exact value: a float means its shortest decimal, text the decimal that it writes."""
    if isinstance(value, float):
        return shortest(value)
    if isinstance(value, str):
        value = parse_decimal(value)
    try:
        return exact_of(*value.as_integer_ratio())
    except AttributeError:
        raise TypeError(f"{value!r} is no number") from None


def decimal_text(value: int | float | Decimal) -> str:
    """Return plain decimal digits, without exponent or trailing zeros; a float by its shortest decimal."""
    if isinstance(value, float):
        value = Decimal(repr(value))
    text = format(Decimal(value), "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def sqrt(value: Fraction) -> Fraction:
    """Return the root of a fraction: exact for a perfect square, else rounded down to some 200 significant digits."""
    top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if top * top == value.numerator and bottom * bottom == value.denominator:
        return Fraction(top, bottom)
    bits = max(0, 1400 - value.numerator.bit_length() + value.denominator.bit_length())
    bits += bits % 2
    return Fraction(math.isqrt((value.numerator << bits) // value.denominator), 1 << (bits // 2))


def fraction_text(value: Fraction, digits: int = 12) -> str:
    """Return a fraction as decimal text: exact where it ends within `digits` places, else rounded with `~`."""
    scaled = value * 10**digits
    rounded = round(scaled)
    text = decimal_text(Decimal(rounded).scaleb(-digits))
    return text if scaled == rounded else f"~{text}"


def parse_instant(text: str) -> datetime:
    """Return the UTC instant of an ISO 8601 date (its first moment) or date and time; ValueError otherwise.

    A time without an offset is UTC.
    """
    if len(text) == 10:
        day = date.fromisoformat(text)
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    moment = datetime.fromisoformat(text)
    return utc(moment)


def utc(moment: datetime) -> datetime:
    """Return a moment in UTC; one without an offset is UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def seconds_of(moment: datetime) -> Decimal:
    """Return an instant as seconds since 1970 in UTC, exact to the microsecond."""
    past = utc(moment) - datetime(1970, 1, 1, tzinfo=UTC)
    return Decimal(past.days * 86400 + past.seconds) + Decimal(past.microseconds).scaleb(-6)


def moment_of(seconds: Fraction) -> datetime:
    """Return the instant of seconds since 1970, to the microsecond."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(seconds * 10**6))


def parameter(value: object) -> object:
    """Return a parameter as code takes it: numbers and percentages as fractions, also in lists; all else as it is.

    What is written as text stays text, also where it looks like a number, unless it is a percentage.
    """
    if isinstance(value, Mapping):
        return {name: parameter(of) for name, of in value.items()}
    if isinstance(value, list | tuple):
        return [parameter(of) for of in value]
    if isinstance(value, Decimal):
        return Fraction(value)
    if not isinstance(value, str) or not value.endswith("%"):
        return value
    try:
        return Fraction(parse_decimal(value[:-1].rstrip())) / 100
    except NumberError:
        return value
