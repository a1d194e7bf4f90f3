"""The command on terminals of any width, with rich and without: what they show, and that Ctrl-C leaves them clean."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from fastconv import ConvProblem, suites
from fastconv._backend import CPU
from fastconv._choose import tune, tuning_cache
from fastconv._choose.tuning_record import Timing, TuningRecord
from fastconv._cli import main, summary, table, terminal, tuning_table
from fastconv._cli.tuning_table import TuningTable
from fastconv._normalize.tuning import Job, jobs
from subprocesses import environment
from tuning_cases import reread

pytestmark = pytest.mark.usefixtures("cache_folder")

PROBLEM = "forward 1x4x10x10 6x4x3x3 p1 float32"
WITHOUT_RICH = "import sys; sys.modules['rich'] = None; from fastconv._cli import run_process; sys.exit(run_process())"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Run the command in this process, on a terminal of so many columns; (status, stdout, stderr)."""

    def command(columns: int, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        reread()
        status = main(arguments)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return command


@dataclass
class Screen:
    """What a terminal has received, and the status of the process."""

    received: bytes
    columns: int
    status: int = 0

    @property
    def text(self) -> str:
        """What it shows at the end, with all that has scrolled away."""
        return self.shown(self.received)

    def shown(self, received: bytes) -> str:
        """What it shows after so much."""
        pyte = pytest.importorskip("pyte")
        screen = pyte.Screen(self.columns, 200)
        pyte.ByteStream(screen).feed(received)
        assert screen.cursor.hidden is False
        return "\n".join(line.rstrip() for line in screen.display).rstrip()


def on_terminal(
    columns: int,
    *command: str,
    interrupt_at: bytes | None = None,
    python: tuple[str, ...] = ("-m", "fastconv"),
    **env: str,
) -> Screen:
    """Run the command on a terminal of its own; with Ctrl-C as soon as it has written ``interrupt_at``."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 200, columns, 0, 0))
    plain = {
        name: value for name, value in environment(TERM="xterm-256color").items() if name not in ("COLUMNS", "NO_COLOR")
    }
    process = subprocess.Popen(
        [sys.executable, *python, *command],
        stdin=child,
        stdout=child,
        stderr=child,
        env=plain | env,
        start_new_session=True,
    )
    os.close(child)
    received = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while chunk := os.read(parent, 65536):
            received += chunk
            if interrupt_at is not None and interrupt_at in received:
                process.send_signal(signal.SIGINT)
                interrupt_at = None
    os.close(parent)
    return Screen(received, columns, process.wait(timeout=60))


# Widths.


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 100, 160])
def test_no_line_of_any_suite_is_wider_than_the_terminal(columns: int) -> None:
    for name in suites.NAMES:
        layers = jobs(name, ["forward", "weight"])
        shown = TuningTable(layers, CPU, columns, against=columns > 60)
        records = [tune.tune_problem(job.problem, 1, "estimate") for job in layers[:: len(layers) // 2]]
        measured = [dataclasses.replace(record, seconds=12.3) for record in records]
        lines = [shown.row(record, job, True, 1.0) for record, job in zip(records + measured, layers, strict=False)]
        assert all(len(terminal.plain(line)) <= columns for line in [shown.header(), *lines])


@pytest.mark.parametrize(
    ("columns", "titles"),
    [
        (40, "layer fastest ms"),
        (80, "layer problem fastest ms im2col model"),
        (100, "layer problem fastest ms im2col model runner-up"),
        (160, "layer problem fastest ms im2col model runner-up"),
    ],
)
def test_what_a_width_has_room_for(run: Callable[..., tuple[int, str, str]], columns: int, titles: str) -> None:
    status, out, err = run(columns, "autotune", "resnet50", "--effort", "estimate")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= columns
    assert [line.split() for line in lines].count(titles.split()) == 1
    row = next(line for line in lines if line.startswith("layer4.1.conv2"))
    assert ("forward 1x512x7x7 512x512x3x3 p1 float32" in row) == (columns == 160)
    assert ("512x7x7 512x3x3 p1" in row) == (columns in (80, 100))
    assert re.search(r" ~\d", row)


@pytest.mark.parametrize("columns", [40, 80, 100])
@pytest.mark.parametrize(
    "command", [["explain", PROBLEM], ["bench", PROBLEM, "--threads", "1"], ["cache", "show"], ["info"]]
)
def test_other_commands_fit(run: Callable[..., tuple[int, str, str]], command: list[str], columns: int) -> None:
    record = tune.tune_problem(ConvProblem.parse(PROBLEM), 1, "estimate")
    tuning_cache.current().store([dataclasses.replace(record, effort="measure", seconds=1e-3)])
    status, out, err = run(columns, *command)
    assert (status, err) == (0, "")
    # But for words, as a path, that are longer than a line.
    assert all(len(line) <= columns for line in out.splitlines() if " " in line.strip() and "/" not in line)


def test_a_table_takes_the_first_layout_that_fits_and_cuts_last() -> None:
    columns = {
        "a": table.Column("a", 10),
        "b": table.Column("b", 8, least=4),
        "n": table.Column("n", 4, is_number=True),
    }
    layouts = ("a", "b", "n"), ("b", "n")
    cells = {"a": "aaaaaaaaaa", "b": "bbbbbbbb", "n": "1.5"}

    def shown(width: int | None) -> str:
        return "".join(text for text, _ in table.Table(columns, layouts, width).row(cells))

    assert shown(None) == shown(26) == "aaaaaaaaaa  bbbbbbbb   1.5"
    assert shown(25) == shown(24) == "aaaaaaaaaa bbbbbbbb  1.5"
    assert shown(22) == "aaaaaaaaaa bbbb..  1.5"
    assert shown(20) == "aaaaaaaaaa bb..  1.5"
    assert shown(19) == "bbbbbbbb   1.5"
    assert shown(9) == "bb..  1.5"
    assert shown(7) == "bb..  1"


# What the rows and totals say.


def timing(algorithm: str, estimate: float, seconds: float | None, packed: bool = False) -> Timing:
    return Timing(algorithm, {}, packed, estimate, seconds, 9, "measured")


def record(problem: ConvProblem, chosen: str, default: str, *timings: Timing) -> TuningRecord:
    seconds = next(one.seconds for one in timings if one.algorithm == chosen)
    return TuningRecord(problem, 1, "measure", chosen, {}, seconds, default, "2026-01-01T00:00:00Z", timings)


def test_gains_are_over_the_baseline_and_over_the_models_choice() -> None:
    problem = ConvProblem.parse(PROBLEM)
    found = record(
        problem,
        "direct",
        "winograd",
        timing("direct", 3e-3, 2e-3),
        timing("direct", 3e-3, 1e-3, packed=True),
        timing("winograd", 1e-3, 3e-3),
        timing("winograd", 2e-3, 2.5e-3),  # with other parameters
        timing("im2col", 4e-3, 20e-3),
        timing("fft_fused", 9.0, None),
    )
    job = Job(problem, "net", "conv", "forward", 3)
    line = terminal.plain(TuningTable([job], CPU, None, against=True).row(found, job, False, 5e-3))
    assert line.split() == [
        "conv",
        "x3",
        *PROBLEM.split(),
        "direct",
        "2.00",
        "10.0x",
        "1.50x",
        "2.50x",
        "winograd",
        "2.50",
    ]
    other = Job(problem.replace(batch=2), "net", "other", "forward", 1)
    records = {
        job.problem: found,
        other.problem: record(other.problem, "direct", "direct", timing("direct", 1.0, 1e-3)),
    }
    totals = summary.totals([job, other], records, {problem: 5e-3})
    assert list(totals) == ["net forward"]
    total = totals["net forward"]
    assert total.layers == 4
    assert (total.tuned, total.before) == pytest.approx((7e-3, 10e-3))
    assert (total.baseline, total.beside_baseline) == pytest.approx((60e-3, 6e-3))
    assert (total.against, total.beside_against) == pytest.approx((15e-3, 6e-3))


def test_records_of_other_versions_that_say_little_are_shown() -> None:
    problem = ConvProblem.parse(PROBLEM)
    found = TuningRecord(problem, 1, "measure", "gone", {}, 1e-3, "gone", "2026-01-01T00:00:00Z", ())
    line = terminal.plain(TuningTable([Job(problem)], CPU, None).row(found, Job(problem), True))
    assert line.split() == [*PROBLEM.split(), "gone", "1.00", "-", "-", "stored"]
    assert summary.totals([Job(problem)], {problem: found}, {})["problems"].before == 1e-3


@pytest.mark.parametrize(
    ("text", "pass_name", "digest"),
    [
        ("forward 1x64x56x56 128x64x3x3 s2 p1 float32", None, "64x56x56 128x3x3 s2 p1"),
        ("forward 2x64x56 64x1x3 g64 float64", None, "2x64x56 64x3 g64 float64"),
        ("backward_input 1x4x9x9 4x4x3x3 float32", None, "4x9x9 4x3x3 input"),
        ("backward_input 1x4x9x9 4x4x3x3 float32", "input", "4x9x9 4x3x3"),
        ("backward_input 1x4x9x9 4x4x2x2 s2 float32", "forward", "4x9x9 4x2x2 s2 transposed"),
    ],
)
def test_digest(text: str, pass_name: str | None, digest: str) -> None:
    assert tuning_table.digest(ConvProblem.parse(text), ("forward", "float32"), pass_name) == digest


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.0, "0"), (4.2e-6, "0.0042"), (1.234e-3, "1.23"), (0.0567, "56.7"), (12.3, "12300")],
)
def test_number(seconds: float | None, text: str) -> None:
    assert tuning_table.number(seconds) == text


# Terminals.


@pytest.mark.parametrize("rich", [True, False])
def test_progress_is_drawn_below_the_rows_and_cleared(rich: bool) -> None:
    if rich:
        pytest.importorskip("rich")
    python = ("-m", "fastconv") if rich else ("-c", WITHOUT_RICH)
    screen = on_terminal(80, "autotune", "lenet", "--threads", "1", python=python)
    assert screen.status == 0
    lines = screen.text.splitlines()
    assert [line.split()[0] for line in lines[3:6]] == ["c1", "c3", "c5"]
    assert lines[6].startswith("measured 3")
    assert lines[-1].startswith("lenet forward")
    assert "left" not in screen.text
    assert max(map(len, lines)) <= 80
    half = screen.received[: screen.received.index(b" left") + len(" left")]
    during = screen.shown(half).splitlines()
    assert during[3].startswith("c1 ")
    assert ("\x1b[32m" in screen.received.decode()) == rich
    if rich:
        assert re.match(r"c3 .* \.\.\.$", during[4])
        assert re.fullmatch(r"━{24}  1/3  \d:\d\d left", during[5])
    else:
        assert re.match(r"\[#{8}\.{16}\] 1/3  \d:\d\d left", during[4])


@pytest.mark.parametrize(
    ("variables", "forbidden"), [({"NO_COLOR": "1"}, rb"\x1b\[[0-9;]*3[0-7]m"), ({"TERM": "dumb"}, rb"\x1b|\r(?!\n)")]
)
def test_terminals_without_colours(variables: dict[str, str], forbidden: bytes) -> None:
    screen = on_terminal(100, "autotune", PROBLEM, "--threads", "1", **variables)
    assert screen.status == 0
    assert b"measured 1" in screen.received
    assert not re.search(forbidden, screen.received)


@pytest.mark.parametrize("columns", [0, 1, 40])
def test_narrow_terminals_and_those_that_do_not_say(columns: int) -> None:
    screen = on_terminal(columns, "autotune", PROBLEM, "--effort", "estimate")
    assert screen.status == 0
    assert b"Traceback" not in screen.received


@pytest.mark.parametrize("moment", [b"effort measure", b"1/11", b"2/11"])
def test_interrupt_leaves_a_clean_terminal(moment: bytes) -> None:
    screen = on_terminal(60, "autotune", "resnet18", "--threads", "1", interrupt_at=moment)
    assert screen.status in (130, -signal.SIGINT)
    assert screen.text.splitlines()[-1].startswith("fastconv autotune: interrupted")
    assert "━" not in screen.text
    assert "Traceback" not in screen.text


def test_a_warning_is_printed_above_the_bar() -> None:
    code = (
        "import sys; from fastconv._cli import output; from fastconv._cli.progress import Progress\n"
        "with Progress(2) as progress:\n"
        "    progress.show([('one', '')]); output.complain('careful'); progress.show([('two', '')])\n"
    )
    screen = on_terminal(60, python=("-c", code))
    assert screen.text == "careful"
    assert "two" in screen.shown(screen.received[: screen.received.rindex(b"two") + 3])
