"""Plans: a convolution of fixed shapes, whose algorithm is chosen once and whose weights can be kept packed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ._backend import CallCache, CompiledCall, array_key, find_backend
from ._choose.select import bind, packed_plan, plan_for
from ._config import thread_count
from ._docs import documented
from ._execute.convolution import Prepared, pack
from ._execute.entry import entry
from ._normalize import signature as normalize
from ._normalize.pooling import boolean
from ._normalize.settings import Settings
from ._normalize.signature import PackedWeight, Signature
from ._plan import Immutable, Plan
from ._problem import Epilogue
from ._version import __version__

KEPT_CALLS = 16
"""With and without bias, residual and packed weight."""


class PlannedConvolution(Immutable):
    """One direction of one convolution for arrays of fixed shapes and dtype, ready to be computed; see ``plan``.

    Immutable: it may be called from several threads at once. Pickled, it keeps its algorithm and parameters wherever
    it is unpickled, unless they are not available there: then a new choice is made.

    Attributes
    ----------
    choice : Plan
        The algorithm, its parameters, the number of threads and why they were chosen.
    result_shape : tuple of ints
        Shape of the array that a call returns.
    """

    def __init__(self, signature: Signature, choice: Plan, threads: int | None = None) -> None:
        self.choice = choice
        self._signature = signature
        self._threads = threads
        self._choices = {(False, False): choice}
        bare = choice.problem.replace(epilogue=Epilogue())
        self._backend = find_backend(choice.backend)
        self._run = entry(self._first, CallCache(KEPT_CALLS, array_key), PackedWeight)
        layout = f"{choice.algorithm.name} {sorted(choice.params.items())}"
        self._made_for = f"{bare}: {layout}, fastconv {__version__}, {self._backend.level()}"

    @property
    def result_shape(self) -> tuple[int, ...]:
        described = self._signature.described
        return {
            "forward": described.y_shape,
            "backward_input": described.x_shape,
            "backward_weight": described.w_shape,
        }[self._signature.direction]

    def pack(self, w: Any) -> PackedWeight:
        """Put a weight into the layout of the chosen algorithm, for the calls of this plan and of plans like it.

        Parameters
        ----------
        w : array
            Of the planned shape and dtype. It is copied.

        Returns
        -------
        PackedWeight
            To be passed in the place of w.

        Raises
        ------
        ValueError
            If w does not match the plan, or the plan is one of ``direction="backward_weight"``.
        """
        w = normalize.weight_to_pack(self._signature, w)
        with self._backend.active((w,)):
            kept = self._backend.snapshot(w)
            packed = pack(self.choice, self._signature.described.frame, kept)
        return PackedWeight(kept, packed, self._made_for, self)

    def __call__(
        self, first: Any, second: Any, bias: Any = None, add: Any = None, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Compute.

        Parameters
        ----------
        first, second : arrays
            x and w for direction "forward", dy and w for "backward_input", x and dy for "backward_weight". w may be
            what ``pack`` has returned.
        bias, add : arrays, optional
            For direction "forward", as in the planned function.
        out : array, optional
            Where the result goes.

        Returns
        -------
        array of ``result_shape``

        Raises
        ------
        ValueError
            If an array does not have the planned shape and dtype.
        """
        result: np.ndarray = self._run(None, (), (), (first, second, bias, add), out)
        return result

    def _first(
        self, normalise: None, arguments: tuple[()], how: tuple[()], arrays: tuple[Any, ...], out: Any
    ) -> tuple[np.ndarray, Callable[[], CompiledCall | None]]:
        """What the first call with arrays like these takes; all later ones are known."""
        first, second, bias, add = arrays
        choice = self._choice_for(bias is not None, add is not None)
        call = normalize.call_of(self._signature, choice.problem, first, second, bias, add, out, self._made_for)
        prepared = Prepared(call, "auto", None, choice)
        return prepared(), partial(prepared.placed, arrays)

    def _choice_for(self, bias: bool, add: bool) -> Plan:
        """The same choice for the problem with bias and add or without."""
        found = self._choices.get((bias, add))
        if found is None:
            plan = self.choice
            epilogue = Epilogue(bias, add, plan.problem.epilogue.activation, plan.problem.epilogue.slope)
            problem = plan.problem.replace(epilogue=epilogue)
            how = plan.algorithm, plan.params, plan.threads, plan.reason, plan.candidates, self._backend
            found = bind(problem, *how)
            self._choices[bias, add] = found
        return found

    def __reduce__(self) -> tuple[Callable[..., PlannedConvolution], tuple[object, ...]]:
        return _carried, (self._signature.arguments, self.choice, self._threads)

    def __repr__(self) -> str:
        return f"<{self._signature.function} {self._signature.direction}: {self.choice}>"


