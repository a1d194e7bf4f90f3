"""Settings of the whole suite: seeds, how many random examples, a cache directory of its own, the report of errors."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import array_modules
import emulation
import worst_errors
from cli_cases import run as run
from fastconv._backend import algorithm_names
from tuner_cases import algorithms as algorithms
from tuner_cases import clock as clock

# ``bench`` is not installed. Last: an installed fastconv goes before the sources.
sys.path.append(str(Path(__file__).parent.parent))

# A shell starts what runs in the background deaf to Ctrl-C, and so would be all processes of the tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

emulation.use_library()

EXAMPLES = int(os.environ.get("FASTCONV_TEST_EXAMPLES", "0"))
"""Random examples per test; 0: the short, repeatable run of continuous integration."""

# The short run draws the same examples every time; a long one draws new ones and prints how to repeat a failure.
hypothesis.settings.register_profile("short", max_examples=120, derandomize=True, deadline=None)
hypothesis.settings.register_profile("long", max_examples=max(EXAMPLES, 1), deadline=None, print_blob=True)
hypothesis.settings.load_profile("long" if EXAMPLES else "short")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="also run the tests marked full, for minutes more")


GPU_FIXTURES = ("cp", "gpu")
"""Those with a parameter for CuPy itself."""


@pytest.hookimpl(tryfirst=True)  # -m looks at the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        chosen = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if any(chosen.get(name) == array_modules.DEVICE for name in GPU_FIXTURES):
            item.add_marker(pytest.mark.gpu)
    if not config.getoption("--full"):
        for item in items:
            if item.get_closest_marker("full"):
                item.add_marker(pytest.mark.skip(reason="runs with --full"))


def pytest_collection_finish() -> None:
    """Twenty thousand tests stay to the end: the garbage collector need not go through them each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_cache_directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's tuned choices."""
    folder = Path(tmp_path_factory.getbasetemp()) / "cache"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("FASTCONV_CACHE_DIR", str(folder))


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache directory of this test's own, and nothing remembered from other tests, nor by them."""
    import tuning_cases

    monkeypatch.setenv("FASTCONV_CACHE_DIR", str(tmp_path / "cache"))
    tuning_cases.forget_memory()
    yield tmp_path / "cache"
    tuning_cases.forget_memory()


@pytest.fixture(params=["emulated", "emulated, random order", array_modules.DEVICE])
def cp(request: pytest.FixtureRequest) -> Iterator[Any]:
    """CuPy's stand-in, warps in their order and in a random one; CuPy itself where there is a device."""
    if request.param == array_modules.DEVICE:
        yield array_modules.device_or_skip()
        return
    import emulated_cupy
    from emulated_cupy import nvrtc

    if nvrtc.library() is None:
        pytest.skip(nvrtc.MISSING)
    with emulated_cupy.pretend(seed=12345 if "random" in request.param else 0):
        yield emulated_cupy


@pytest.fixture(autouse=True)
def _lines_of_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command prints for no terminal, whatever width workers of pytest-xdist are told."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(autouse=True)
def _threads_for_small_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' small problems run on as many threads as they ask for."""
    from fastconv._choose import select

    monkeypatch.setattr(select, "MULTIPLY_ADDS_PER_THREAD", 1)
    select.forget_plans()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the results depend on, and every algorithm's largest error as a part of the bound that it declares."""
    lines = worst_errors.table()
    if lines:
        terminalreporter.section("worst error / declared bound", sep="-")
        for line in lines:
            terminalreporter.write_line(line)
    import fastconv
    from fastconv._cpu import backend

    examples = f"{EXAMPLES} random examples" if EXAMPLES else "short run (FASTCONV_TEST_EXAMPLES=N: N random examples)"
    terminalreporter.write_line(
        f"fastconv: {backend.ISA}, {fastconv.get_num_threads()} threads, {', '.join(algorithm_names())}; {examples}"
    )
