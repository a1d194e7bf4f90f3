"""How a call is refused: every message names the argument, what it was and what is allowed."""

from __future__ import annotations

from pathlib import Path

MAX_SHOWN_CHARACTERS = 200
"""Characters of a value that a message shows."""


def bad_value(argument: str, value: object, allowed: str) -> ValueError:
    """A ValueError for an argument whose value cannot be used."""
    return ValueError(f"{argument}: got {_shown(value)}; allowed: {allowed}")


def unfit(argument: str, fact: str, allowed: str) -> ValueError:
    """A ValueError for an argument, mostly an array; ``fact`` says in words what is wrong with it."""
    return ValueError(f"{argument}: got {fact}; allowed: {allowed}")


class ProblemTextError(ValueError):
    """A text that names no problem: ``text``, of which ``text[start:end]`` is what does not fit."""

    text = ""
    start = end = 0

    @classmethod
    def at(cls, text: str, start: int, end: int, fact: str, allowed: str) -> ProblemTextError:
        """The error for a part of ``text``; ``fact`` says in words what is wrong with the part."""
        part = text[start:end]
        where = f", where {_shown(part)} {fact}" if part else f", which {fact}"
        return cls.marking(f"problem: got {_shown(text)}{where}; allowed: {allowed}", text, start, end)

    @classmethod
    def marking(cls, message: str, text: str, start: int, end: int) -> ProblemTextError:
        """The error with this message."""
        error = cls(message)
        error.text, error.start, error.end = text, start, end
        return error


def bad_type(argument: str, value: object, allowed: str) -> TypeError:
    """A TypeError for an argument (or an array's dtype) of the wrong type."""
    shown = _cut(value) if isinstance(value, str) else _shown(value)
    return TypeError(f"{argument}: got {shown}; allowed: {allowed}")


def no_choice(problem: object, threads: int, backend: str, is_stored: bool) -> LookupError:
    """A LookupError for a problem that only a stored choice may compute, and none does."""
    found = "no stored choice applies here" if is_stored else "no choice is stored"
    how = f"threads={threads}" if backend == "cpu" else f"backend={backend!r}"
    return LookupError(
        f'tuning: got "pinned" for {problem} ({how}), for which {found}; needed: fastconv.autotune({str(problem)!r}, '
        f"{how}) before, or fastconv.import_tuning of a file from a machine of the same kind"
    )


def not_built(folder: str) -> ImportError:
    """An ImportError for a package whose ``folder`` holds the sources but not what is compiled from them."""
    package = Path(folder).parent
    return ImportError(
        f"fastconv was imported from {package}, which has no compiled modules for this Python: most likely this is the "
        f"source folder, and it is not built. To use an installed fastconv, start Python outside of {package.parent}; "
        "to use the sources, build them there: python setup.py build_ext --inplace"
    )


class UnavailableError(RuntimeError):
    """This machine lacks what was asked for; the message says what."""


class UnusableAlgorithmError(UnavailableError):
    """An algorithm does not work on this machine, though it computes the problem on others."""


def no_gpu(fact: str, needed: str) -> UnavailableError:
    """A RuntimeError for a call that a GPU has to compute and cannot."""
    return UnavailableError(f"GPU: {fact}; needed: {needed}")


def unusable(fact: str) -> UnusableAlgorithmError:
    """A RuntimeError for an algorithm that has turned out not to work here."""
    return UnusableAlgorithmError(f"GPU: {fact}; needed: another algorithm, or another version of CUDA")


def _shown(value: object) -> str:
    try:
        return _cut(repr(value))
    except Exception:  # an int of thousands of digits, or whatever a class of the user's raises
        return f"a value of type {type(value).__name__}"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "..."
