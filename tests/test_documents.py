"""README and docs: links resolve, sentences are short, and the commands that they show parse and run."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
MOST_WORDS = 40

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(r"`((?:docs|tests|runtime|export|bench|native_denoise|examples)/[\w./-]+\.\w+)`")
PLACEHOLDERS = {"N": "1", "PORT": "1", "SECONDS": "1"}
AS_THEY_STAND = (
    "ratehold bench latency",
    "ratehold export triton efficientnet_lite0-mshp-r1-robust -o model_repository",
)
"""Commands of the documents that need nothing but time."""

OWN_RUNTIME = ("bundles", "encode", "decode", "inspect")
"""Subcommands that these tests run: seconds on a photograph, nothing to set up."""

document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


def prose(text: str) -> Iterator[str]:
    """The sentences of a document, without code, tables and headings; inline code is one word."""
    paragraph: list[str] = []
    paragraphs = []
    for line in BLOCK.sub("\n", text).splitlines():
        item = re.match(r"\s*(?:[-*]|\d+\.)\s+", line)
        plain = line.strip()
        if item or not plain or plain.startswith(("|", "#", "<")):
            paragraphs.append(" ".join(paragraph))
            paragraph = []
        if item:
            plain = line[item.end() :].strip()
        if plain and not plain.startswith(("|", "#", "<")):
            paragraph.append(plain)
    for whole in [*paragraphs, " ".join(paragraph)]:
        words = re.sub(r"`[^`]*`", "code", re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", whole))
        yield from re.split(r"(?<=[.!?])[*_)\"']*\s+(?=\S)", words)


def anchors(text: str) -> set[str]:
    """What a link into a document may name: its headings, as GitHub spells them, and its explicit ids."""
    headings = re.findall(r"^#+\s+(.*)$", BLOCK.sub("\n", text), re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("path", LINKED, ids=lambda path: path.name)
def test_links_resolve(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for link in LINK.findall(BLOCK.sub("\n", text)):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), f"{path.name}: {link}"
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{path.name}: {link}"


@document
def test_files_that_are_named_exist(path: Path) -> None:
    missing = [name for name in FILE.findall(path.read_text(encoding="utf-8")) if not (ROOT / name).exists()]
    assert not missing


@document
def test_no_sentence_is_too_long(path: Path) -> None:
    long = [
        sentence
        for sentence in prose(path.read_text(encoding="utf-8"))
        if len(re.findall(r"\w[\w.,'/-]*", sentence)) > MOST_WORDS
    ]
    assert not long, "\n".join(long)


def test_sentences_are_found_and_counted() -> None:
    text = (
        "# A heading\nOne two `a b c`. **Three.** Four:\n\n- an item\n  goes on. More\n\n| a | b |\n"
        "```sh\ncode here\n```\n"
    )
    found = [sentence for sentence in prose(text) if sentence]
    assert found == ["One two code.", "**Three.", "Four:", "an item goes on.", "More"]


def commands(text: str) -> Iterator[list[str]]:
    """The command lines of a document's shell blocks, as words: of this project's programs and make alone."""
    for language, block in BLOCK.findall(text):
        if language in ("sh", "bash"):
            for line in lines(block):
                words = shlex.split(line, comments=True)
                while words and re.fullmatch(r"\w+=.*", words[0]):
                    words.pop(0)
                if "--" in words:  # a program that starts ours
                    words = words[words.index("--") + 1 :]
                if words and words[0] in ("ratehold", "python", "python3", "make"):
                    yield words


def lines(block: str) -> Iterator[str]:
    """Lines of a shell block, joined where a backslash or an open quotation mark joins them."""
    begun = ""
    for line in block.replace("\\\n", " ").splitlines():
        begun = f"{begun}\n{line}" if begun else line
        try:
            shlex.split(begun, comments=True)
        except ValueError:
            continue
        yield from re.split(r"\s&&\s", begun)
        begun = ""


def program(words: list[str]) -> tuple[str, list[str]] | None:
    """Module and arguments behind a command line; None where there is nothing of ours to parse."""
    arguments = [PLACEHOLDERS.get(word, word) for word in words[1:]]
    if words[0] != "ratehold":
        ours = len(arguments) > 1 and arguments[0] == "-m"
        if not ours or arguments[1].split(".")[0] not in ("runtime", "export", "bench", "tests"):
            return None
        return arguments[1], arguments[2:]
    match arguments:
        case ["bench", name, *rest]:
            return f"bench.{name}", rest
        case ["export", *rest]:
            return "export", rest
        case ["check", *rest]:
            return "bench.jetson_check", rest
        case _:
            return "runtime", arguments


class Parsed(Exception):
    """Raised instead of the program's work, once its arguments are parsed."""


