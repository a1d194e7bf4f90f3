"""Bands: convolutions in a row, some rows of an image at a time, so that what lies between them stays in a cache.

Where one layer's result is larger than the caches, the next one waits for memory, as in the first blocks of a
MobileNet, which write six times as much as they read. In a band, every layer computes the rows that the next one needs
and has not got yet; the rows that two bands share are kept (Alwani et al., Fused-Layer CNN Accelerators, MICRO 2016).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import operators
from .graph import Graph, Node, Value
from .operators import PLANNED, Place, Step, planned

LARGE_BYTES = 2**23
"""A value of a row of layers that has more is not kept whole: about what a processor finds in its caches."""
BAND_BYTES = 6 * 2**20
"""All that lies between the layers in one band, if a band of one row has no more."""
WEIGHT_BYTES = 2**18
"""All weights of a row of layers, which are read again in every band, have no more."""
MEMBERS = ("convolution", "activation", "layer_norm")


@dataclass(frozen=True)
class Window:
    """What one row of a layer's result is computed from."""

    size: int
    stride: int
    before: int
    """Rows of padding."""

    def rows(self, first: int, end: int) -> tuple[int, int]:
        """The rows that rows [first, end) of the result are computed from, those of the padding included."""
        return first * self.stride - self.before, (end - 1) * self.stride - self.before + self.size


@dataclass
class Part:
    """The rows of one layer in one band."""

    member: int
    node: Node
    """The layer as an operator of these rows alone."""
    source: tuple[int, int]
    """Rows of what it reads, as they lie in the whole or, between layers, in the buffer."""
    target: tuple[int, int]
    """Rows of what it writes, likewise ..."""
    rows: tuple[int, int]
    """... and in the whole, for what is added."""
    kept: tuple[int, int]
    """Rows of the buffer that it writes to which are moved to its begin before."""


def join(graph: Graph, last: frozenset[int]) -> frozenset[int]:
    """Put every row of layers with large values between them into one node."""
    place = {id(node): number for number, node in enumerate(graph.nodes)}
    users: dict[int, list[Node]] = {}
    for node in graph.nodes:
        for value in node.inputs:
            users.setdefault(id(value), []).append(node)
    nodes, joined = [], set()
    for node in graph.nodes:
        if id(node) in joined:
            continue
        chain = _chain(node, graph, users, place, last)
        joined |= set(map(id, chain))
        nodes.append(_joined(chain, last) if len(chain) > 1 else node)
    graph.nodes[:] = nodes
    made = [value for node in nodes if node.settings.get("is_last") for value in node.settings["scratch"][:-1]]
    return last | frozenset(map(id, made))


def convolutions(node: Node) -> list[Node]:
    """The nodes that need plans: this one, or those of its bands."""
    parts = [part.node for part in node.settings["parts"]] if node.operator == "bands" else [node]
    return [each for each in parts if each.operator in PLANNED]


def members(node: Node) -> list[tuple[Node, Node]]:
    """What the node computes, layer by layer, and of each a node that has its plan."""
    if node.operator != "bands":
        return [(node, node)]
    first = {part.member: part.node for part in reversed(node.settings["parts"])}
    return [(each, first[number]) for number, each in enumerate(node.settings["chain"])]


def _chain(
    node: Node, graph: Graph, users: dict[int, list[Node]], place: dict[int, int], last: frozenset[int]
) -> list[Node]:
    """The node and those that are to be computed with it."""
    chain = [node]
    while True:
        value = chain[-1].output
        readers = users.get(id(value), ())
        if len(readers) != 1 or value is graph.output or not all(map(_is_member, (chain[-1], *readers))):
            break
        following = readers[0]
        is_large = value.size * value.dtype.itemsize > LARGE_BYTES
        is_alike = (id(value) in last) == (id(following.output) in last)
        weights = [each.settings["weight"] for each in (*chain, following) if each.operator == "convolution"]
        is_light = sum(weight.size for weight in weights) * value.dtype.itemsize <= WEIGHT_BYTES
        if not (is_large and is_alike and is_light) or following.inputs[0] is not value:
            break
        chain.append(following)
    while len(chain) > 1 and chain[-1].operator != "convolution":
        chain.pop()
    # What a node later in the row adds must be there before the first is computed; nodes made here are.
    added = [value.node for each in chain for value in each.inputs[1:]]
    return chain if all(each is None or place.get(id(each), -1) < place[id(node)] for each in added) else [node]


