"""Instructions that compute on a lane's own registers: their names in the machine's table, and branches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .build import operation_numbers
from .operation import SPACES, WIDTH, WINDOWS, Constant, Operand, Statement

if TYPE_CHECKING:
    from .decoder import Decoder

IGNORED = {"rn", "ftz", "uni", "approx", "full"}
"""Words that change nothing here: approximations are exact, subnormals are flushed by kernels as a whole."""
_SIGNLESS = {"and", "or", "xor", "not", "shl", "selp", "mov"}
_FLOATS = ("f16", "bf16", "f32", "f64")


def by_name(decoder: Decoder, statement: Statement) -> None:
    """An operation of the machine's table, whose name is the instruction's without the words that change nothing."""
    name = ".".join(_spelling([word for word in statement.words if word not in IGNORED]))
    if name not in operation_numbers():
        raise statement.unknown()
    widths = _widths(name, len(statement.parts))
    operands = [decoder.operand(part, width) for part, width in zip(statement.parts, widths, strict=True)]
    if statement.words[0] == "cvt" and widths[1] == 4 and decoder.width.get(str(operands[1])) == 8:
        narrow = decoder.scratch("%low")  # a register may be wider than the type that is read of it
        decoder.emit("cvt.u32.u64", [narrow, operands[1]])
        operands[1] = narrow
    decoder.emit(name, operands)


def _spelling(words: list[str]) -> list[str]:
    """One spelling for what does the same bits."""
    head, kind = words[0], words[-1]
    if head in _SIGNLESS and kind != "pred":
        bits = 16 if kind in ("b16", "u16", "s16", "f16", "bf16") else 8 * WIDTH[kind]
        return [head, f"b{bits}"]
    if head == "shr":
        return [head, kind.replace("b", "u")]
    if head == "mul" and words[1:] == ["lo", "b32"]:
        return ["mul", "lo", "u32"]
    if head == "cvt":
        return _conversion(words)
    return words


def _conversion(words: list[str]) -> list[str]:
    to, source = words[-2:]
    if source in _FLOATS and to not in _FLOATS:  # saturates always
        words = [word for word in words if word != "sat"]
    if to == source and len(words) == 3:
        return ["mov", "b16" if to in ("f16", "bf16", "s16", "u16") else f"b{8 * WIDTH[to]}"]
    return words


def _widths(name: str, count: int) -> list[int]:
    words = name.split(".")
    last = WIDTH.get(words[-1], 4)
    if "wide" in words:
        inner = 4
        return [4 if words[-1][1:] == "16" else 8, inner, inner, 8][:count]
    if words[0] in ("shl", "shr"):
        return [last, last, 4]
    if words[0] == "selp":
        return [last, last, last, 4]
    if words[0] == "cvt":
        return [WIDTH[words[-2]], last, last][:count]
    if words[0] == "bfi":
        return [last, last, last, 4, 4]
    if words[0] in ("popc", "clz", "bfind", "testp"):
        return [4, last]
    return [last] * count


def _lop3(decoder: Decoder, statement: Statement) -> None:
    *rows, table = statement.parts
    if len(rows) != 4:
        raise statement.unknown()
    decoder.emit("lop3.b32", [decoder.operand(row, 4) for row in rows], immediate=int(table, 0))


def _move(decoder: Decoder, statement: Statement) -> None:
    """mov: also the address of a variable, some registers packed into one, or one taken apart."""
    to, source = statement.parts
    if "{" not in to + source:
        return by_name(decoder, statement)
    packs = "{" in source
    many = decoder.operands(source if packs else to, 4)
    bits = int(statement.words[-1][1:])
    if bits % len(many) or bits > 64:
        raise statement.unknown()
    one = decoder.operand(to if packs else source, bits // 8)
    part = bits // len(many)
    if part == 64 or any(decoder.width.get(name, 4) != 4 for name in many if isinstance(name, str)):
        raise statement.unknown()
    decoder.emit("pack" if packs else "unpack", [one, *many] if packs else [*many, one], size=part, count=len(many))


def _compare(decoder: Decoder, statement: Statement) -> None:
    """setp, with the complement as a second result, or combined with another predicate."""
    words = [word for word in statement.words if word not in IGNORED]
    comparison = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}.get(words[1], words[1])
    kind = words[-1].replace("b", "u") if words[-1] in ("b16", "b32", "b64") else words[-1]
    name = f"setp.{comparison}.{kind}"
    if name not in operation_numbers() or len(words) > 4:
        raise statement.unknown()
    first, _, second = statement.parts[0].partition("|")
    a, b = (decoder.operand(part, WIDTH[kind]) for part in statement.parts[1:3])
    d: Operand = decoder.operand(first, 4) or decoder.scratch("%compared")
    other: Operand = None
    if len(words) == 4:
        text = statement.parts[3]
        other = decoder.operand(text.lstrip("!"), 4)
        copy = decoder.scratch("%other")
        decoder.emit("not.pred" if text.startswith("!") else "mov.pred", [copy, other])
        other = copy
    decoder.emit(name, [d, a, b])
    if second:
        decoder.emit("not.pred", [decoder.operand(second, 4), d])
    if other is not None:
        for result in [d, *([decoder.operand(second, 4)] if second else [])]:
            decoder.emit(f"{words[2]}.pred", [result, result, other])


def _convert_address(decoder: Decoder, statement: Statement) -> None:
    """cvta: between a space's own addresses and generic ones, which are that much higher."""
    space = next((word for word in statement.words if word in SPACES), None)
    if space is None or statement.words[-1] != "u64":
        raise statement.unknown()
    window = 0 if space == "param" else WINDOWS[space]  # a parameter's address has its window from the start
    window = -window if "to" in statement.words else window
    operands = [decoder.operand(part, 8) for part in statement.parts]
    decoder.emit("add.s64", [*operands, Constant(8, str(window))])


def _is_in_space(decoder: Decoder, statement: Statement) -> None:
    space = statement.words[1].split("::")[0]
    if space not in WINDOWS or space == "const":
        raise statement.unknown()
    d, a = decoder.operand(statement.parts[0], 4), decoder.operand(statement.parts[1], 8)
    decoder.emit("isspacep", [d, a], immediate=WINDOWS[space] >> 56)


def _branch(decoder: Decoder, statement: Statement) -> None:
    decoder.emit("bra", [], target=statement.parts[0])


def _branch_by_table(decoder: Decoder, statement: Statement) -> None:
    """brx.idx: one comparison and branch for each target."""
    if decoder.guarded() or statement.parts[1] not in decoder.branch_targets:
        raise statement.unknown()
    index, taken = decoder.operand(statement.parts[0], 4), decoder.scratch("%taken")
    for number, label in enumerate(decoder.branch_targets[statement.parts[1]]):
        decoder.emit("setp.eq.u32", [taken, index, Constant(4, str(number))])
        decoder.emit("bra", [], target=label, guard=(taken, False))


def _named(name: str) -> Callable[[Decoder, Statement], None]:
    return lambda decoder, _: decoder.emit(name, [])


_NOTHING = ("membar", "fence", "griddepcontrol", "prefetch", "setmaxnreg", "nanosleep", "pragma")
HANDLERS: dict[str, Callable[[Decoder, Statement], None]] = {
    "lop3": _lop3,
    "mov": _move,
    "setp": _compare,
    "cvta": _convert_address,
    "isspacep": _is_in_space,
    "bra": _branch,
    "brx": _branch_by_table,
    "trap": _named("trap"),
    **dict.fromkeys(("ret", "exit"), _named("ret")),
    **dict.fromkeys(_NOTHING, _named("nop")),
}
