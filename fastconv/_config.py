"""Settings: threads, precision, determinism, workspace limit; from the environment, for the process or for a block."""

from __future__ import annotations

import contextlib
import math
import operator
import os
import sys
from collections.abc import Callable, Iterator

from ._errors import bad_type, bad_value
from ._problem import PRECISIONS
from ._scoped import Scoped

MAX_THREADS = 1024
TUNING = ("estimate", "measure", "exhaustive", "pinned")
"""How the algorithm of a call may be chosen."""

_threads: Scoped[int] = Scoped("fastconv_threads")
_precision: Scoped[str] = Scoped("fastconv_precision")
_tuning: Scoped[str] = Scoped("fastconv_tuning")
_process: dict[str, object] = {"threads": None, "precision": None, "deterministic": False, "workspace_limit": None}
_defaults: dict[str, object] = {}
"""What the environment says, read when it is first asked for and kept."""
_thread_limit: Callable[[], int] = int
"""Threads that something outside of fastconv leaves to the calling thread; 0: no limit."""


def call_settings() -> tuple[Scoped[int], Scoped[str], Scoped[str], dict[str, object]]:
    """All that a call depends on besides its arguments: threads, precision, tuning, and the settings of the process.

    None stands for what the environment says, which does not change. The rest is what ``obey`` was given.
    """
    return _threads, _precision, _tuning, _process


def obey(thread_limit: Callable[[], int]) -> None:
    """Never use more threads than ``thread_limit()`` says, unless it says 0 or a call has ``threads=``."""
    global _thread_limit
    _thread_limit = thread_limit


def _after_fork_in_child() -> None:
    """Begin with one thread: most forks share the work of their parent, whose threads have all cores."""
    _process["threads"] = 1


os.register_at_fork(after_in_child=_after_fork_in_child)