def _is_member(node: Node) -> bool:
    if node.operator not in MEMBERS or not 3 <= node.output.ndim <= 5:
        return False
    if node.operator == "layer_norm":
        return node.settings["axis"] == (1,)
    if node.operator == "activation":
        return True
    is_plain = not node.settings["function"].startswith("conv_transpose")
    return is_plain and node.settings["call"].get("padding_mode", "zeros") == "zeros"


def _window(node: Node, is_last: bool) -> Window:
    if node.operator != "convolution":
        return Window(1, 1, 0)
    problem = planned(node, is_last, 1, "estimate").choice.problem
    axis = 5 - node.output.ndim
    size = (problem.kernel_size[axis] - 1) * problem.dilation[axis] + 1
    return Window(size, problem.stride[axis], problem.padding[axis][0])


def _joined(chain: list[Node], last: frozenset[int]) -> Node:
    is_last = id(chain[-1].output) in last
    windows = [_window(node, is_last) for node in chain]
    rows = chain[-1].output.shape[2]
    while True:
        parts, heights = _parts(chain, windows, rows, is_last)
        sizes = [
            _row_size(node.output) * node.output.dtype.itemsize * height
            for node, height in zip(chain, heights, strict=False)
        ]
        if rows == 1 or sum(sizes) <= BAND_BYTES:
            break
        rows = _fewer(rows, chain[-1].output.shape[2])
    added = tuple(value for node in chain for value in node.inputs[1:])
    buffers = [_with_rows(node.output, height) for node, height in zip(chain, heights, strict=False)]
    kept = [_row_size(buffers[part.member]) * (part.kept[1] - part.kept[0]) for part in parts if part.kept[1]]
    spare = Value((max(kept, default=1),), buffers[0].dtype)
    settings = {"chain": chain, "parts": parts, "is_last": is_last, "scratch": [*buffers, spare]}
    node = Node("bands", (chain[0].inputs[0], *added), settings, chain[0].path)
    node.output = chain[-1].output
    node.output.node = node
    return node


def _row_size(value: Value) -> int:
    """Elements of a row of one image."""
    return value.size // value.shape[0] // value.shape[2]