def run_main(module: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int | None:
    """What ``python -m module arguments`` does, in this process."""
    found = importlib.import_module(module)
    if hasattr(found, "__path__"):
        found = importlib.import_module(f"{module}.__main__")
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    status: int | None = found.main()
    return status


@document
def test_commands_parse(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parse = argparse.ArgumentParser.parse_args

    def parse_only(self: argparse.ArgumentParser, *given: object) -> None:
        parse(self, *given)  # type: ignore[call-overload]
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for words in commands(path.read_text(encoding="utf-8")):
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets, words
        elif words[1].endswith(".py"):
            assert (ROOT / words[1]).exists(), words
        elif (call := program(words)) is not None and not is_optional(call[0]):
            with pytest.raises((Parsed, SystemExit)) as stopped:
                run_main(*call, monkeypatch)
            why = capsys.readouterr().err
            assert not isinstance(stopped.value, SystemExit) or stopped.value.code == 0, f"{words}: {why}"


def is_optional(module: str) -> bool:
    """Whether a program needs a package that the development set-up does not install."""
    return module == "tests.fuzz.packet_fuzz" and importlib.util.find_spec("atheris") is None


@document
def test_every_program_has_help(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = [call for words in commands(path.read_text(encoding="utf-8")) if (call := program(words))]
    subcommands = {
        (module, *arguments[: module in ("runtime", "export")])
        for module, arguments in calls
        if not is_optional(module)
    }
    for module, *arguments in sorted(subcommands):
        with pytest.raises(SystemExit) as stopped:
            run_main(module, [*arguments, "--help"], monkeypatch)
        assert stopped.value.code in (0, None)
        assert "usage:" in capsys.readouterr().out


@document
def test_quick_commands_run(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = [call for words in commands(path.read_text(encoding="utf-8")) if (call := program(words))]
    quick = [
        arguments
        for module, arguments in calls
        if module == "runtime" and set(arguments[:1]) & set(OWN_RUNTIME) and "--bundle" not in arguments
    ]
    if not quick:
        pytest.skip("no command that takes a second or two")
    Image.open(ROOT / "bench/common/attacked_photos/cat.png").convert("RGB").save(tmp_path / "photo.jpg")
    (tmp_path / "bench").symlink_to(ROOT / "bench")
    monkeypatch.chdir(tmp_path)
    for arguments in quick:
        assert run_main("runtime", arguments, monkeypatch) == 0, capsys.readouterr().err


@document
def test_python_blocks_compile(path: Path) -> None:
    for language, block in BLOCK.findall(path.read_text(encoding="utf-8")):
        if language == "python":
            compile(block, path.name, "exec")


def test_commands_are_found_in_blocks() -> None:
    text = (
        "```sh\nmake bench  # sets itself up\nA=1 other -- python -m runtime serve --otel\n"
        "ratehold bench latency --threads N\nratehold stream --source 'gst:a !\n  b' --to there\n"
        "pip install x\n```\n"
    )
    found = list(commands(text))
    assert [words[0] for words in found] == ["make", "python", "ratehold", "ratehold"]
    assert program(found[1]) == ("runtime", ["serve", "--otel"])
    assert program(found[2]) == ("bench.latency", ["--threads", "1"])
    assert program(found[3]) == ("runtime", ["stream", "--source", "gst:a !\n  b", "--to", "there"])


def test_decisions_are_numbered_dated_and_in_the_index() -> None:
    text = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    record = re.compile(
        r'^<a id="r(\d+)"></a>\n\n## (\d+)\. \S.*\n\n\d{4}-\d\d-\d\d · (?:accepted|superseded by \[)',
        re.MULTILINE,
    )
    numbers = [(int(anchor), int(number)) for anchor, number in record.findall(text)]
    assert numbers == [(n, n) for n in range(1, len(numbers) + 1)]
    assert len(numbers) == len(re.findall(r"^## ", text, re.MULTILINE))
    indexed = {int(n) for n in re.findall(r"\(#r(\d+)\)", text[: text.index("<a id=")])}
    assert indexed == {n for n, _ in numbers}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_the_readmes_snippet_runs_as_it_stands(tmp_path: Path) -> None:
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    (snippet,) = [block for language, block in blocks if language == "python"]
    file = tmp_path / "snippet.py"
    file.write_text(snippet, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, timeout=120, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    size = re.match(r"([\d,]+) bytes, class \d+\n", done.stdout)
    assert size and int(size[1].replace(",", "")) <= 3400, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("command", AS_THEY_STAND)
def test_commands_that_need_no_data_run_as_they_stand(command: str, tmp_path: Path) -> None:
    shown = {" ".join(words) for path in DOCUMENTS for words in commands(path.read_text(encoding="utf-8"))}
    assert command in shown
    arguments = [sys.executable, "-m", "runtime", *shlex.split(command)[1:]]
    done = subprocess.run(
        arguments, capture_output=True, text=True, timeout=600, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
