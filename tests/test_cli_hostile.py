"""Text that is not the command's own, from files, arguments and folders: it is shown, not obeyed."""

from __future__ import annotations

import json

import pytest

from cli_cases import PROBLEM, is_plain
from fastconv._cli import output
from tuning_cases import path, record, stored_text

pytestmark = pytest.mark.usefixtures("cache_folder")

HOSTILE = ["\x1b[2J", "\r", "\u202e", "\x00", "\n", "\x9b2J", "\x07", "\udcff", "\u2028"]


def test_printable():
    assert output.printable("a \\ é €") == "a \\ é €"
    for text in HOSTILE:
        assert output.printable(text).isprintable()
        assert output.printable(text).isascii()
    assert output.printable("\x1b[2J") == "\\x1b[2J"


@pytest.mark.parametrize("text", HOSTILE)
def test_stored_text_is_shown_not_obeyed(run, text):
    """In every text of a file at once, and in one at a time."""
    tree = json.loads(stored_text())
    choice = tree["choices"][str(record().problem)]["1"]
    bad = [choice | {name: text} for name in ("effort", "algorithm", "default", "measured_at")]
    bad += [choice | {"params": {text: 1}}, choice | {"params": {"a": text}}]
    timing = choice["timings"][0]
    bad += [choice | {"timings": [timing | change]} for change in ({"algorithm": text}, {"params": {text: text}})]
    for number, value in enumerate(bad, 2):
        tree["choices"][str(record().problem)][str(number)] = value
    tree["choices"][f"{record().problem}{text}"] = {"1": choice}
    tree["choices"][text] = {text: choice}
    path().parent.mkdir(parents=True, exist_ok=True)
    path().write_text(json.dumps(tree))
    status, out, err = run("cache", "show")
    assert (status, err, out.count("\n")) == (0, "", 2), out
    for threads in range(1, len(bad) + 2):
        status, out, err = run("explain", str(record().problem), "--threads", str(threads))
        assert (status, err) == (0, "")
        assert is_plain(out)
    tree["fingerprint"] |= {text: text, "model": text}
    for content in (tree, {"format": text}, text):
        path().write_text(json.dumps(content))
        for arguments in (("cache", "show"), ("info",), ("cache", "import", str(path()))):
            _, out, err = run(*arguments)
            assert is_plain(out)
            assert is_plain(err)
            assert err.count("\n") <= 1 + (arguments[-1] == "show")  # which says that there are no choices


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    "arguments",
    [
        ["{}"],
        ["info", "{}"],
        ["explain", "{}"],
        ["explain", "forward 1x1x8 1x1x3 {}"],
        ["explain", PROBLEM, "--dtype", "{}"],
        ["explain", PROBLEM, "--threads", "{}"],
        ["explain", PROBLEM, "--{}"],
        ["autotune", PROBLEM, "--effort", "{}"],
        ["autotune", PROBLEM, "--passes", "{}"],
        ["autotune", PROBLEM, "--json", "/no/such/folder/{}"],
        ["verify", PROBLEM, "--algorithm", "{}"],
        ["bench", PROBLEM, "--json", "/no/such/folder/{}"],
        ["cache", "{}"],
        ["cache", "clear", "{}"],
        ["cache", "export", "/no/such/folder/{}"],
        ["cache", "import", "/no/such/folder/{}"],
        ["cache", "merge", "/no/such/folder/{}", "/no/such/{}"],
    ],
)
def test_what_the_user_wrote_is_shown_not_obeyed(run, arguments, text):
    status, out, err = run(*(argument.format(text) for argument in arguments))
    assert status in (0, 1, 2)
    assert (status, bool(err)) in ((0, False), (1, True), (2, True))
    assert is_plain(out)
    assert is_plain(err)


def test_names_of_folders_are_shown_not_obeyed(run, tmp_path, monkeypatch):
    for number, text in enumerate(["\x1b[2J", "\r", "\u202e", "\n", "\udcff"]):
        folder = tmp_path / f"{number}{text}"
        monkeypatch.setenv("FASTCONV_CACHE_DIR", str(folder))
        exported = str(tmp_path / f"exported{text}.json")
        for arguments in (
            ("info",),
            ("cache", "path"),
            ("autotune", PROBLEM, "--threads", "1"),
            ("cache", "export", exported),
            ("cache", "merge", exported, exported),
            ("cache", "import", exported),
        ):
            status, out, err = run(*arguments)
            assert (status, err) == (0, ""), arguments
            assert is_plain(out)
        path().write_text("{")
        status, out, err = run("cache", "show")
        assert (status, out, err.count("\n")) == (0, "", 2)
        assert err.endswith("no tuned choices yet; fastconv autotune measures and keeps them\n")
        assert is_plain(err)
