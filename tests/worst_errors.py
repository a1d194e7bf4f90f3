"""Collects error / bound over the accuracy tests, for the report at the end of a run."""

from __future__ import annotations

_worst: dict[tuple[str, str, str], tuple[float, str]] = {}


def note(algorithm: str, dtype: str, kind: str, ratio: float, where: str) -> None:
    """Remember the ratio if it is the largest yet of its algorithm, dtype and kind of bound."""
    key = (algorithm, dtype, kind)
    if ratio >= _worst.get(key, (-1.0, ""))[0]:
        _worst[key] = (ratio, where)


def table() -> list[str]:
    """One line per algorithm, dtype and kind of bound."""
    return [
        f"{algorithm:<14} {dtype:<10} {kind:<12} {ratio:8.2g}  {where}"
        for (algorithm, dtype, kind), (ratio, where) in sorted(_worst.items())
    ]
