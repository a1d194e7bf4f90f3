"""The user's axes of data and weights, and the channels-first views that definitions take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .case import Case

WEIGHT_LAYOUTS = ("OI*", "*IO", "O*I")
LETTERS = {1: "W", 2: "HW", 3: "DHW"}


def to_user(case: Case, shape: Sequence[int]) -> tuple[int, ...]:
    """The user's shape of an (N, C, sizes...) array."""
    batch, channels, *sizes = shape
    rest = (*sizes, channels) if case.channels_last else (channels, *sizes)
    return (batch, *rest) if case.batched else rest


def channel_view(case: Case, array: np.ndarray, back: bool = False) -> np.ndarray:
    """The (N, C, sizes...) view of a user's array, or the other way around."""
    if back:
        array = np.moveaxis(array, 1, -1) if case.channels_last else array
        return array if case.batched else array[0]
    array = array if case.batched else array[None]
    return np.moveaxis(array, -1, 1) if case.channels_last else array


def weight_layout(case: Case) -> str | None:
    """The word for the order of the weight's axes."""
    return None if case.weight_layout == "OI*" else case.weight_layout.replace("*", LETTERS[case.rank])


def weight_to_user(case: Case, shape: Sequence[int]) -> tuple[int, ...]:
    """The user's shape of a (K, C, kernel...) weight."""
    filters, channels, *kernel = shape
    shapes = {
        "OI*": (filters, channels, *kernel),
        "*IO": (*kernel, channels, filters),
        "O*I": (filters, *kernel, channels),
    }
    return shapes[case.weight_layout]


def weight_view(case: Case, array: np.ndarray, back: bool = False) -> np.ndarray:
    """The (K, C, kernel...) view of a user's weight, or the other way around."""
    if case.weight_layout == "*IO":
        return np.moveaxis(array, (0, 1), (-1, -2)) if back else np.moveaxis(array, (-1, -2), (0, 1))
    if case.weight_layout == "O*I":
        return np.moveaxis(array, 1, -1) if back else np.moveaxis(array, -1, 1)
    return array
