from ...._algorithm import Params
from ...._problem import ConvProblem

class SplitBlocks:
    def __init__(self, problem: ConvProblem, params: Params, merges: bool) -> None: ...
