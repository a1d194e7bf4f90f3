from ..._algorithm import Operands, Resources
from ..._problem import ConvProblem

class CompiledCorrelation:
    problem: ConvProblem
    phase_count: int
    def __init__(self, problem: ConvProblem) -> None: ...

class BoundProblem:
    problem: ConvProblem
    def __init__(self, problem: ConvProblem, operands: Operands) -> None: ...

class Kernel:
    correlation: CompiledCorrelation
    def execute(self, operands: Operands, resources: Resources) -> list[int] | None: ...

def spoiled_images(marks: bytearray) -> list[int]: ...
