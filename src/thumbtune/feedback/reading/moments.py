"""Read a moment in any usual form: never a wrong one; what is ambiguous is refused.

    2024-01-05T13:22:11Z      ISO 8601, also with a space, a fraction, an offset, or [Europe/Berlin] behind it
    20240105132211            compact, also 20240105-132211 and 20240105
    1704460931                seconds since 1970, or milli-, micro-, nanoseconds, as a number or text
    1.704460931E+12           the same, if no digit of a second was rounded off, as in 1.70446E+12
    Fri, 05 Jan 2024 13:22:11 GMT      RFC 2822; Jan 5, 2024; 5 January 2024; as JavaScript, C and Go print dates
    Fri Jan  5 13:22:11 EST 2024       as `date` prints it
    05.03.2026                the day is first; of 5/3/2026 the other dates of its column must show it
    {"$date": ...}            MongoDB's; {"_seconds": ..., "_nanoseconds": ...}, Firestore's

A moment without a zone is in UTC.
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

FIRST_YEAR, LAST_YEAR = 2000, 2100  # a number of seconds outside of these years is something else
# A number of this many parts of a second since 1970 lies between these years for one kind of part only.
PARTS_OF_A_SECOND = (1, 10**3, 10**6, 10**9)
FIRST_SECOND, LAST_SECOND = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (FIRST_YEAR, LAST_YEAR))
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
LONG_MONTHS = "january february march april may june july august september october november december sept".split()
WEEKDAYS = frozenset(
    "mon tue wed thu fri sat sun tues thur thurs monday tuesday wednesday thursday friday saturday sunday".split()
)
ZONES = {
    **{"z": 0, "utc": 0, "gmt": 0, "ut": 0, "wet": 0, "west": 1, "cet": 1, "cest": 2, "mez": 1, "mesz": 2, "eet": 2},
    **{"eest": 3, "msk": 3, "jst": 9, "kst": 9, "aest": 10, "aedt": 11, "nzst": 12, "nzdt": 13, "est": -5, "edt": -4},
    **{"cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7, "akst": -9, "akdt": -8, "hst": -10},
}
SEVERAL_ZONES = frozenset(("cst", "ist", "bst"))  # China or Chicago, India or Israel: only an offset beside them counts
OBJECTS = ("$date", "$numberlong", "iso", "__time__", "value")  # the keys of objects around a moment
SECONDS, NANOSECONDS = ("_seconds", "seconds"), ("_nanoseconds", "nanoseconds", "nanos")
MAX_LENGTH = 100  # characters
LAST_MONTH = 12
NOON = 12
PARTS_OF_A_DATE, DIGITS_OF_A_YEAR = 3, 4
MAX_KEYS = 9  # of an object around a moment

_NUMBER = re.compile(r"\d{8,20}(\.\d*)?", re.ASCII)
_ROUNDED = re.compile(r"\d(\.\d{1,18})?e\+?\d\d", re.ASCII | re.IGNORECASE)  # 1.704460931E+12
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:[ t_-]?(\d\d)(\d\d)(?:(\d\d)(\d*))?)?", re.ASCII)
_ISO = re.compile(r"\d{4}-\d\d-\d\d([T t].*)?|\d{8}[Tt]\d{4}.*", re.ASCII)
_DASHED = re.compile(r"(\d{4})[-_:./](\d\d?)[-_:./](\d\d?)[ T_-]+(\d\d)[-_.h](\d\d)(?:[-_.m](\d\d))?s?", re.ASCII)
_BRACKETED = re.compile(r"\s*(\[[\w/+-]+\]|\([\w\s+:-]+\))\s*$")
_TIME = re.compile(
    r"(?<![\d:])(\d\d?):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?\s*([ap])?(?(5)\.?m\.?)(?![\d:])", re.ASCII | re.IGNORECASE
)
_OFFSET = re.compile(r"(?:\b(?:utc|gmt)|(?<=\s)|^)\s*([+-])(\d\d?)(?::?(\d\d))?(?=\s|$)", re.ASCII | re.IGNORECASE)
_LOGGED = re.compile(r"(/\d{4}):(?=\d\d:)", re.ASCII)  # 05/Jan/2024:13:22:11, as web servers log
_SLASHED = re.compile(r"\s*(?:[A-Za-z]+,?\s+)?(\d{1,2})([/-])(\d{1,2})\2\d{4}(?!\d)", re.ASCII)


class AmbiguousDay(ValueError):
    """A date whose first two numbers may be the day and the month, or the month and the day."""


def moment_of(cell: object, day_first: bool | None = None) -> datetime:
    """Return the moment in a cell, in UTC. `day_first` says how to read 5/3/2026, if the column shows it.

    Raises:
        AmbiguousDay: it may be one of two days.
        ValueError: it is no moment.
    """
    if isinstance(cell, datetime):
        return _in_utc(cell)
    if isinstance(cell, Mapping):
        return _of_object(cell, day_first)
    if isinstance(cell, bool) or not isinstance(cell, int | float | Decimal):
        return _of_text(str(cell).strip(), day_first)
    if isinstance(cell, float) and not cell.is_integer():
        return _since_1970(cell)
    return _of_number(int(cell), cell)


def day_first_in(cells: Iterable[object]) -> bool | None:
    """Return whether the dates of a column, as 5/3/2026, begin with the day; None if they do not show it."""
    firsts = set()
    for cell in cells:
        if isinstance(cell, str) and (date := _SLASHED.match(cell[:MAX_LENGTH])) is not None:
            first, second = int(date[1]), int(date[3])
            firsts |= {True} if first > LAST_MONTH else {False} if second > LAST_MONTH else set()
    return firsts.pop() if len(firsts) == 1 else None


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _since_1970(number: float | Decimal) -> datetime:
    """Return the moment this many seconds, or parts of them, after 1970."""
    for parts in PARTS_OF_A_SECOND:
        if FIRST_SECOND <= number / parts < LAST_SECOND:
            return datetime.fromtimestamp(float(number) / parts, UTC)
    raise ValueError("it is not a number of seconds since 1970")


def _of_numeral(text: str) -> datetime:
    """Return the moment in a number that is written as text."""
    if _ROUNDED.fullmatch(text):
        return _unrounded(Decimal(text))
    return _of_number(int(float(text)) if "." in text else int(text), Decimal(text))


def _unrounded(number: Decimal) -> datetime:
    """Return the moment this many seconds, or parts of them, after 1970, if its digits tell the second."""
    exponent = number.as_tuple().exponent
    for parts in PARTS_OF_A_SECOND:
        if FIRST_SECOND <= number / parts < LAST_SECOND and isinstance(exponent, int) and 10**exponent <= parts:
            return _since_1970(number)
    raise ValueError("its last digits were rounded off")


def _of_number(whole: int, number: float | Decimal) -> datetime:
    """Return the moment in a whole number: since 1970, or 20240105132211."""
    try:
        return _since_1970(number)
    except ValueError:
        return _compact(str(whole) if abs(whole) < 10**20 else "")


def _compact(text: str) -> datetime:
    """Return the moment in YYYYMMDD, with or without HHMM, seconds and a fraction."""
    parts = _COMPACT.fullmatch(text.lower())
    if parts is None or not FIRST_YEAR <= int(parts[1]) < LAST_YEAR:
        raise ValueError("it is not a date in digits")
    year, month, day, hour, minute, second = (int(part or 0) for part in parts.groups()[:6])
    return datetime(year, month, day, hour, minute, second, _microseconds(parts[7]), UTC)


def _microseconds(fraction: str | None) -> int:
    return int((fraction or "0")[:6].ljust(6, "0"))


def _of_object(cell: Mapping[object, object], day_first: bool | None) -> datetime:
    """Return the moment in an object, as databases write them."""
    parts = {str(key).lower(): value for key, value in cell.items()}
    seconds = next((parts[name] for name in SECONDS if name in parts), None)
    if isinstance(seconds, int | float | str) and not isinstance(seconds, bool):
        more = next((parts[name] for name in NANOSECONDS if name in parts), 0)
        return _since_1970(int(seconds)) + timedelta(microseconds=int(str(more or 0)) // 1000)
    inner = next((parts[name] for name in OBJECTS if name in parts), None)
    if inner is None or (isinstance(inner, Mapping) and len(inner) > MAX_KEYS):
        raise ValueError("it is an object without a moment")
    return moment_of(inner, day_first)


def _of_text(text: str, day_first: bool | None) -> datetime:
    """Return the moment in a text."""
    if len(text) > MAX_LENGTH:
        raise ValueError("it is too long for a moment")
    if _NUMBER.fullmatch(text) or _ROUNDED.fullmatch(text):
        return _of_numeral(text)
    if text.startswith("{"):
        inner = json.loads(text)
        return moment_of(inner if isinstance(inner, Mapping) else "", day_first)
    text = _BRACKETED.sub("", text)
    if _ISO.fullmatch(text):
        try:
            return _in_utc(datetime.fromisoformat(text))
        except ValueError:
            pass  # with " UTC" or "PM" behind it, it is read below
    if (dashed := _DASHED.fullmatch(text)) is not None:
        year, month, day, hour, minute, second = (int(part or 0) for part in dashed.groups())
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    if _COMPACT.fullmatch(text.lower().removesuffix("z")):
        return _compact(text.lower().removesuffix("z"))
    return _of_words(text, day_first)


def _of_words(text: str, day_first: bool | None) -> datetime:
    """Return the moment in a text of a date, with or without a time and a zone, in any order."""
    hour = minute = second = micro = 0
    text = _LOGGED.sub(r"\1 ", text)
    if (time := _TIME.search(text)) is not None:
        hour, minute, second, micro = int(time[1]), int(time[2]), int(time[3] or 0), _microseconds(time[4])
        if time[5]:
            if not 1 <= hour <= NOON:
                raise ValueError("there is no such hour")
            hour = hour % NOON + (NOON if time[5].lower() == "p" else 0)
        before, after = text[: time.start()], text[time.end() :]
        text = f"{before.rstrip('Tt:')} {after}"
    zone: timezone | None = None
    if time is not None and (offset := _OFFSET.search(text)) is not None:
        away = timedelta(hours=int(offset[2]), minutes=int(offset[3] or 0))
        zone = timezone(-away if offset[1] == "-" else away)
        text = text[: offset.start()] + text[offset.end() :]
    words = [word.rstrip(".") for word in text.lower().replace(",", " ").split() if word not in ("at", "-", "·", "|")]
    words = [word for word in words if word not in WEEKDAYS]
    if time is not None:
        zone, words = _zone_named(words, zone)
    year, month, day = _date(words, day_first)
    return datetime(year, month, day, hour, minute, second, micro, zone or UTC).astimezone(UTC)


def _zone_named(words: list[str], zone: timezone | None) -> tuple[timezone | None, list[str]]:
    """Return the zone that a word names, or the one that is known by its offset, and the other words."""
    names = [word for word in words if word in ZONES or word in SEVERAL_ZONES]
    if len(names) != 1:
        return zone, words
    named = timezone(timedelta(hours=ZONES[names[0]])) if names[0] in ZONES else zone
    if named is None or (zone is not None and named != zone):
        raise ValueError("its zone is one of several")
    return named, [word for word in words if word != names[0]]


def _date(words: list[str], day_first: bool | None) -> tuple[int, int, int]:
    """Return the year, month and day in words, as "jan", "5", "2024", or in one word with slashes, dots or dashes."""
    parts = re.split(r"[/.\-:]", words[0]) if len(words) == 1 else words
    separator = words[0].lstrip("0123456789")[:1] if len(words) == 1 else " "
    if len(parts) != PARTS_OF_A_DATE:
        raise ValueError("it is not a date")
    months = [_month(part) for part in parts]
    if any(months):
        place = next(place for place, month in enumerate(months) if month)
        rest = [re.sub(r"(?<=\d)(st|nd|rd|th)$", "", part) for part in parts[:place] + parts[place + 1 :]]
        year, day = (rest[0], rest[1]) if len(rest[0]) == DIGITS_OF_A_YEAR else (rest[1], rest[0])
        month = months[place]
    elif len(parts[0]) == DIGITS_OF_A_YEAR:
        year, month, day = parts[0], int(parts[1]), parts[2]
    else:
        year, month, day = parts[2], *_ordered(int(parts[0]), int(parts[1]), True if separator == "." else day_first)
    if len(year) != DIGITS_OF_A_YEAR:
        raise ValueError("its year has not four digits")
    return int(year), int(month or 0), int(day)


def _ordered(first: int, second: int, day_first: bool | None) -> tuple[int, int]:
    """Return the month and the day of two numbers.

    Raises:
        AmbiguousDay: both may be the month.
    """
    if first == second:
        return first, second
    if day_first is None and first <= LAST_MONTH and second <= LAST_MONTH:
        raise AmbiguousDay("it may be one of two days")
    is_day_first = first > LAST_MONTH if day_first is None else day_first
    return (second, first) if is_day_first else (first, second)


def _month(word: str) -> int | None:
    """Return the number of a month by its name."""
    if word in MONTHS:
        return MONTHS.index(word) + 1
    return MONTHS.index(word[:3]) + 1 if word in LONG_MONTHS else None
