from typing import Any

import numpy as np

Affine = tuple[np.ndarray | None, np.ndarray | None, int, int, int, bool]

def normalize(
    x: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    affine: Affine,
    eps: float,
    activation: str | None,
    slope: float,
    measures: bool,
    add: np.ndarray | None,
    result: np.ndarray,
    threads: int,
) -> None: ...
def normalize_gradient(
    dy: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    affine: Affine,
    eps: float,
    activation: str | None,
    slope: float,
    measures: bool,
    dx: np.ndarray | None,
    threads: int,
) -> Any: ...
def activate(
    x: np.ndarray, add: np.ndarray | None, activation: str | None, slope: float, result: np.ndarray, threads: int
) -> None: ...
def activate_gradient(
    dy: np.ndarray, x: np.ndarray, activation: str | None, slope: float, result: np.ndarray, threads: int
) -> None: ...
