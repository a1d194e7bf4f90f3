"""Instructions that touch memory: loads and stores, atomics, asynchronous copies, barriers in shared memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .operation import WIDTH, Statement, byte_size

if TYPE_CHECKING:
    from .decoder import Decoder

ATOMIC_OPERATIONS = ("add", "min", "max", "and", "or", "xor", "exch", "cas")
"""As atomics.c numbers them."""
_ATOMIC_KINDS = {"u": 0, "b": 0, "s": 1, "f": 2}


def _load_store(decoder: Decoder, statement: Statement) -> None:
    head, kind = statement.words[0], statement.words[-1]
    values, address = reversed(statement.parts) if head == "st" else statement.parts
    size = byte_size(kind)
    rows = decoder.operands(values, 8 if size == 8 else 4)
    base, offset = decoder.address(address)
    narrow = decoder.is_narrow(base) << len(rows)
    is_wide = [isinstance(row, str) and decoder.width.get(row) == 8 and size < 8 for row in rows]
    # A register that is wider than what is loaded or stored; lanes of the two widths do not lie in one place.
    moved = [decoder.scratch(f"narrow {i}") if is_wide[i] else row for i, row in enumerate(rows)]
    if head == "st":
        for to, row in zip(moved, rows, strict=True):
            if to != row:
                decoder.emit("cvt.u32.u64", [to, row])
    decoder.emit("st" if head == "st" else "ld", [*moved, base], immediate=offset, size=size,
                 count=statement.space() | len(rows) << 8, narrow=narrow)  # fmt: skip
    if head == "st":
        return
    for to, row, wide in zip(moved, rows, is_wide, strict=True):
        if row is not None and (wide or kind in ("s8", "s16")):
            source = kind if kind[0] == "s" else f"u{8 * size}"
            decoder.emit(f"cvt.{'s' if kind[0] == 's' else 'u'}{64 if wide else 32}.{source}", [row, to])


def _atomic(decoder: Decoder, statement: Statement) -> None:
    kind = statement.words[-1]
    number = next((i for i, name in enumerate(ATOMIC_OPERATIONS) if name in statement.words), None)
    floats = {"f32", "f64"} if number == 0 else set()
    if number is None or kind not in {"u32", "s32", "b32", "u64", "s64", "b64", *floats}:
        raise statement.unknown()
    result, *operands = statement.parts if statement.words[0] == "atom" else ["_", *statement.parts]
    width = WIDTH[kind]
    base, offset = decoder.address(operands[0])
    values = [decoder.operand(part, width) for part in operands[1:]]
    if statement.words[-2:-1] == ["cas"]:
        values.reverse()  # the machine has the value first
    rows = [decoder.operand(result, width), base, *values, *[None] * (2 - len(values))]
    decoder.emit("atom", rows, immediate=offset, size=width, narrow=decoder.is_narrow(base) << 1,
                 count=statement.space() | number << 8 | _ATOMIC_KINDS[kind[0]] << 16)  # fmt: skip


def _copy(decoder: Decoder, statement: Statement) -> None:
    """cp.async, and its form for tensors."""
    words, parts = statement.words, statement.parts
    if words[1:3] == ["async", "bulk"]:
        return _bulk_tensor(decoder, statement)
    if "commit_group" in words:
        return decoder.emit("cp.async.commit_group", [])
    if "wait_group" in words:
        return decoder.emit("cp.async.wait_group", [], immediate=int(parts[0], 0))
    if "wait_all" in words:
        return decoder.emit("cp.async.wait_group", [], immediate=-1)
    if "mbarrier" in words:
        raise statement.unknown()
    parts = [part for part in parts if not part.startswith("cache")]
    (to, to_offset), (source, source_offset) = decoder.address(parts[0]), decoder.address(parts[1])
    valid = decoder.operand(parts[3], 4) if len(parts) > 3 else None
    decoder.emit("cp.async", [to, source, valid], immediate=to_offset, target=source_offset, size=int(parts[2], 0),
                 narrow=decoder.is_narrow(to))  # fmt: skip


def _bulk_tensor(decoder: Decoder, statement: Statement) -> None:
    to_shared = [word for word in statement.words if word.startswith("shared::")]
    if "tensor" not in statement.words or "tile" not in statement.words or not to_shared or len(statement.parts) != 3:
        raise statement.unknown()
    base, offset = decoder.address(statement.parts[0])
    tensor, _, coordinates = statement.parts[1].strip("[] ").partition(",")
    barrier, barrier_offset = decoder.address(statement.parts[2])
    if offset or barrier_offset:
        raise statement.unknown()
    at = decoder.operands(coordinates, 4)
    decoder.emit("cp.async.bulk.tensor", [base, decoder.operand(tensor, 8), barrier, *at], count=len(at),
                 narrow=decoder.is_narrow(base) | decoder.is_narrow(barrier) << 2)  # fmt: skip


def _barrier(decoder: Decoder, statement: Statement) -> None:
    """mbarrier: initialised, arrived at, asked for a phase by its parity."""
    kind, parts = statement.words[1], statement.parts
    if kind == "inval":
        return decoder.emit("nop", [])
    base, offset = decoder.address(parts[0] if kind == "init" else parts[1])
    narrow = decoder.is_narrow(base)
    if kind == "init":
        decoder.emit("mbarrier.init", [base, decoder.operand(parts[1], 4)], immediate=offset, narrow=narrow)
    elif kind == "try_wait" and "parity" in statement.words:
        operands = [decoder.operand(parts[0], 4), base, decoder.operand(parts[2], 4)]
        decoder.emit("mbarrier.try_wait.parity", operands, immediate=offset, narrow=narrow << 1)
    elif kind == "arrive" and parts[0] == "_" and "noComplete" not in statement.words:
        count = decoder.operand(parts[2], 4) if len(parts) > 2 else None
        name = "mbarrier.arrive.expect_tx" if "expect_tx" in statement.words else "mbarrier.arrive"
        decoder.emit(name, [base, count], immediate=offset, narrow=narrow)
    else:
        raise statement.unknown()


def _matrix(decoder: Decoder, statement: Statement) -> None:
    """ldmatrix, stmatrix: 8 x 8 tiles of 16-bit elements."""
    head = statement.words[0]
    values, address = statement.parts if head == "ldmatrix" else reversed(statement.parts)
    if "m8n8" not in statement.words or statement.words[-1] != "b16":
        raise statement.unknown()
    base, offset = decoder.address(address)
    rows = decoder.operands(values, 4)
    decoder.emit(head, [*rows, base], immediate=offset, count=len(rows), size=int("trans" in statement.words),
                 narrow=decoder.is_narrow(base) << len(rows))  # fmt: skip


HANDLERS: dict[str, Callable[[Decoder, Statement], None]] = {
    **dict.fromkeys(("ld", "ldu", "st"), _load_store),
    **dict.fromkeys(("atom", "red"), _atomic),
    "cp": _copy,
    "mbarrier": _barrier,
    **dict.fromkeys(("ldmatrix", "stmatrix"), _matrix),
}
