"""Tuning: measure which algorithm is fastest, keep the choices, carry them to machines of the same kind.

The module itself can be called: ``with fastconv.tuning("measure"):`` tunes what is computed in the block.

What only tuning needs is imported when it is called: `import fastconv` must stay cheap.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from types import ModuleType
from typing import TYPE_CHECKING

from . import _config
from ._choose.select import forget_plans
from ._problem import ConvProblem

if TYPE_CHECKING:
    from ._choose.explain import Explanation
    from ._choose.tuning_record import TuningRecord


class TuningModule(ModuleType):
    """The class of this module, whose functions and whose ``with`` block go by one name."""

    def __call__(self, effort: str) -> AbstractContextManager[None]:
        return _config.tuning(effort)

    __call__.__doc__ = _config.tuning.__doc__


sys.modules[__name__].__class__ = TuningModule

Problems = str | ConvProblem | Iterable[str | ConvProblem]


def autotune(
    problems: Problems,
    *,
    passes: str | Iterable[str] | None = None,
    effort: str = "measure",
    threads: int | None = None,
    time_limit: float | None = None,
    remeasure: bool = False,
    backend: str = "cpu",
) -> list[TuningRecord]:
    """Time every algorithm for the problems and keep the fastest; later calls, in every process, use it.

    Choices are kept per machine, problem and number of threads, in a file under FASTCONV_CACHE_DIR, else
    XDG_CACHE_HOME, else ~/.cache/fastconv; those of a GPU in a file of their own, by its name, driver and CUDA. A
    choice for a problem without an epilogue (bias, add, activation) also serves the same problem with one.
    Interrupted, it keeps what it has measured.

    Parameters
    ----------
    problems : str, ConvProblem, or several
        Problem texts ("forward 8x64x56x56 128x64x3x3 s2 p1 float32"), ConvProblems, or names of suites ("resnet50").
    passes : {"forward", "input", "weight"}, one or several, optional
        What to tune of each layer: its result, the gradient for its input, that for its weight. Default: the forward
        pass of suites, and problems as they are.
    effort : {"measure", "exhaustive", "estimate"}, default "measure"
        Time each algorithm with its default parameters, and those that may be the fastest with a few others; or each
        with all of them; or measure nothing and report estimates.
        On a GPU, "measure" times the eight algorithms and parameters that the cost model expects most of.
    threads : int, optional
        Default: that of ``get_num_threads``.
    time_limit : float, optional
        Seconds after which no further problem is begun.
    remeasure : bool, default False
        Measure again what is stored already.
    backend : {"cpu", "gpu"}, default "cpu"
        What is tuned: the CPU, or the current CUDA device.

    Returns
    -------
    list of TuningRecord
        One per distinct problem, in order: ``algorithm``, ``seconds``, ``gain`` over im2col (on a GPU over
        implicit_gemm), ``timings`` of all.

    Raises
    ------
    ValueError, TypeError
        For texts that are neither problems nor suites, and other values that do not fit.
    RuntimeError
        Where there is no device for ``backend="gpu"``.

    Examples
    --------
    >>> import fastconv
    >>> records = fastconv.autotune("forward 1x3x16x16 4x3x3x3 p1 float32", effort="estimate")
    >>> len(records)
    1
    """
    from ._choose import tune
    from ._normalize import tuning as normalize

    jobs = normalize.jobs(problems, passes)
    count, name = _config.thread_count(threads), normalize.effort_name(effort)
    limit = normalize.time_limit_seconds(time_limit)
    chosen = normalize.backend(backend)
    if name != "estimate":
        normalize.check_memory(jobs, chosen)
    found = [job.problem for job in jobs]
    steps = tune.tune(dict.fromkeys(found), count, name, limit, remeasure, chosen)
    return [step.record for step in steps]


def explain(problem: str | ConvProblem, *, threads: int | None = None, backend: str = "cpu") -> Explanation:
    """Say which algorithm computes a problem, and why: estimates, measurements, errors, and what excludes the others.

    Parameters
    ----------
    problem : str or ConvProblem
        As ``str(plan.problem)`` or ``fastconv autotune`` print it.
    threads : int, optional
        Default: that of ``get_num_threads``.
    backend : {"cpu", "gpu"}, default "cpu"
        What computes the problem; without a device, "gpu" explains what the cost model says of a large one.

    Returns
    -------
    Explanation
        Printed, it is a page to read; ``plan`` and ``considered`` are the facts.

    Examples
    --------
    >>> import fastconv
    >>> explanation = fastconv.explain("forward 1x3x16x16 4x3x3x3 p1 float32", threads=1)
    >>> explanation.plan.threads
    1
    """
    from ._choose.explain import explanation
    from ._normalize import tuning as normalize

    return explanation(normalize.problem(problem), threads, normalize.backend(backend))


def export_tuning(path: str | os.PathLike[str], *, backend: str = "cpu") -> int:
    """Write this machine's tuned choices to a file, to be imported on machines of the same kind.

    Parameters
    ----------
    path : str or path
        The file; replaced if it exists.
    backend : {"cpu", "gpu"}, default "cpu"
        Whose choices: the CPU's, or those of the current CUDA device.

    Returns
    -------
    int
        Number of choices written.

    Raises
    ------
    ValueError, TypeError
        If ``path`` is not a path.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import fastconv
    >>> count = fastconv.export_tuning("tuned_choices.json")
    >>> fastconv.import_tuning("tuned_choices.json") == count
    True
    """
    from ._choose import tuning_cache
    from ._normalize import tuning as normalize

    file = normalize.file_path(path)
    content = tuning_cache.current(normalize.backend(backend)).content
    file.write_text(tuning_cache.render(content))
    return len(content.records())


def import_tuning(path: str | os.PathLike[str], *, backend: str = "cpu") -> int:
    """Take over the tuned choices of a file that ``export_tuning`` wrote on a machine of the same kind.

    Of two choices for one problem the one measured later stays.

    Parameters
    ----------
    path : str or path
    backend : {"cpu", "gpu"}, default "cpu"
        Whose choices they are.

    Returns
    -------
    int
        Number of choices in the file.

    Raises
    ------
    ValueError
        If the file does not hold tuned choices, or holds those of another CPU, ISA level, number of cores or version,
        or of another GPU, driver or CUDA.

    Examples
    --------
    >>> import fastconv
    >>> count = fastconv.export_tuning("tuned_choices.json")
    >>> fastconv.import_tuning("tuned_choices.json") == count
    True
    """
    from ._choose import tuning_cache
    from ._normalize import tuning as normalize

    chosen = normalize.backend(backend)
    content = normalize.tuning_file(path, backend=chosen)
    records = content.records()
    cache = tuning_cache.current(chosen)
    cache.store(records)
    if content.machine is not None and cache.content.machine is None:
        cache.store_machine(content.machine)
    forget_plans()
    return len(records)


def forget_tuning(problem: str | ConvProblem | None = None, *, threads: int | None = None, backend: str = "cpu") -> int:
    """Drop stored choices of this machine: all of them, those of one problem, or those for one number of threads.

    Parameters
    ----------
    problem : str or ConvProblem, optional
    threads : int, optional
    backend : {"cpu", "gpu"}, default "cpu"
        Whose choices: the CPU's, or those of the current CUDA device.

    Returns
    -------
    int
        Number of choices dropped.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.forget_tuning("forward 1x1x5x5 1x1x3x3")
    0
    """
    from ._choose import tuning_cache
    from ._normalize import tuning as normalize

    text = None if problem is None else str(normalize.problem(problem))

    def is_kept(key: tuple[str, int]) -> bool:
        return (text is not None and key[0] != text) or (threads is not None and key[1] != threads)

    cache = tuning_cache.current(normalize.backend(backend))
    count = cache.forget(is_kept, machine=problem is None and threads is None)
    forget_plans()
    return count