@documented
def plan(
    function: str,
    x_shape: Any,
    w_shape: Any,
    dtype: Any = "float32",
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int | None = None,
    output_padding: Any = None,
    output_size: Any = None,
    padding_mode: str | tuple[str, ...] = "zeros",
    layout: str | None = None,
    w_layout: str | None = None,
    activation: Any = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    direction: str = "forward",
    effort: str | None = None,
    backend: str = "cpu",
    packed: bool = False,
) -> PlannedConvolution:
    """Choose the algorithm of a convolution once, for arrays of given shapes, and keep its weights packed.

    Parameters
    ----------
    function : str
        "conv1d", "conv2d", "conv3d", "conv_transpose1d"... or "depthwise_conv1d"...
    x_shape, w_shape : sequences of ints
        Shapes of x and w as the function takes them, whatever the direction.
    dtype : dtype or its name, default "float32"
    {stride}
    groups, output_padding, output_size, padding_mode, layout, w_layout, activation
        As in the function; None where it has no such argument.
    {how}
    direction : {"forward", "backward_input", "backward_weight"}, default "forward"
        What a call computes: the function, or its gradient for x or for w.
    effort : {"estimate", "measure", "exhaustive", "pinned"}, optional
        How the algorithm is chosen: by what is known (stored measurements, else a cost model), by timing the candidates
        now, which takes seconds (the result is stored, and the next such plan costs nothing), or by stored measurements
        alone. Default: that of the innermost ``with fastconv.tuning(...)`` block, else "estimate".
    backend : {"cpu", "gpu"}, default "cpu"
        What the plan is for: NumPy arrays, or CuPy arrays on a device like the current one, which is then timed.
    packed : bool, default False
        Whether w will be what ``pack`` has returned. What packing costs does not count then, and other parameters may
        be chosen; weights that are not packed are taken all the same, but may be slower.

    Returns
    -------
    PlannedConvolution
        ``p(x, w, bias=None, add=None, out=None)`` computes the function, ``p(dy, w)`` and ``p(x, dy)`` the gradients;
        ``p.pack(w)`` is a weight that may be passed in the place of w.

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((2, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32)
    >>> planned = fastconv.plan("conv2d", x.shape, w.shape, x.dtype, padding=1)
    >>> packed = planned.pack(w)
    >>> bool((planned(x, packed) == fastconv.conv2d(x, w, padding=1)).all())
    True
    """
    settings = Settings(
        stride, padding, dilation, groups, padding_mode, layout, w_layout, precision, output_padding, output_size
    )
    is_packed = boolean("packed", packed)
    how = activation, direction, "estimate" if effort is None else effort, backend
    signature = normalize.signature(function, x_shape, w_shape, dtype, settings, *how)
    chosen = find_backend(backend)
    choice = plan_for(signature.problem, algorithm, threads, backend=chosen, effort=effort)
    return PlannedConvolution(signature, packed_plan(choice) if is_packed else choice, threads)


def _carried(arguments: tuple[Any, ...], choice: Plan, threads: int | None) -> PlannedConvolution:
    """A plan of another process; where it was not told its threads, they are those of this one."""
    count = thread_count(threads)
    backend = find_backend(choice.backend)
    count = backend.parallelism(count)
    choice = bind(choice.problem, choice.algorithm, choice.params, count, choice.reason, choice.candidates, backend)
    return PlannedConvolution(normalize.signature(*arguments), choice, threads)