def available_cores() -> int:
    """Cores that this process may use: its affinity mask, cut by the container's CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        if quota != "max":
            cores = min(cores, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return cores


def _positive_int(argument: str, value: object, most: int) -> int:
    allowed = f"an int from 1 to {most}"
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None:
        raise bad_type(argument, value, allowed)
    if not 1 <= number <= most:
        raise bad_value(argument, value, allowed)
    return number


def _asked_threads() -> int | None:
    """What FASTCONV_NUM_THREADS says; a ValueError where that is not a number of threads."""
    name = "FASTCONV_NUM_THREADS"
    text = os.environ.get(name) or None
    if text is None:
        return None
    try:
        return _positive_int(name, int(text), MAX_THREADS)
    except ValueError:
        raise bad_value(name, text, f"an int from 1 to {MAX_THREADS}, or nothing") from None


def _openmp_threads() -> int | None:
    """What OMP_NUM_THREADS says; what is not a number is ignored, as OpenMP does."""
    text = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(int(text), MAX_THREADS) if text.isdecimal() and int(text) > 0 else None


def set_num_threads(threads: int) -> None:
    """Use ``threads`` threads in every call of this process that does not say otherwise.

    Parameters
    ----------
    threads : int
        1 to 1024. Without this call: FASTCONV_NUM_THREADS, else OMP_NUM_THREADS, else the cores that the process may
        use (its affinity and the container's quota). A forked process begins with one thread.

    Examples
    --------
    >>> import fastconv
    >>> before = fastconv.get_num_threads()
    >>> fastconv.set_num_threads(1)
    >>> fastconv.get_num_threads()
    1
    >>> fastconv.set_num_threads(before)
    """
    _process["threads"] = _positive_int("threads", threads, MAX_THREADS)


def get_num_threads() -> int:
    """Threads that a call without ``threads=`` uses here and now.

    Returns
    -------
    int
        The innermost ``num_threads``, else ``set_num_threads``, else its default; never more than what controls the
        process from outside leaves to OpenMP (``threadpoolctl.threadpool_limits``, a parallel region of OpenMP).

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.num_threads(2):
    ...     fastconv.get_num_threads()
    2
    """
    chosen = _threads.get() or _process["threads"] or _defaults.get("threads")
    if chosen is None:
        chosen = _defaults["threads"] = _asked_threads() or _openmp_threads() or available_cores()
    return min(chosen, _thread_limit() or MAX_THREADS)  # type: ignore[call-overload, no-any-return]


def thread_count(threads: int | None) -> int:
    """The number of threads that a call's ``threads=`` asks for."""
    return get_num_threads() if threads is None else _positive_int("threads", threads, MAX_THREADS)


@contextlib.contextmanager
def num_threads(threads: int) -> Iterator[None]:
    """Use ``threads`` threads inside a ``with`` block: in this thread or task, and in threads started in the block.

    Parameters
    ----------
    threads : int
        1 to 1024.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.num_threads(1):
    ...     fastconv.get_num_threads()
    1
    """
    with _threads.of(_positive_int("threads", threads, MAX_THREADS)):
        yield


def check_precision(argument: str, value: object) -> str:
    """``value`` if it is the name of a precision level."""
    if not isinstance(value, str) or value not in PRECISIONS:
        raise bad_value(argument, value, ", ".join(PRECISIONS))
    return value


def set_precision(level: str) -> None:
    """Set the process's default precision of float32 problems.

    Parameters
    ----------
    level : {"ieee", "highest", "high", "medium"}
        What error an algorithm may have, as the largest error over the largest exact result on normal, uniform and
        ReLU'd data: rounding of the definition's own operations, 2e-6, 1e-5 (the default), 1e-2. Where sums cancel,
        that result is itself small, and the ratio larger. FASTCONV_PRECISION sets the level from outside.

    Examples
    --------
    >>> import fastconv
    >>> before = fastconv.get_precision()
    >>> fastconv.set_precision("highest")
    >>> fastconv.get_precision()
    'highest'
    >>> fastconv.set_precision(before)
    """
    _process["precision"] = check_precision("level", level)


def get_precision() -> str:
    """The precision that a float32 call without ``precision=`` has here and now.

    Returns
    -------
    {"ieee", "highest", "high", "medium"}

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.precision("medium"):
    ...     fastconv.get_precision()
    'medium'
    """
    chosen = _precision.get() or _process["precision"] or _defaults.get("precision")
    if chosen is None:
        name = "FASTCONV_PRECISION"
        chosen = _defaults["precision"] = check_precision(name, os.environ.get(name) or "high")
    return chosen  # type: ignore[return-value]


@contextlib.contextmanager
def precision(level: str) -> Iterator[None]:
    """Set the precision inside a ``with`` block: in this thread or task, and in threads started in the block.

    Parameters
    ----------
    level : {"ieee", "highest", "high", "medium"}
        See ``set_precision``.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.precision("ieee"):
    ...     fastconv.get_precision()
    'ieee'
    """
    with _precision.of(check_precision("level", level)):
        yield


def set_deterministic(deterministic: bool) -> None:
    """Tie the choice of algorithm to the problem and the machine alone.

    The same call with the same settings always gives the same bits, and one algorithm gives the same bits at any number
    of threads; but which algorithm is chosen may depend on that number. With True the choice is made as for one thread
    and from the cost model alone, never from measurements. It does not depend on how much memory is free: a call that
    is refused memory raises MemoryError. Arrays of the same values in another memory order are another call:
    depthwise_nhwc, implicit_gemm and split_bf16 may add them up in another order, split_bf16 also for another ``out``.

    Parameters
    ----------
    deterministic : bool

    Examples
    --------
    >>> import fastconv
    >>> fastconv.set_deterministic(True)
    >>> fastconv.get_deterministic()
    True
    >>> fastconv.set_deterministic(False)
    """
    if not isinstance(deterministic, bool):
        raise bad_type("deterministic", deterministic, "True or False")
    _process["deterministic"] = deterministic


def get_deterministic() -> bool:
    """Whether the choice of algorithm ignores threads and measurements.

    Returns
    -------
    bool

    Examples
    --------
    >>> import fastconv
    >>> fastconv.get_deterministic()
    False
    """
    return bool(_process["deterministic"])


@contextlib.contextmanager
def tuning(effort: str) -> Iterator[None]:
    """Say how algorithms are chosen inside a ``with`` block: in this thread or task, and in threads started in it.

    Calls, ``plan`` and gradients alike. The innermost block counts. In deterministic mode a block changes nothing: no
    choice is made from measurements. A call with an ``algorithm`` that the caller forces asks for no choice.

    Parameters
    ----------
    effort : {"estimate", "measure", "exhaustive", "pinned"}
        "estimate" is what happens outside of all blocks: a stored choice, else the cost model's, and nothing is ever
        measured. "measure" and "exhaustive" tune a problem when it is first seen, as ``autotune`` does with that
        effort, and store the choice: the first call of a shape may take seconds, all later ones, also those of other
        processes, nothing more. What cannot be tuned for want of memory is computed as without the block, with a
        warning. "pinned" takes choices that this machine has stored, and raises LookupError for a problem, or a number
        of threads, that has none which applies: to be sure that what is in service was measured.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((1, 1, 5, 5), np.float32), np.ones((1, 1, 3, 3), np.float32)
    >>> with fastconv.tuning("measure"):
    ...     y = fastconv.conv2d(x, w)
    >>> with fastconv.tuning("pinned"):
    ...     bool((fastconv.conv2d(x, w) == y).all())
    True
    """
    with _tuning.of(check_tuning("effort", effort)):
        yield


def check_tuning(argument: str, value: object) -> str:
    """``value`` if it is a way to choose algorithms."""
    if not isinstance(value, str) or value not in TUNING:
        raise bad_value(argument, value, ", ".join(TUNING))
    return value


def get_tuning() -> str:
    """How the algorithm of a call is chosen here and now."""
    return "estimate" if get_deterministic() else _tuning.get() or "estimate"


def set_workspace_limit(limit_bytes: int | None) -> None:
    """Bound the scratch memory of one call: what its algorithm works with, and copies of arrays that it has to make.

    A problem whose best algorithm needs more is computed in smaller blocks, by fewer threads or by another algorithm.
    Copies are made where an algorithm does not take a dtype (float16, bfloat16, complex, integers), of swapped bytes,
    of padding that is not zeros and of results that cannot be written in place; where all of them would be over the
    limit, the call is computed piece by piece: images, groups, channels and slabs of an axis. A lower limit costs time,
    and may round results differently; the same limit always gives the same bits, however much memory is free.

    The limit does not cover: the arrays that are returned; the copy of a result whose ``out`` shares memory with an
    input, which is read to the end; with an activation, the backward functions' gradient before it; what separable and
    causal convolutions pass from one step to the next; weights that a plan has packed; what an ``algorithm`` that the
    caller forces, or the smallest pieces (one line across an axis of one image, for one channel of the result), need at
    least; with a ``padding_mode``, one image of the gradient for x. Tables, stacks of threads and buffers of BLAS are
    not counted, nor are pooling, ``unfold`` and ``fold``. A MemoryError is raised where the system refuses memory.

    On a GPU the limit bounds what algorithms work with. It does not cover the copy of x, or of the gradient for it,
    with its ``padding_mode``'s padding; nor the copy of a result that cannot be written in place. A call that the
    device refuses memory is computed by the algorithm that needs least, unless in deterministic mode or with an
    ``algorithm`` that the caller forces; if that is refused, too, CuPy's OutOfMemoryError, a MemoryError, is raised.

    Parameters
    ----------
    limit_bytes : int or None
        None: the default, 1 GiB or a quarter of the memory of the machine (or container), whichever is less.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.set_workspace_limit(2**20)
    >>> fastconv.get_workspace_limit()
    1048576
    >>> fastconv.set_workspace_limit(None)
    """
    wanted = None if limit_bytes is None else _positive_int("limit_bytes", limit_bytes, sys.maxsize)
    _process["workspace_limit"] = wanted


def get_workspace_limit() -> int:
    """Bytes of scratch memory that one call may use.

    Returns
    -------
    int

    Examples
    --------
    >>> import fastconv
    >>> fastconv.get_workspace_limit() <= 2**30
    True
    """
    chosen = _process["workspace_limit"] or _defaults.get("workspace_limit")
    if chosen is None:
        chosen = _defaults["workspace_limit"] = min(2**30, max(memory_bytes() // 4, 1))
    return chosen  # type: ignore[return-value]


MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""A container's limit in either version of control groups."""


def memory_bytes() -> int:
    """Memory of the machine, cut by the container's limit; not what is free, which differs from minute to minute."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        memory = 2**32
    for path in MEMORY_LIMITS:
        try:
            with open(path) as file:
                memory = min(memory, int(file.read()))
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return memory
