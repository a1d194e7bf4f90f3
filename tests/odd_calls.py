"""Right calls of every public function that are made again with odd values of each argument; run as a program.

What is raised has to be a ValueError or TypeError that names the argument, and soon: no value may make a call take long
or take much memory.
"""

from __future__ import annotations

import contextlib
import inspect
import resource
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fastconv
from wrong_calls import TARGETS, Target, ones

LONG_SECONDS = 1.0
"""Processor time of a call that is too long; other processes may hold up this one."""
MEMORY_BYTES = 2**30
"""Beyond what the process has when the calls begin."""

SPATIAL = {1: (6,), 2: (6, 5), 3: (6, 5, 4)}
PROBLEM = "forward 1x3x8x8 4x3x3x3 float32"

ODD: dict[str, Any] = {
    "None": None,
    "()": (),
    "[]": [],
    "''": "",
    "'x'": "x",
    "'same\\0'": "same\0",
    "b''": b"",
    "{}": {},
    "0": 0,
    "-1": -1,
    "2**31": 2**31,
    "2**62": 2**62,
    "2**63": 2**63,
    "2**64": 2**64,
    "10**400": 10**400,
    "10**5000": 10**5000,
    "1.5": 1.5,
    "nan": float("nan"),
    "inf": float("inf"),
    "1j": 1j,
    "True": True,
    "object()": object(),
    "lambda": lambda: None,
    "int": int,
    "np.int64(3)": np.int64(3),
    "np.array([])": np.array([]),
    "np.array(2)": np.array(2),
    "np.ma.masked": np.ma.masked,
    "(1, 2, 3, 4)": (1, 2, 3, 4),
    "(1, 2**31)": (1, 2**31),
    "(1, 2, 2**62)": (1, 2, 2**62),
    "[[], []]": [[], []],
    "[[1, 2], [3]]": [[1, 2], [3]],
    "[[2**62, 0], [0, 2**62]]": [[2**62, 0], [0, 2**62]],
    "(None, None)": (None, None),
    "('a', 'b')": ("a", "b"),
    "an iterator": iter(()),
}


