from .._algorithm import Operands, Resources
from .._problem import ConvProblem
from .direct_layout import Layout

ROWS: int
SLICE_BYTES: int

def correlate(problem: ConvProblem, operands: Operands, resources: Resources, layout: Layout) -> None: ...
def weight_gradient(problem: ConvProblem, operands: Operands, resources: Resources, layout: Layout) -> None: ...