def _fewer(rows: int, all_rows: int) -> int:
    """The next smaller number of rows that makes one more band, all about as high."""
    bands = -(-all_rows // rows) + 1
    return min(-(-all_rows // bands), rows - 1)


def _with_rows(value: Value, rows: int) -> Value:
    return Value((1, value.shape[1], rows, *value.shape[3:]), value.dtype)


def _parts(chain: list[Node], windows: list[Window], rows: int, is_last: bool) -> tuple[list[Part], list[int]]:
    """What every band computes, layer by layer, and the heights of the buffers between the layers."""
    height = chain[-1].output.shape[2]
    done, starts = [0] * len(chain), [0] * len(chain)  # rows that were computed; the first one in the buffer
    heights, parts = [1] * (len(chain) - 1), []
    for first in range(0, height, rows):
        ends = [0] * len(chain)
        ends[-1] = min(first + rows, height)
        for member in range(len(chain) - 1, 0, -1):
            most = chain[member - 1].output.shape[2]
            needed = windows[member].rows(done[member], ends[member])[1] if ends[member] > done[member] else 0
            ends[member - 1] = max(min(needed, most), done[member - 1])
        for member, node in enumerate(chain):
            begin, end = done[member], ends[member]
            if begin == end:
                continue
            kept = (0, 0)
            if member + 1 < len(chain):
                # What the next layer needs no more leaves the buffer.
                lowest = max(windows[member + 1].rows(done[member + 1], done[member + 1] + 1)[0], 0)
                lowest = min(max(lowest, starts[member]), begin)
                kept = lowest - starts[member], begin - starts[member]
                starts[member] = lowest
                heights[member] = max(heights[member], end - lowest)
            parts.append(_part(member, node, windows[member], (begin, end), starts, kept, is_last, len(chain)))
            done[member] = end
    return parts, heights


def _part(
    member: int,
    node: Node,
    window: Window,
    rows: tuple[int, int],
    starts: list[int],
    kept: tuple[int, int],
    is_last: bool,
    members: int,
) -> Part:
    x = node.inputs[0]
    low, high = window.rows(*rows)
    first, end = max(low, 0), min(high, x.shape[2])
    settings = dict(node.settings)
    if node.operator == "convolution":
        problem = planned(node, is_last, 1, "estimate").choice.problem
        padding = [*problem.padding[5 - x.ndim :]]
        padding[0] = first - low, high - end
        settings["call"] = settings["call"] | {"padding": tuple(padding)}
    count = rows[1] - rows[0]
    inputs = (_with_rows(x, end - first), *(_with_rows(value, count) for value in node.inputs[1:]))
    local = Node(node.operator, inputs, settings, node.path)
    local.output = _with_rows(node.output, count)
    local.output.node = local
    read = starts[member - 1] if member else 0
    written = starts[member] if member + 1 < members else 0
    return Part(
        *(member, local, (first - read, end - read), (rows[0] - written, rows[1] - written), rows),
        kept,
    )


def bind(node: Node, place: Place) -> Step:
    """What computes a node; one of bands, image by image, band by band."""
    if node.operator != "bands":
        return operators.bind(node, place)
    chain, parts, is_last = (node.settings[each] for each in ("chain", "parts", "is_last"))
    buffers = [place.slots[place.number(value)] for value in node.settings["scratch"]]
    batch = node.output.shape[0]
    x, y = place.number(node.inputs[0]), place.number(node.output)
    axis = 1 if is_last else 2
    ready: list[tuple[Callable[[int], None], Step]] = []
    for part in parts:
        values = [*part.node.inputs, part.node.output]
        slots: list[Any] = [None] * len(values)
        own = Place(
            slots,
            {id(value): number for number, value in enumerate(values)},
            frozenset(map(id, values)) if is_last else frozenset(),
            place.threads,
            place.plans,
        )
        outside: list[tuple[int, int, tuple[int, int]]] = []  # of `slots`, of the network's, rows
        if part.member:
            slots[0] = _rows_of(buffers[part.member - 1], axis, part.source)
        else:
            outside.append((0, x, part.source))
        for number, value in enumerate(chain[part.member].inputs[1:], 1):
            outside.append((number, place.number(value), part.rows))
        if part.member + 1 < len(chain):
            slots[-1] = _rows_of(buffers[part.member], axis, part.target)
        else:
            outside.append((len(slots) - 1, y, part.target))
        ready.append((_looked_up(slots, place.slots, axis, outside), operators.bind(part.node, own)))
        if part.kept[0] and part.kept[1] > part.kept[0]:
            ready.insert(-1, (lambda image: None, _moved(buffers[part.member], buffers[-1], axis, part.kept)))

    def step() -> None:
        for image in range(batch):
            for look_up, compute in ready:
                look_up(image)
                compute()

    return step


def _rows_of(array: Any, axis: int, rows: tuple[int, int]) -> Any:
    return array[(slice(None),) * axis + (slice(*rows),)]


def _looked_up(
    slots: list[Any], whole: list[Any], axis: int, outside: list[tuple[int, int, tuple[int, int]]]
) -> Callable[[int], None]:
    """What puts the rows of an image into the slots of those values that lie outside of the buffers."""
    found = [(number, source, axis, slice(*rows)) for number, source, rows in outside]

    def look_up(image: int) -> None:
        for number, source, axis, rows in found:
            index = (slice(image, image + 1), rows) if axis == 1 else (slice(image, image + 1), slice(None), rows)
            slots[number] = whole[source][index]

    return look_up


def _moved(buffer: Any, spare: Any, axis: int, kept: tuple[int, int]) -> Step:
    """What moves rows to the begin of a buffer, by way of memory beside it."""
    source, target = _rows_of(buffer, axis, kept), _rows_of(buffer, axis, (0, kept[1] - kept[0]))
    beside = spare.reshape(-1)[: source.size].reshape(source.shape)

    def move() -> None:
        np.copyto(beside, source)
        np.copyto(target, beside)

    return move
