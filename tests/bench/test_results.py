"""docs/results.md is what docs/measured says, and says where each figure comes from."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.common import provenance
from bench.results.__main__ import DOCS, main
from bench.results.record import Measured, Node, Record, ResultsError

ROOT = Path(__file__).parents[2]
LONGEST = 40  # words of a sentence
KEYS = {"bench", "provenance", "environment", "settings", "rows", "summary"}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A copy of the measurements, with the page that belongs to them."""
    shutil.copytree(DOCS / "measured", tmp_path / "measured")
    assert main(["--docs", str(tmp_path)]) == 0
    return tmp_path


def change(path: Path, **values: Any) -> None:
    report = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(report | values), encoding="utf-8")


def test_the_page_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_a_page_that_is_not_current_names_the_line(docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = docs / "results.md"
    page.write_text(page.read_text(encoding="utf-8").replace("# Results", "# Others", 1), encoding="utf-8")
    assert main(["--check", "--docs", str(docs)]) == 1
    said = capsys.readouterr().err
    assert "line 1" in said and "# Others" in said and "# Results" in said


def test_a_changed_figure_changes_table_and_prose(docs: Path) -> None:
    before = (docs / "results.md").read_text(encoding="utf-8")
    path = docs / "measured" / "fuzz.json"
    summary = json.loads(path.read_text(encoding="utf-8"))["summary"]
    change(path, summary=summary | {"executions": 7_654_321})
    assert main(["--check", "--docs", str(docs)]) == 1
    assert main(["--docs", str(docs)]) == 0
    after = (docs / "results.md").read_text(encoding="utf-8")
    assert "7,654,321" in after and "7,654,321" not in before


@pytest.mark.parametrize("key", ["commit", "date", "command", "machine"])
def test_a_measurement_without_provenance_is_refused(
    docs: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = docs / "measured" / "fuzz.json"
    told = json.loads(path.read_text(encoding="utf-8"))["provenance"]
    change(path, provenance={name: value for name, value in told.items() if name not in (key, "recovered")})
    assert main(["--check", "--docs", str(docs)]) == 2
    assert f"fuzz.json: its provenance lacks {key}" in capsys.readouterr().err


def test_a_missing_measurement_and_a_missing_key_are_named(
    docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(docs / "measured" / "fuzz.json", summary={})
    assert main(["--docs", str(docs)]) == 2
    assert "fuzz.json, summary: no key 'findings'" in capsys.readouterr().err
    (docs / "measured" / "fuzz.json").unlink()
    assert main(["--docs", str(docs)]) == 2
    assert "fuzz.json: there is no such measurement" in capsys.readouterr().err


def test_rows_are_found_by_their_fields(docs: Path) -> None:
    record: Record = Measured(docs / "measured")["accuracy"]
    assert record.row(prior="fp", rate=1)["top1"] == pytest.approx(0.906)
    with pytest.raises(ResultsError, match="no row has"):
        record.row(prior="fp", rate=9)
    with pytest.raises(ResultsError, match="4 rows have"):
        record.row(prior="fp")
    assert Node({"a": None}, "x").get("b", 2) == 2


def test_every_measurement_is_shown_by_a_document() -> None:
    shown = "".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))
    assert [path.name for path in (DOCS / "measured").glob("*.json") if path.name not in shown] == []


def test_every_measurement_has_the_shape_of_a_report() -> None:
    for path in (DOCS / "measured").glob("*.json"):
        assert set(json.loads(path.read_text(encoding="utf-8"))) == KEYS, path


@pytest.mark.parametrize("name", ["results.md", "history.md"])
def test_sentences_are_short(name: str) -> None:
    text = (DOCS / name).read_text(encoding="utf-8")
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    prose = "\n".join(line for line in text.splitlines() if not line.startswith(("|", "#", "![", "  - [")))
    sentences = re.split(r"(?<=[.:;?!])\s+|\n\n|\n(?=- )", prose)
    assert [sentence for sentence in sentences if len(sentence.split()) > LONGEST] == []


def test_links_of_the_contents_lead_to_headings() -> None:
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    anchors = re.findall(r"\(#([^)]+)\)", text)
    headings = [line.lstrip("# ") for line in text.splitlines() if line.startswith("##")]
    made = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert anchors and set(anchors) == set(made) and len(made) == len(set(made))


def test_the_page_is_made_without_heavy_packages() -> None:
    code = (
        "import sys; from bench.results.__main__ import main; assert main(['--check']) in (0, 1);"
        "heavy = {'numpy', 'torch', 'numba', 'rich', 'onnxruntime', 'matplotlib'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    done = subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_commit_of_a_checkout_and_its_changes(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    (root / "docs").mkdir(parents=True)
    for name in ("code.py", "docs/page.md"):
        (root / name).write_text("1", encoding="utf-8")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "1")
    head = git(root, "rev-parse", "HEAD")
    provenance.commit.cache_clear()
    (root / "docs/page.md").write_text("2", encoding="utf-8")
    assert provenance.commit(root) == head
    provenance.commit.cache_clear()
    (root / "code.py").write_text("2", encoding="utf-8")
    assert provenance.commit(root) == head + provenance.CHANGES
    provenance.commit.cache_clear()


def test_outside_a_checkout_there_is_the_version_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "site-packages"
    inside.mkdir()
    git(tmp_path, "init", "-q")  # a repository around an environment is not where the code comes from
    monkeypatch.setattr(provenance.metadata, "version", lambda _: "1.2.3")
    provenance.commit.cache_clear()
    assert provenance.commit(inside) == "version 1.2.3"

    def missing(_: str) -> str:
        raise provenance.metadata.PackageNotFoundError

    monkeypatch.setattr(provenance.metadata, "version", missing)
    provenance.commit.cache_clear()
    assert provenance.commit(inside) is None
    provenance.commit.cache_clear()


def test_provenance_has_commit_date_command_and_machine() -> None:
    told = provenance.provenance()
    assert set(told) == {"commit", "date", "command", "machine"}
    assert set(told["machine"]) == {"cpu", "cores", "gpu"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", told["date"])


@pytest.mark.parametrize(
    "argv, typed",
    [
        (["/v/bin/python3", "-m", "bench.latency", "--runs", "5"], "python -m bench.latency --runs 5"),
        (["/v/bin/python3", "/v/bin/ratehold", "bench", "latency"], "ratehold bench latency"),
        (["python", "tool.py", "a b"], "python tool.py 'a b'"),
    ],
)
def test_the_command_is_what_was_typed(argv: list[str], typed: str) -> None:
    assert provenance.command(argv) == typed
