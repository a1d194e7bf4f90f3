"""``fastconv completion``: a script by which bash, zsh or fish completes the command's words.

Made from the parsers of all subcommands. It starts no Python: a shell that waits for an import feels slow.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from .. import suites
from ..suites.layers import PASSES
from . import output

WORDS = {"problems": suites.NAMES, "passes": PASSES}
"""Of arguments that take other words, too."""
FILES = ("file", "files", "output", "json", "plot")
"""Arguments that are names of files."""


@dataclass(frozen=True)
class Option:
    """An option, and what may stand behind it: some words, a file, something else, or nothing."""

    name: str
    help: str
    words: tuple[str, ...]
    takes_value: bool
    takes_file: bool


@dataclass(frozen=True)
class Command:
    """A subcommand, ``path`` being its words, with its options and what may stand beside them."""

    path: str
    options: tuple[Option, ...]
    words: tuple[str, ...]
    takes_file: bool


def add_to(subparsers: argparse._SubParsersAction, root: argparse.ArgumentParser) -> None:
    """The subcommand's options; ``root`` is the parser of everything."""
    parser = subparsers.add_parser(
        "completion",
        help="print what makes a shell complete these commands",
        description="bash: source <(fastconv completion bash). zsh: the same, behind compinit. fish: fastconv "
        "completion fish > ~/.config/fish/completions/fastconv.fish",
    )
    parser.add_argument("shell", choices=tuple(SCRIPTS))
    parser.set_defaults(run=run, root=root)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    output.put(SCRIPTS[arguments.shell](list(commands("", arguments.root))))
    return 0


def commands(path: str, parser: argparse.ArgumentParser) -> Iterator[Command]:
    """The command of the parser and every one below it, the longest paths first."""
    positional = [action for action in parser._actions if not action.option_strings]
    for action in positional:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from commands(f"{path} {name}".strip(), below)
    words = tuple(word for action in positional for word in _words(action))
    yield Command(path, tuple(_options(parser)), words, any(action.dest in FILES for action in positional))


def _options(parser: argparse.ArgumentParser) -> Iterator[Option]:
    for action in parser._actions:
        if action.option_strings:
            text = (action.help or "").split(" (")[0].replace("%", "")
            name, takes_value = action.option_strings[-1], action.nargs != 0
            yield Option(name, text, _words(action), takes_value, action.dest in FILES)


def _words(action: argparse.Action) -> tuple[str, ...]:
    return tuple(map(str, action.choices or WORDS.get(action.dest, ())))


def _cases(found: list[Command]) -> str:
    """Lines of a ``case`` of bash and zsh, on the subcommand and the word before the one that is completed."""
    lines = []
    for command in found:
        for option in command.options:
            if option.takes_file:
                lines.append(f'        "{command.path} {option.name}") files=yes ;;')
            elif option.takes_value:
                lines.append(f'        "{command.path} {option.name}") offered="{" ".join(option.words)}" ;;')
    for command in found:
        offered = " ".join([*command.words, *(option.name for option in command.options)])
        also = " files=yes" if command.takes_file else ""
        lines.append(f'        "{command.path} "*) offered="{offered}"{also} ;;')
    return "\n".join(lines)


BOURNE = """\
# Completion of fastconv in {shell}.
_fastconv() {{
    local word command= offered= files=
    for word in {earlier}; do
        case "${{command:+$command }}$word" in
            {paths}) command="${{command:+$command }}$word" ;;
        esac
    done
    case "$command "{before} in
{cases}
    esac
{reply}
}}
{register}
"""
BASH = {
    "shell": "bash",
    "earlier": '"${COMP_WORDS[@]:1:COMP_CWORD-1}"',
    "before": '"${COMP_WORDS[COMP_CWORD-1]}"',
    "reply": """\
    local current="${COMP_WORDS[COMP_CWORD]}"
    mapfile -t COMPREPLY < <(compgen -W "$offered" -- "$current"; [[ -z $files ]] || compgen -f -- "$current")""",
    "register": "complete -o filenames -F _fastconv fastconv",
}
ZSH = {
    "shell": "zsh",
    "earlier": '"${(@)words[2,CURRENT-1]}"',
    "before": '"${words[CURRENT-1]}"',
    "reply": """\
    compadd -- ${=offered}
    [[ -z $files ]] || _files""",
    "register": "compdef _fastconv fastconv",
}


def bash(found: list[Command]) -> str:
    """The script for bash."""
    return _bourne(found, BASH)


def zsh(found: list[Command]) -> str:
    """The script for zsh."""
    return "#compdef fastconv\n" + _bourne(found, ZSH)


def _bourne(found: list[Command], pieces: dict[str, str]) -> str:
    paths = "|".join(f'"{command.path}"' for command in found if command.path)
    return BOURNE.format(paths=paths, cases=_cases(found), **pieces)


def fish(found: list[Command]) -> str:
    """The script for fish."""
    lines = ["# Completion of fastconv in fish.", "complete -c fastconv -f"]
    for command in found:
        inside = [f"__fish_seen_subcommand_from {word}" for word in command.path.split()]
        if any(f"{command.path} {word}".strip() == other.path for word in command.words for other in found):
            inside.append(f"not __fish_seen_subcommand_from {' '.join(command.words)}")
        start = f"complete -c fastconv -n '{'; and '.join(inside)}'"
        if command.takes_file:
            lines.append(f"{start} -F")
        if command.words:
            lines.append(f"{start} -a '{' '.join(command.words)}'")
        for option in command.options:
            takes = " -rF" if option.takes_file else " -x" if option.takes_value else ""
            takes += f" -a '{' '.join(option.words)}'" if option.words else ""
            text = option.help.replace("\\", "").replace("'", "")
            lines.append(f"{start} -l {option.name.lstrip('-')}{takes} -d '{text}'")
    return "\n".join(lines) + "\n"


SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}
