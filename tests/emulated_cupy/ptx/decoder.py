"""An entry's statements -> operations of the machine: names, scopes, addresses; families of instructions are elsewhere.

What runs is the device compiler's own output, inline PTX included. An instruction that is not known is refused by name:
to add one that computes on a lane's registers is a line in arithmetic.inc.
"""

from __future__ import annotations

import re
import struct

from . import arithmetic, collective, memory_access
from .operation import (
    SPECIAL,
    WIDTH,
    WINDOWS,
    Constant,
    Operand,
    Operation,
    Statement,
    UnknownInstructionError,
    byte_size,
)
from .syntax import Entry, Module, statement

HANDLERS = {**arithmetic.HANDLERS, **memory_access.HANDLERS, **collective.HANDLERS}
"""Instructions with unusual operands, by their first word; others are looked up by name."""
_DIRECTIVES = (".pragma", ".loc", ".file", ".maxn", ".minn", ".callprototype")


class Decoder:
    """The operations of one entry, and where its variables lie."""

    def __init__(self, module: Module, entry: Entry) -> None:
        self.module = module
        self.width: dict[str, int] = {}
        """Bytes of a lane, by register."""
        self.labels: dict[str, int] = {}
        self.code: list[Operation] = []
        self.symbols = dict(module.shared)
        """Offsets of variables in shared memory."""
        self.local: dict[str, int] = {}
        self.shared_bytes, self.local_bytes = module.shared_bytes, 0
        self.offsets: dict[str, int] = {}
        """Where parameters lie."""
        self.parameter_bytes = 0
        self.branch_targets: dict[str, list[str]] = {}
        self._scopes: list[dict[str, str]] = [{}]
        self._scope_count = 0
        self._statement: Statement | None = None
        self._guard: tuple[str, bool] | None = None
        self._last_label = ""
        for parameter in entry.parameters:
            self.offsets[parameter.name] = -(-self.parameter_bytes // parameter.align) * parameter.align
            self.parameter_bytes = self.offsets[parameter.name] + parameter.size
        for line, text in entry.body:
            self._read(line, text)
        self._statement, self._guard = Statement(0, "end", ["ret"], []), None
        self.emit("ret", [])
        if module.dynamic:
            self.shared_bytes = -(-self.shared_bytes // module.dynamic_align) * module.dynamic_align
            self.symbols[module.dynamic] = self.shared_bytes

    # -- the text
    def _read(self, line: int, text: str) -> None:
        if text == "{":
            self._scopes.append({})
            self._scope_count += 1
        elif text == "}":
            self._scopes.pop()
        elif text.endswith(":"):
            self._last_label = text[:-1]
            self.labels[self._last_label] = len(self.code)
        elif text.startswith("."):
            self._declare(text)
        else:
            guard, self._statement = statement(line, text)
            self._guard = guard and (self._register(guard[0]), guard[1])
            handler = HANDLERS.get(self._statement.words[0], arithmetic.by_name)
            handler(self, self._statement)

    def _declare(self, text: str) -> None:
        if match := re.match(r"\.reg\s+\.(\w+)\s+(.*)", text):
            for name in match[2].split(","):
                self._declare_register(name.strip(), WIDTH[match[1]])
        elif match := re.match(r"\.(shared|local)\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$]+)(?:\[(\d+)\])?$", text):
            space, align, kind, name, count = match.groups()
            size = byte_size(kind)
            end = self.shared_bytes if space == "shared" else self.local_bytes
            at = -(-end // int(align or size)) * int(align or size)
            if space == "shared":
                self.symbols[name], self.shared_bytes = at, at + size * int(count or 1)
            else:
                self.local[name], self.local_bytes = at, at + size * int(count or 1)
        elif text.startswith(".branchtargets"):
            self.branch_targets[self._last_label] = [name.strip() for name in text.partition(" ")[2].split(",")]
        elif not text.startswith(_DIRECTIVES):
            raise UnknownInstructionError(f"PTX: {text}")

    def _declare_register(self, name: str, width: int) -> None:
        if many := re.match(r"(%?[\w$]+)<(\d+)>", name):
            self.width.update((f"{many[1]}{i}", width) for i in range(int(many[2])))
            return
        inner = name if len(self._scopes) == 1 else f"{name}@{self._scope_count}"
        self._scopes[-1][name] = inner
        self.width[inner] = width

    def _register(self, name: str) -> str:
        return next((scope[name] for scope in reversed(self._scopes) if name in scope), name)

    # -- for the families of instructions
    def emit(self, name: str, operands: list[Operand], *, target: str | int = 0, immediate: int = 0, size: int = 0,
             count: int = 0, narrow: int = 0, guard: tuple[str, bool] | None = None) -> None:  # fmt: skip
        """Add an operation of the statement that is read."""
        assert self._statement is not None
        text, line = self._statement.text, self._statement.line
        self.code.append(
            Operation(name, operands, text, line, guard or self._guard, target, immediate, size, count, narrow)
        )

    def guarded(self) -> bool:
        """Whether the statement that is read has a guard."""
        return self._guard is not None

    def scratch(self, name: str, width: int = 4) -> str:
        """A register of the decoder's own."""
        self.width[name] = width
        return name

    def operand(self, text: str, width: int) -> Operand:
        """The register or constant that ``text`` names; a constant gets ``width`` bytes."""
        text = text.strip()
        if text == "_":
            return None
        name = self._register(text)
        return name if name in self.width or text in SPECIAL else Constant(width, text)

    def operands(self, text: str, width: int) -> list[Operand]:
        """Those of a vector "{a, b}", or of one operand."""
        return [self.operand(name, width) for name in text.strip("{} ").split(",")]

    def address(self, text: str) -> tuple[Operand, int]:
        """The operand and the offset of "[base+offset]"."""
        match = re.fullmatch(r"\[\s*([%\w$.]+)\s*(?:\+\s*(-?\w+))?\s*\]", text.strip())
        if not match:
            raise UnknownInstructionError(f"PTX: address {text}")
        return self.operand(match[1], 8), int(match[2], 0) if match[2] else 0

    def is_narrow(self, operand: Operand) -> int:
        """1 if an address has 32 bits."""
        return int((operand.width if isinstance(operand, Constant) else self.width.get(operand or "", 4)) == 4)

    def value(self, constant: Constant) -> int:
        """The bits of an immediate, or of a symbol's address."""
        text, width = constant.text, constant.width
        if match := re.fullmatch(r"0[fF]([0-9a-fA-F]{8})", text):
            if width == 4:
                return int(match[1], 16)
            return int.from_bytes(struct.pack("<d", struct.unpack(">f", bytes.fromhex(match[1]))[0]), "little")
        if match := re.fullmatch(r"0[dD]([0-9a-fA-F]{16})", text):
            return int(match[1], 16)
        for names in (self.symbols, self.local):
            if text in names:
                return names[text]
        if text in self.offsets:
            return WINDOWS["param"] + self.offsets[text]
        if text in self.module.variables:
            return self.module.variables[text].ctypes.data
        if text == "WARP_SZ":
            return 32
        try:
            return int(text.rstrip("U"), 0) % (1 << 8 * width)
        except ValueError:
            raise UnknownInstructionError(f"PTX: operand {text}") from None
