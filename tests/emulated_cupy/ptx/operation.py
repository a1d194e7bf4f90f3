"""What a decoded instruction is, and the words of PTX that decoder and machine agree on."""

from __future__ import annotations

from dataclasses import dataclass

WIDTH = {
    **dict.fromkeys(("pred", "b8", "u8", "s8", "b16", "u16", "s16", "f16", "bf16"), 4),
    **dict.fromkeys(("b32", "u32", "s32", "f32", "f16x2", "bf16x2", "tf32"), 4),
    **dict.fromkeys(("b64", "u64", "s64", "f64"), 8),
}
"""Bytes of a lane of a register of that type."""
SPACES = {"shared": 1, "local": 2, "param": 3, "global": 4, "const": 4}
"""Address spaces, as machine.h numbers them; 0: generic."""
WINDOWS = {"shared": 1 << 56, "local": 2 << 56, "param": 3 << 56, "global": 0, "const": 0}
"""Where a generic address of a space begins."""
SPECIAL = (
    *(f"%{name}.{axis}" for name in ("tid", "ntid", "ctaid", "nctaid") for axis in "xyz"),
    *("%laneid", "%warpid", "%nwarpid", *(f"%lanemask_{which}" for which in ("eq", "lt", "le", "gt", "ge"))),
    *("%dynamic_smem_size", "%total_smem_size"),
)
"""Registers that the machine fills, in the order of ``special_value`` in block.c."""


class UnknownInstructionError(NotImplementedError):
    """PTX that the machine does not have; the message names it."""


@dataclass(frozen=True)
class Constant:
    """An operand that is no register: an immediate, or a symbol, whose address it is."""

    width: int
    text: str


Operand = str | Constant | None
"""A register's name, a constant, or nothing ("_")."""


def byte_size(kind: str) -> int:
    """Bytes of a type in memory: "f16x2" is two halves."""
    digits, _, pair = kind.lstrip("busfp").partition("x")
    return int(digits) // 8 * int(pair or 1)


@dataclass
class Operation:
    """One instruction of the machine, fields as in machine.h."""

    name: str
    operands: list[Operand]
    text: str
    line: int
    guard: tuple[str, bool] | None = None
    """A predicate, and whether it is negated."""
    target: str | int = 0
    immediate: int = 0
    size: int = 0
    count: int = 0
    narrow: int = 0


@dataclass(frozen=True)
class Statement:
    """An instruction as it stands in the text."""

    line: int
    text: str
    words: list[str]
    """The opcode at its dots."""
    parts: list[str]
    """The operands at their commas."""

    def unknown(self) -> UnknownInstructionError:
        """The error that says so."""
        return UnknownInstructionError(f"PTX line {self.line}: {self.text}")

    def space(self) -> int:
        """The address space that it names."""
        return next((SPACES[word.split("::")[0]] for word in self.words[1:] if word.split("::")[0] in SPACES), 0)
