"""Operations -> bytes: where every register's row lies, and the machine's instructions."""

from __future__ import annotations

import ctypes

import numpy as np

from .build import operation_numbers
from .decoder import Decoder
from .operation import SPECIAL, Constant, Operand

LANES = 32


class Instruction(ctypes.Structure):
    """``Instruction`` of machine.h."""

    _fields_ = (
        ("op", ctypes.c_uint32),
        ("guard", ctypes.c_int32),
        ("negated", ctypes.c_uint32),
        ("target", ctypes.c_int32),
        ("r", ctypes.c_void_p),
        ("immediate", ctypes.c_int64),
        ("size", ctypes.c_uint32),
        ("count", ctypes.c_uint32),
        ("narrow", ctypes.c_uint32),
        ("line", ctypes.c_uint32),
    )


class Layout:
    """A warp's registers: constants first, then the special ones, so that a warp's start is one copy."""

    def __init__(self, decoder: Decoder) -> None:
        operands = [operand for operation in decoder.code for operand in operation.operands]
        self.rows: dict[Operand, int] = {}
        self.row_bytes = 0
        constants = [operand for operand in dict.fromkeys(operands) if isinstance(operand, Constant)]
        for constant in constants:
            self._add(constant, constant.width)
        for name in SPECIAL:
            self._add(name, 4)
        self.constants = np.zeros(self.row_bytes, np.uint8)
        for constant in constants:
            row = np.full(LANES, decoder.value(constant) % (1 << 8 * constant.width), f"u{constant.width}")
            at = self.rows[constant]
            self.constants[at : at + row.nbytes] = row.view(np.uint8)
        used = {operand for operand in operands if isinstance(operand, str)}
        used |= {operation.guard[0] for operation in decoder.code if operation.guard}
        for name in sorted(used - set(SPECIAL)):
            self._add(name, decoder.width[name])
        used_special = [self.rows[name] if name in used else -1 for name in SPECIAL]
        self.special = used_special + [-1] * (24 - len(used_special))
        self._encode(decoder)

    def _add(self, operand: Operand, width: int) -> None:
        self.rows[operand] = self.row_bytes
        self.row_bytes += LANES * width

    def _encode(self, decoder: Decoder) -> None:
        numbers, code = operation_numbers(), decoder.code
        flat = [-1 if operand is None else self.rows[operand] for operation in code for operand in operation.operands]
        self._operands = np.array([*flat, -1], np.int32)
        self.instructions = (Instruction * len(code))()
        at = self._operands.ctypes.data
        for i, operation in enumerate(code):
            target = decoder.labels[operation.target] if isinstance(operation.target, str) else operation.target
            guard = self.rows[operation.guard[0]] if operation.guard else -1
            negated = int(operation.guard[1]) if operation.guard else 0
            self.instructions[i] = Instruction(
                numbers[operation.name], guard, negated, target, at, operation.immediate, operation.size,
                operation.count, operation.narrow, operation.line,
            )  # fmt: skip
            at += 4 * len(operation.operands)
