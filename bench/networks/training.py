"""``python -m bench networks --training``: time and memory of a training step, beside torch's eager mode.

A step is forward, cross entropy, backward and SGD with momentum, of random images and weights in float32. fastconv and
torch, whose arrays are contiguous or channels last, take turns in one process. Peak memory is that of a process of its
own for each: the highest resident size while it makes the network and two steps, over the size before.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fastconv
from fastconv._cpu.engine import runtime

from ..timing import Entrant, contest, ratio, settling
from .profile import profile, rows_of
from .step import FORMATS, set_threads, step_of

CONTESTANTS = ("fastconv", *FORMATS)
DEFAULT = ("resnet18", "mobilenet_v2")
SECONDS = 12.0
"""Of one network and number of threads."""
SAME_LOSS = 1e-3
"""Losses of the first steps that differ by more are of two networks."""
MEGABYTE = 1e6


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the part."""
    parser.add_argument("--profile", action="store_true", help="with --training: where the time of a step goes")
    parser.add_argument("--tune", action="store_true", help="with --training: measure fastconv's choices before")
    parser.add_argument("--no-memory", action="store_true", help="with --training: times alone")


def run(names: list[str], threads: list[int], count: int, arguments: argparse.Namespace) -> int:
    """Print a table, and write JSON where that is asked for."""
    rows = []
    print(f"training steps of {count} images, float32; {runtime.isa()}")
    print("| network | threads | fastconv ms | torch ms | torch channels last ms | torch / fastconv | MB | torch MB |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names or DEFAULT:
        for each in threads:
            row = measure(name, each, count, arguments.tune)
            if not arguments.no_memory:
                row["peak_bytes"] = {who: peak_bytes(name, who, each, count) for who in CONTESTANTS}
            rows.append(row)
            print(shown(row), flush=True)
            if arguments.profile:
                set_threads(each)
                print("\n".join(rows_of(profile(name, count))), flush=True)
    if arguments.json is not None:
        Path(arguments.json).write_text(json.dumps({"training": rows}, indent=1) + "\n")
    return 0


def measure(name: str, threads: int, count: int, tunes: bool = False) -> dict[str, Any]:
    """Times of all contestants in turn. ValueError where they do not compute the same."""
    set_threads(threads)
    if tunes:
        with fastconv.tuning("measure"):
            step_of(name, "fastconv", count)()
    steps = {who: step_of(name, who, count) for who in CONTESTANTS}
    set_threads(threads)
    losses = {who: [step(), step()] for who, step in steps.items()}
    for who, found in losses.items():
        for ours, theirs in zip(losses["fastconv"], found, strict=True):
            if not abs(ours - theirs) <= SAME_LOSS * abs(ours):
                raise ValueError(f"{name}: the losses of fastconv and torch ({who}) differ: {losses}")
    entrants = {who: Entrant(step) for who, step in steps.items()}
    contest(list(entrants.values()), SECONDS, settling(threads))
    own = entrants["fastconv"]
    ratios = {who: ratio(entrants[who], own) for who in FORMATS}
    return {
        "network": name,
        "threads": threads,
        "batch": count,
        "isa": runtime.isa(),
        "tuned": tunes,
        "seconds": {who: entrant.seconds for who, entrant in entrants.items()},
        "ratio": min(ratios.values()),
        "rounds": own.rounds,
    }


def shown(row: dict[str, Any]) -> str:
    """A line of the table; of torch's memory, that of its faster form."""
    seconds, memory = row["seconds"], row.get("peak_bytes")
    times = " | ".join(f"{seconds[who] * 1e3:.0f}" for who in CONTESTANTS)
    sizes = " | "
    if memory is not None:
        faster = min(FORMATS, key=lambda who: seconds[who])
        sizes = " | ".join(f"{memory[who] / MEGABYTE:.0f}" for who in ("fastconv", faster))
    return f"| {row['network']} | {row['threads']} | {times} | {row['ratio']:.2f} | {sizes} |"


def peak_bytes(name: str, contestant: str, threads: int, count: int) -> int:
    """Peak memory of the first two steps, in a process of its own."""
    words = [sys.executable, "-m", __name__, name, contestant, str(threads), str(count)]
    # The modules of this process: an installed fastconv is found before sources that are not built.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONSAFEPATH": "1"}
    return int(subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout)


def _resident(field: str) -> int:
    """``VmRSS`` or ``VmHWM`` of this process in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def _main(name: str, contestant: str, threads: str, count: str) -> None:
    if contestant != "fastconv":
        import torch

        torch.ones(1)
    set_threads(int(threads))
    # Whatever is loaded when it is first needed is no memory of a step.
    step_of("lenet5", "fastconv", 1)
    gc.collect()
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the highest size from here on
    step = step_of(name, contestant, int(count))
    step()
    step()
    print(_resident("VmHWM") - before)


if __name__ == "__main__":
    _main(*sys.argv[1:])
