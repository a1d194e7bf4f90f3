from ...._algorithm import Operands
from ...._problem import ConvProblem

def execute(problem: ConvProblem, operands: Operands, threads: int) -> None: ...
