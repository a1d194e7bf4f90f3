"""Compiled: a network for inputs of one shape, with all that can be known beforehand worked out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._config import thread_count
from ...planning import PlannedConvolution
from ..module import Module
from . import bands, fusion, layout, trial
from .graph import Graph, Node, Value
from .memory import ALIGNMENT, Block, arrange
from .operators import Place, Step, planned, shape_in_memory
from .views import Views

Array = Any


class Compiled:
    """A network that is ready to be computed for inputs of one shape and dtype; made by ``nn.compile``.

    It may be called from several threads at once. Weights are shared; every call that is under way has an arena of its
    own, which the next one uses again, so that there are as many arenas as there were calls at a time.

    Attributes
    ----------
    input_shape, output_shape : tuples of ints
    dtype : dtype
        Of the input.
    threads : int
        That one call uses.
    arena_bytes : int
        Memory for all that is computed between input and output.
    """

    def __init__(
        self, graph: Graph, threads: int, effort: str | None, last: frozenset[int], algorithms: dict[int, str]
    ) -> None:
        self.threads = threads
        self.input_shape, self.output_shape = graph.input.shape, graph.output.shape
        self.dtype, self._result_dtype = graph.input.dtype, graph.output.dtype
        self._graph, self._views, self._last = graph, Views(graph, last), last
        self._plans: dict[int, tuple[PlannedConvolution, Any]] = {}
        for node in graph.nodes:
            for each in bands.convolutions(node):
                algorithm = algorithms.get(id(each), "auto")
                plan = planned(each, id(node.output) in last, threads, effort, algorithm)
                weight = each.settings["weight"]
                if each.operator == "linear":
                    weight = weight[..., None]
                self._plans[id(each)] = plan, None if each.operator == "gated_convolution" else plan.pack(weight)
        self.arena_bytes = self._arrange()
        self._idle: list[Arena] = [Arena(self)]

    def _arrange(self) -> int:
        """Give every value that needs memory a place in the arena; the bytes of the whole."""
        views, graph = self._views, self._graph
        self._blocks: dict[int, Block] = {}
        for step, node in enumerate(graph.nodes):
            for value in (*node.inputs, node.output, *node.settings.get("scratch", ())):
                root = views.root(value)
                if views.is_outside(root):
                    continue
                block = self._blocks.get(id(root))
                if block is None:
                    block = Block(max(root.size, 1) * root.dtype.itemsize, step, step)
                    self._blocks[id(root)] = block
                block.last = step
        return arrange(list(self._blocks.values()))

    def __call__(self, x: Array, out: Array | None = None) -> Array:
        """Compute.

        Parameters
        ----------
        x : array
            Of ``input_shape`` and ``dtype``.
        out : array, optional
            Where the result goes: C-contiguous, of ``output_shape``. Default: a new array.

        Returns
        -------
        array of ``output_shape``

        Raises
        ------
        ValueError, TypeError
            If x or out is not such an array.
        """
        if type(x) is not np.ndarray or x.shape != self.input_shape or x.dtype != self.dtype:
            x = self._checked(x)
        if out is None:
            out = np.empty(self.output_shape, self._result_dtype)
        else:
            self._check_out(out, x)
        try:
            arena = self._idle.pop()
        except IndexError:
            arena = Arena(self)
        try:
            arena.compute(x if x.flags.c_contiguous else np.ascontiguousarray(x), out)
        finally:
            self._idle.append(arena)
        return out

    def _checked(self, x: Array) -> Array:
        if not isinstance(x, np.ndarray):
            raise TypeError(f"x: got {type(x).__name__}; allowed: a NumPy array")
        if x.shape != self.input_shape or x.dtype != self.dtype:
            raise ValueError(
                f"x: got shape {x.shape}, {x.dtype}; allowed: {self.input_shape}, {self.dtype}, "
                "which the network was compiled for"
            )
        return np.asarray(x)

    def _check_out(self, out: Array, x: Array) -> None:
        if not isinstance(out, np.ndarray):
            raise TypeError(f"out: got {type(out).__name__}; allowed: a NumPy array")
        if out.shape != self.output_shape or out.dtype != self._result_dtype:
            raise ValueError(
                f"out: got shape {out.shape}, {out.dtype}; allowed: {self.output_shape}, {self._result_dtype}"
            )
        if not out.flags.c_contiguous or not out.flags.writeable or np.may_share_memory(out, x):
            raise ValueError("out: got an array that is not C-contiguous, or read-only, or lies where x does")

    def describe(self) -> str:
        """One line for each operator: its layer's path, what it computes and how, and where channels lie."""
        lines = []
        for node in self._graph.nodes:
            for each, part in bands.members(node):
                plan, inputs = self._plans.get(id(part)), len(each.inputs) - (each.operator == "gated_convolution")
                how = f", {plan[0].choice.algorithm.name}" if plan else ""
                how += ", in bands" if each is not part else ""
                lies = ", channels last" if id(node.output) in self._last else ""
                fused = f" + {each.settings['activation']}" if each.settings.get("activation") else ""
                fused = " + add" * (inputs > 1 and plan is not None) + fused
                lines.append(f"{each.path or '-'}: {each.operator}{fused} {each.output.shape}{how}{lies}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return (
            f"<compiled network: {self.input_shape} {self.dtype} -> {self.output_shape}, {len(self._graph.nodes)} "
            f"operators, {self.threads} threads, arena of {self.arena_bytes / 2**20:.1f} MiB>"
        )


