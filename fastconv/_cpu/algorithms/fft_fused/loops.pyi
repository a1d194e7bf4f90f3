import numpy as np

from ...._algorithm import Operands, Resources
from ...._problem import ConvProblem
from ...engine.correlation import Kernel
from .blocking import Blocking

COPIED_ROWS: int

def cheapest_tiles(
    sizes: tuple[int, ...],
    is_signal: bool,
    reach: tuple[int, int],
    pixels: tuple[int, int],
    batch: int,
    channels: int,
    filters: int,
    most_points: int,
    kept: int,
) -> list[tuple[int, int]]: ...

class FftFusedKernel(Kernel):
    def __init__(self, problem: ConvProblem, blocking: Blocking) -> None: ...
    def pack(self, operands: Operands, threads: int) -> np.ndarray: ...
    def spoiled_by(self, operands: Operands, resources: Resources) -> list[int]: ...
