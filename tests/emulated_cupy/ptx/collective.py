"""Instructions of a whole warp, of four or of a block: barriers, shuffles, votes, products of matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .operation import Statement

if TYPE_CHECKING:
    from .decoder import Decoder

_SHUFFLES = ("idx", "up", "down", "bfly")
_VOTES = ("all", "any", "ballot", "uni")
_REDUCTIONS = ("add", "min", "max", "and", "or", "xor")
_ELEMENTS = {"bf16": 0, "f16": 1, "tf32": 2, "s8": 3, "u8": 4}
"""Kinds of elements, as machine.h numbers them."""


def _one_of(statement: Statement, words: tuple[str, ...]) -> int:
    for number, word in enumerate(words):
        if word in statement.words:
            return number
    raise statement.unknown()


def _barrier(decoder: Decoder, statement: Statement) -> None:
    """bar.sync and its like, bar.arrive, bar.red; bar.warp.sync."""
    words, parts = statement.words, statement.parts
    if "warp" in words:
        return decoder.emit("bar.warp.sync", [decoder.operand(parts[0], 4)])
    operands, size, numbers = [], 0, parts
    if "red" in words:
        size, numbers, source = _one_of(statement, ("and", "or", "popc")), parts[1:-1], parts[-1]
        voted = decoder.scratch("%voted")
        negation = "not.pred" if source.startswith("!") else "mov.pred"
        decoder.emit(negation, [voted, decoder.operand(source.lstrip("!"), 4)])
        operands = [decoder.operand(parts[0], 4), voted]
    if not all(part.isdigit() for part in numbers):
        raise statement.unknown()
    number, *threads = (int(part) for part in numbers)
    name = next((f"bar.{word}" for word in ("red", "arrive") if word in words), "bar.sync")
    decoder.emit(name, operands, immediate=number, count=threads[0] if threads else 0, size=size)


def _shuffle(decoder: Decoder, statement: Statement) -> None:
    d, _, p = statement.parts[0].partition("|")
    results = [decoder.operand(d, 4), decoder.operand(p, 4) if p else None]
    operands = [decoder.operand(part, 4) for part in statement.parts[1:]]
    decoder.emit("shfl.sync", [*results, *operands], immediate=_one_of(statement, _SHUFFLES))


def _vote(decoder: Decoder, statement: Statement) -> None:
    d, source, members = statement.parts
    operands = [decoder.operand(d, 4), decoder.operand(source.lstrip("!"), 4), decoder.operand(members, 4)]
    decoder.emit("vote.sync", operands, immediate=_one_of(statement, _VOTES), count=int(source.startswith("!")))


def _match(decoder: Decoder, statement: Statement) -> None:
    if statement.words[1:] != ["any", "sync", "b32"]:
        raise statement.unknown()
    decoder.emit("match.any.sync", [decoder.operand(part, 4) for part in statement.parts])


def _reduce(decoder: Decoder, statement: Statement) -> None:
    if statement.words[-1] not in ("s32", "u32", "b32"):
        raise statement.unknown()
    decoder.emit("redux.sync", [decoder.operand(part, 4) for part in statement.parts],
                 immediate=_one_of(statement, _REDUCTIONS), count=int(statement.words[-1] == "s32"))  # fmt: skip


def _activemask(decoder: Decoder, statement: Statement) -> None:
    decoder.emit("activemask", [decoder.operand(statement.parts[0], 4)])


def _elect(decoder: Decoder, statement: Statement) -> None:
    d, _, p = statement.parts[0].partition("|")
    decoder.emit("elect.sync", [decoder.operand(d, 4), decoder.operand(p, 4)])


def _product(decoder: Decoder, statement: Statement) -> None:
    """mma.sync.aligned.mMnNkK.row.col.d.a.b.c"""
    shape, layout, (d, a, b, c) = statement.words[3], statement.words[4:6], statement.words[-4:]
    double = (shape, d, a, b, c) == ("m8n8k4", "f64", "f64", "f64", "f64")
    rows = [row for part in statement.parts for row in decoder.operands(part, 8 if double else 4)]
    depth = int(shape.rpartition("k")[2])
    if layout != ["row", "col"] or len(statement.words) != 10:
        raise statement.unknown()
    if double:
        return decoder.emit("mma.double", rows)
    if a in ("s8", "u8") and b in ("s8", "u8") and d == c == "s32" and shape in ("m16n8k16", "m16n8k32"):
        return decoder.emit("mma.integers", rows, count=depth // 16, size=_ELEMENTS[a] | _ELEMENTS[b] << 8)
    shapes = ("m16n8k4", "m16n8k8") if a == "tf32" else ("m16n8k8", "m16n8k16")
    if a != b or a not in ("bf16", "f16", "tf32") or not d == c == "f32" or shape not in shapes:
        raise statement.unknown()
    decoder.emit("mma", rows, count=depth // (4 if a == "tf32" else 8), size=_ELEMENTS[a])


def _warpgroup(decoder: Decoder, statement: Statement) -> None:
    """wgmma, of operands in shared memory, 16-bit elements and float32 sums."""
    words, parts = statement.words, statement.parts
    if words[1] == "fence":
        return decoder.emit("nop", [])
    if words[1] in ("commit_group", "wait_group"):
        return decoder.emit(".".join(words[:2]), [], immediate=int(parts[0]) if parts else 0)
    if words[1] != "mma_async" or words[-3] != "f32" or words[-1] not in ("bf16", "f16") or parts[1].startswith("{"):
        raise statement.unknown()
    if parts[4:6] != ["1", "1"]:  # the operands' signs
        raise statement.unknown()
    rows = decoder.operands(parts[0], 4)
    descriptors = [decoder.operand(part, 8) for part in parts[1:3]]
    transposed = int(parts[6]) | int(parts[7]) << 1
    decoder.emit("wgmma.mma_async", [*rows, *descriptors, decoder.operand(parts[3], 4)], count=len(rows),
                 immediate=transposed, size=_ELEMENTS[words[-1]])  # fmt: skip


HANDLERS: dict[str, Callable[[Decoder, Statement], None]] = {
    **dict.fromkeys(("bar", "barrier"), _barrier),
    "shfl": _shuffle,
    "vote": _vote,
    "match": _match,
    "redux": _reduce,
    "activemask": _activemask,
    "elect": _elect,
    "mma": _product,
    "wgmma": _warpgroup,
}
