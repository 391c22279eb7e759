"""Durations for people."""


def duration(seconds: float) -> str:
    """Return seconds as a duration for people, in its two largest units.

    >>> duration(26_100), duration(95), duration(0.4), duration(200_000)
    ('7 h 15 min', '1 min 35 s', '0.4 s', '2 d 7 h')
    """
    if seconds < 10:  # noqa: PLR2004 - shown with a decimal
        return f"{seconds:.1f} s"
    whole = round(seconds)
    units = (("d", whole // 86400), ("h", whole // 3600 % 24), ("min", whole // 60 % 60), ("s", whole % 60))
    first = next(i for i, (_, number) in enumerate(units) if number)
    return " ".join(f"{number:,} {unit}" for unit, number in units[first : first + 2] if number)