class Arena:
    """Memory for one call at a time, and the steps that compute in it."""

    def __init__(self, compiled: Compiled) -> None:
        graph, views = compiled._graph, compiled._views
        self.memory = np.empty(compiled.arena_bytes + ALIGNMENT, np.uint8)
        self.start = -self.memory.ctypes.data % ALIGNMENT
        values = [graph.input, *(node.output for node in graph.nodes)]
        values += [value for node in graph.nodes for value in node.settings.get("scratch", ())]
        numbers = {id(value): number for number, value in enumerate(values)}
        self.slots: list[Array] = [None] * len(values)
        self.input, self.output = numbers[id(graph.input)], numbers[id(graph.output)]
        for number, value in enumerate(values):
            root = views.root(value)
            if root.node is not None and root.node.operator == "constant":
                self.slots[number] = root.node.settings["array"]
            elif not views.is_outside(root):
                block = compiled._blocks.get(id(root))
                if block is not None:
                    self.slots[number] = views.view(value, self._at(root, block, id(root) in compiled._last))
        place = Place(self.slots, numbers, compiled._last, compiled.threads, compiled._plans)
        self.steps: list[Step] = [bands.bind(node, place) for node in graph.nodes if not views.is_free(node)]
        self.nodes: list[Node] = [node for node in graph.nodes if not views.is_free(node)]

    def _at(self, root: Value, block: Block, is_last: bool) -> Array:
        start = self.start + block.place
        part = self.memory[start : start + root.size * root.dtype.itemsize]
        return part.view(root.dtype).reshape(shape_in_memory(root, is_last))

    def compute(self, x: Array, out: Array) -> None:
        slots = self.slots
        slots[self.input], slots[self.output] = x, out
        try:
            for step in self.steps:
                step()
        finally:
            slots[self.input] = slots[self.output] = None


def compile(
    model: Module,
    example_shape: Sequence[int],
    *,
    dtype: Any = "float32",
    threads: int | None = None,
    effort: str | None = None,
    layout: str | None = None,
) -> Compiled:
    """Make a network ready for inputs of one shape: the same result as in evaluation mode to rounding, but faster.

    Normalizations by running statistics become part of weights, bias, sum and activation part of convolutions; weights
    are packed, the algorithm of every layer and where its channels lie are chosen, and all memory is planned, so that
    a call allocates nothing but its result. Parameters are copied: later changes of the model are not seen.

    Parameters
    ----------
    model : Module
    example_shape : ints
        Of the inputs, the batch included.
    dtype : dtype or its name, default "float32"
        Of the inputs, to which the parameters are converted. Where inputs are integers, the numbers of an embedding's
        rows, all else is computed in the dtype of the parameters.
    threads : int, optional
        That one call uses. Default: ``fastconv.get_num_threads()``.
    effort : {"estimate", "measure", "exhaustive", "pinned"}, optional
        How algorithms are chosen: as in ``fastconv.plan``; but with "measure", the network is computed some times with
        every layer's best candidates, which are timed where they are used. It takes seconds, and nothing is stored.
    layout : {"channels_first", "channels_last"}, optional
        How arrays between the layers lie. Default: as the cost of layers and of moves between them asks for.

    Returns
    -------
    Compiled
        ``compiled(x, out=None)``; several threads may call it.

    Raises
    ------
    ValueError, TypeError
        Where shapes do not fit, with the layer's path; or an argument is none of the allowed ones.
    NotImplementedError
        If a layer cannot be compiled.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()).eval()
    >>> compiled = nn.compile(model, (1, 3, 32, 32))
    >>> x = np.ones((1, 3, 32, 32), np.float32)
    >>> bool(np.allclose(compiled(x), model(x), atol=1e-5))
    True
    """
    if not isinstance(model, Module):
        raise TypeError(f"model: got {type(model).__name__}; allowed: a Module")
    if layout not in (None, "channels_first", "channels_last"):
        raise ValueError(f"layout: got {layout!r}; allowed: 'channels_first', 'channels_last' or None")
    shape = tuple(int(size) for size in example_shape)
    if not shape or min(shape) < 1:
        raise ValueError(f"example_shape: got {example_shape!r}; allowed: sizes of 1 or more")
    graph = Graph(shape, dtype, None if np.dtype(dtype).kind == "f" else _dtype_of(model)).of(model)
    return ready(graph, thread_count(threads), effort, layout)


def ready(graph: Graph, threads: int, effort: str | None, wanted: str | None) -> Compiled:
    """A graph as it was described, made simpler and ready to be computed."""
    fusion.fuse(graph)
    fusion.gate(graph)
    if graph.output.node is None or graph.output.node.operator == "constant":
        graph.output = graph.append("lay", (graph.output,), graph.output.shape)
    for node in graph.nodes:
        for name in ("bias", "table", "weight"):
            # Weights of convolutions are copied where they are packed.
            array = node.settings.get(name)
            if array is not None and (name != "weight" or node.operator.endswith("norm")):
                node.settings[name] = np.array(array, node.output.dtype, order="C")
    algorithms: dict[tuple[int, bool], str] = {}
    if effort == "measure":
        costs, algorithms = trial.measured(graph, threads, _trial)
        effort = None
    else:
        costs = layout.estimates(graph, threads, effort) if wanted is None else {}
    last = layout.choose(graph, costs, wanted)
    chosen = {}
    for node in graph.nodes:
        algorithm = algorithms.get((id(node), id(node.output) in last))
        if algorithm is not None:
            chosen[id(node)] = algorithm
    last = bands.join(graph, last)
    return Compiled(graph, threads, effort, last, chosen)


def _trial(graph: Graph, threads: int, wanted: str, algorithms: dict[int, str]) -> Compiled:
    """A graph all of whose channels lie one way."""
    return Compiled(graph, threads, None, layout.choose(graph, {}, wanted), algorithms)


def _dtype_of(model: Module) -> Any:
    """That of the parameters, for inputs that are integers."""
    return next((each.dtype for each in model.parameters() if each.is_floating()), np.dtype("float32"))