def pool_targets() -> Iterator[Target]:
    """Every pooling, forward and backward."""
    for rank, sizes in SPATIAL.items():
        x, full, small = ones(2, 3, *sizes), (2,) * rank, (2, 3, *(size // 2 for size in sizes))
        for kind in ("max", "avg"):
            name = f"{kind}_pool{rank}d"
            call = {"x": x, "kernel_size": full}
            yield Target(name, getattr(fastconv, name), rank, call, small)
            yield Target(f"{name}_backward", getattr(fastconv, f"{name}_backward"), rank, {"dy": ones(*small), **call})
            name = f"adaptive_{kind}_pool{rank}d"
            call = {"x": x, "output_size": full}
            yield Target(name, getattr(fastconv, name), rank, call, (2, 3, *full))
            dy = ones(2, 3, *full)
            yield Target(f"{name}_backward", getattr(fastconv, f"{name}_backward"), rank, {"dy": dy, **call})
    for kind in ("max", "avg"):
        name, x, dy = f"global_{kind}_pool", ones(2, 3, 6, 5), ones(2, 3, 1, 1)
        yield Target(name, getattr(fastconv, name), 2, {"x": x}, dy.shape)
        yield Target(f"{name}_backward", getattr(fastconv, f"{name}_backward"), 2, {"dy": dy, "x": x})


def block_targets() -> Iterator[Target]:
    x, columns = ones(2, 3, 6, 5), ones(2, 12, 20)
    yield Target("unfold", fastconv.unfold, 2, {"x": x, "kernel_size": 2}, columns.shape)
    yield Target("unfold_backward", fastconv.unfold_backward, 2, {"dy": columns, "x": x, "kernel_size": 2})
    folded = {"output_size": (6, 5), "kernel_size": 2}
    yield Target("fold", fastconv.fold, 2, {"x": columns, **folded}, x.shape)
    yield Target("fold_backward", fastconv.fold_backward, 2, {"dy": x, **folded})


def plan_call_targets() -> Iterator[Target]:
    shapes = (1, 3, 8, 8), (4, 3, 3, 3), (1, 4, 6, 6)
    for direction, (first, second) in {"forward": (0, 1), "backward_input": (2, 1), "backward_weight": (0, 2)}.items():
        planned = fastconv.plan("conv2d", *shapes[:2], direction=direction)
        call = {"first": ones(*shapes[first]), "second": ones(*shapes[second])}
        yield Target(f"plan {direction}", planned, 2, call, planned.result_shape)
    yield Target("pack", fastconv.plan("conv2d", *shapes[:2]).pack, 2, {"w": ones(*shapes[1])})


def setting_targets(folder: Path) -> Iterator[Target]:
    """Functions that change settings or tuning; ``undo`` after each call."""

    def entered(context: Callable[[Any], Any], name: str) -> Callable[..., None]:
        def enter(**arguments: Any) -> None:
            with context(arguments[name]):
                pass

        enter.__signature__ = inspect.signature(context)  # type: ignore[attr-defined]
        return enter

    yield Target("set_num_threads", fastconv.set_num_threads, 0, {"threads": 1})
    yield Target("num_threads", entered(fastconv.num_threads, "threads"), 0, {"threads": 1})
    yield Target("set_precision", fastconv.set_precision, 0, {"level": "high"})
    yield Target("precision", entered(fastconv.precision, "level"), 0, {"level": "high"})
    yield Target("set_deterministic", fastconv.set_deterministic, 0, {"deterministic": False})
    yield Target("set_workspace_limit", fastconv.set_workspace_limit, 0, {"limit_bytes": None})
    yield Target("tuning", entered(fastconv.tuning, "effort"), 0, {"effort": "estimate"})
    yield Target("autotune", fastconv.autotune, 0, {"problems": PROBLEM, "effort": "estimate", "threads": 1})
    yield Target("explain", fastconv.explain, 0, {"problem": PROBLEM, "threads": 1})
    yield Target("export_tuning", fastconv.export_tuning, 0, {"path": folder / "exported.json"})
    yield Target("import_tuning", fastconv.import_tuning, 0, {"path": folder / "exported.json"})
    yield Target("forget_tuning", fastconv.forget_tuning, 0, {"problem": PROBLEM, "threads": 1})


def undo() -> None:
    """Take back what a call may have set."""
    fastconv.set_num_threads(1)
    fastconv.set_precision("high")
    fastconv.set_deterministic(False)
    fastconv.set_workspace_limit(None)


ARRAYS = {"x", "w", "bias", "add", "dy", "indices", "state", "dstate", "w_depthwise", "w_pointwise", "first", "second"}


def fits_alone(argument: str, value: Any) -> bool:
    """Whether ``value`` may be right in another call, so that another argument may be blamed for not fitting it."""
    if value is None or (isinstance(value, tuple) and value == (None, None)):
        return argument in ("output_size", "groups", "bias", "indices")
    if isinstance(value, bool):
        return argument == "ceil_mode"
    if callable(value):
        return False
    try:
        if argument not in ARRAYS and np.size(value) == 0:
            return False
        return np.asarray(value).dtype.kind in ("iufc" if argument in ARRAYS else "iu")
    except ValueError:
        return False


def is_named(target: Target, argument: str, value: Any, message: str) -> bool:
    """Whether the message is about the argument: its name, what it was and what is allowed."""
    name, got, rest = message.partition(": got ")
    argument = "problem" if argument == "problems" and name == "problem" else argument
    known = {*inspect.signature(target.function).parameters, "x", "w", "dy"}
    if not got or "; allowed: " not in rest:
        return False
    if name == argument or (argument in ("first", "second") and name in ("x", "w", "dy")):
        return True
    return name in known and fits_alone(argument, value)


def is_large(value: Any) -> bool:
    """Whether a result that goes by ``value`` may have no memory."""
    return (isinstance(value, int) and value >= 2**31) or (isinstance(value, tuple) and any(map(is_large, value)))


def complaints(target: Target) -> Iterator[str]:
    """What is wrong with how odd values are taken."""
    for argument in inspect.signature(target.function).parameters:
        for shown, value in ODD.items():
            started = time.process_time()
            text = ""
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    target.function(**{**target.arguments, argument: value})
                except (ValueError, TypeError) as error:
                    if not is_named(target, argument, value, str(error)):
                        text = f"is refused with {error!r}"
                except MemoryError:
                    text = "" if is_large(value) else "raises MemoryError"
                except BaseException as error:
                    text = f"raises {error!r}"
            undo()
            taken = time.process_time() - started
            if taken > LONG_SECONDS:
                text += f" takes {taken:.1f} s"
            if text:
                yield f"{target.name}({argument}={shown}): {text[:300]}"


def sweep() -> None:
    """Print every complaint."""
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))
    calls = 0
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        fastconv.export_tuning(Path(folder) / "exported.json")
        targets = [*TARGETS, *pool_targets(), *block_targets(), *plan_call_targets(), *setting_targets(Path(folder))]
        for target in targets:
            calls += len(ODD) * len(inspect.signature(target.function).parameters)
            for complaint in complaints(target):
                print(complaint, flush=True)
    print(f"{len(targets)} functions, {calls} calls")


if __name__ == "__main__":
    sweep()
