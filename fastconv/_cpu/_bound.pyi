from .._algorithm import Operands
from .._problem import ConvProblem

class BoundProblem:
    problem: ConvProblem
    def __init__(self, problem: ConvProblem, operands: Operands) -> None: ...
