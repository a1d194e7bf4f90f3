"""PTX text -> the variables of a module, and its entries as statements."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import numpy as np

from .operation import Statement, UnknownInstructionError, byte_size


@dataclass
class Module:
    """What all kernels of a module share: variables outside of them."""

    shared: dict[str, int] = field(default_factory=dict)
    """Offset of each variable in shared memory."""
    shared_bytes: int = 0
    dynamic: str | None = None
    """The array whose size the launch says."""
    dynamic_align: int = 16
    variables: dict[str, np.ndarray] = field(default_factory=dict)
    """Variables in global and constant memory."""


@dataclass(frozen=True)
class Parameter:
    """A kernel's: its name and where it lies."""

    name: str
    size: int
    align: int


@dataclass(frozen=True)
class Entry:
    """A kernel: parameters, and (line, text) of statements, labels and braces."""

    name: str
    parameters: list[Parameter]
    max_threads: int
    """Of a block; 1024 where the text does not say."""
    body: list[tuple[int, str]]


_ENTRY = re.compile(r"(?:\.visible\s+)?\.entry\s+([\w$]+)\s*(?:\((.*?)\))?([^{;]*)\{", re.DOTALL)
_VARIABLE = re.compile(
    r"\.(shared|global|const)\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$]+)(?:\[(\d*)\])?\s*(?:=\s*\{?([^;}]*)\}?)?\s*;"
)
_PARAMETER = re.compile(
    r"\.param\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+(?:\.ptr\S*\s+(?:\.\w+\s+)*(?:\.align\s+\d+\s+)?)?([\w$]+)(?:\[(\d+)\])?"
)
_TOKEN = re.compile(r"\s*(?:([\w$]+:)(?!:)|(\{)|(\})|([^;{}]*(?:\{[^;{}]*\}[^;{}]*)*;))")


def parse(text: str) -> tuple[Module, list[Entry]]:
    """The variables and the entries of a module's text."""
    text = re.sub(r"/\*.*?\*/", lambda match: "\n" * match[0].count("\n"), text, flags=re.DOTALL)
    text = re.sub(r"//[^\n]*", "", text)
    if ".func" in text:
        raise UnknownInstructionError("PTX: a function that was not inlined")
    entries, outside, at = [], [], 0
    while match := _ENTRY.search(text, at):
        end = _closing_brace(text, match.end())
        line = text.count("\n", 0, match.end()) + 1
        body = _statements(text[match.end() : end], line)
        entries.append(Entry(match[1], _parameters(match[2] or ""), _max_threads(match[3]), body))
        outside.append(text[at : match.start()])
        at = end + 1
    return _variables("".join([*outside, text[at:]])), entries


def split_operands(text: str) -> list[str]:
    """Operands, at the commas outside of brackets."""
    parts, depth, last = [], 0, 0
    for i, letter in enumerate(text):
        depth += (letter in "{[(") - (letter in "}])")
        if letter == "," and depth == 0:
            parts.append(text[last:i].strip())
            last = i + 1
    return [*parts, text[last:].strip()] if text else []


def statement(line: int, text: str) -> tuple[tuple[str, bool] | None, Statement]:
    """The guard of an instruction, as (predicate, negated), and the rest."""
    guard, rest = None, text
    if match := re.match(r"@(!?)(%?[\w$]+)\s+", text):
        guard, rest = (match[2], bool(match[1])), text[match.end() :]
    opcode, _, operands = rest.partition(" ")
    return guard, Statement(line, text, opcode.split("."), split_operands(operands.strip()))


def _closing_brace(text: str, at: int) -> int:
    depth = 1
    for match in re.compile(r"[{}]").finditer(text, at):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return match.start()
    raise ValueError("PTX: no closing brace")


def _max_threads(directives: str) -> int:
    match = re.search(r"\.maxntid\s+([\d,\s]+)", directives)
    return math.prod(int(size) for size in match[1].split(",")) if match else 1024


def _parameters(text: str) -> list[Parameter]:
    made = []
    for declared in filter(None, (part.strip() for part in text.split(",\n"))):
        match = _PARAMETER.match(declared)
        if match is None:
            raise UnknownInstructionError(f"PTX: {declared}")
        size = byte_size(match[2])
        made.append(Parameter(match[3], size * int(match[4] or 1), int(match[1] or size)))
    return made


def _variables(text: str) -> Module:
    module = Module()
    for match in _VARIABLE.finditer(re.sub(r"\.(extern|visible|weak)\s+", "", text)):
        space, given_align, kind, name, count, values = match.groups()
        size = byte_size(kind)
        align, total = int(given_align or size), size * int(count or (1 if count is None else 0))
        if space == "shared" and count == "":
            module.dynamic, module.dynamic_align = name, align
        elif space == "shared":
            module.shared[name] = -(-module.shared_bytes // align) * align
            module.shared_bytes = module.shared[name] + total
        else:
            module.variables[name] = _initialised(size, total, values or "")
    return module


def _initialised(size: int, total: int, values: str) -> np.ndarray:
    """A variable's bytes, at an address that any access may take."""
    memory = np.zeros(total + 256, np.uint8)
    data = memory[-memory.ctypes.data % 256 :][:total].view(f"u{size}")
    for i, value in enumerate(part.strip() for part in values.split(",") if part.strip()):
        try:
            data[i] = int(value, 0) % (1 << 8 * size)
        except ValueError:
            raise UnknownInstructionError(f"PTX: a variable's value {value}") from None
    return data


def _statements(body: str, line: int) -> list[tuple[int, str]]:
    made, at = [], 0
    while match := _TOKEN.match(body, at):
        text = match[1] or match[2] or match[3] or match[4][:-1]
        text = " ".join(text.split())
        if text:
            made.append((line + body.count("\n", at, match.start(match.lastindex or 0)), text))
        line += body.count("\n", at, match.end())
        at = match.end()
    if body[at:].strip():
        raise UnknownInstructionError(f"PTX: {body[at : at + 100].strip()}")
    return made
