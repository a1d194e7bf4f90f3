from ..._algorithm import Operands, Resources
from ..._problem import ConvProblem

class Correlations:
    problem: ConvProblem
    count: int
    def __init__(self, problem: ConvProblem) -> None: ...

class BoundProblem:
    problem: ConvProblem
    def __init__(self, problem: ConvProblem, operands: Operands) -> None: ...

class Kernel:
    sums: Correlations
    may_refuse: bool
    def execute(self, operands: Operands, resources: Resources) -> bool: ...
