"""One report of an exchange between two machines and of the tests on one of them.

    python -m bench.exchange.report CHECK ... --tests JUNIT --emulator TEXT --commit ID [--json PATH]

CHECK: what ``bench.exchange check --json`` wrote, on either machine; JUNIT: what ``pytest --junitxml`` wrote.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from bench.common import options as options_of
from bench.common import report
from bench.common.errors import ExchangeError
from bench.exchange.comparison import TOLERANCE, summarise
from runtime.cli.program import program


def counted(junit: Path) -> dict[str, Any]:
    """Tests passed, skipped and failed (errors included), and the names of those that failed.

    Raises ExchangeError when the file is missing, is no such report, or tells of no test.
    """
    try:
        cases = list(ElementTree.parse(junit).iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        raise ExchangeError(f"{junit}: no report of tests: {error}; write it: pytest --junitxml") from error
    if not cases:
        raise ExchangeError(f"{junit}: no test ran")
    failed = [
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]
    skipped = sum(case.find("skipped") is not None for case in cases)
    return {
        "passed": len(cases) - skipped - len(failed),
        "skipped": skipped,
        "failed": len(failed),
        "failures": failed,
    }


def joined(checks: list[Path]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of all checks, and the environments they ran in by machine. Raises ExchangeError."""
    rows, environments = [], {}
    for path in checks:
        try:
            check = json.loads(path.read_text(encoding="utf-8"))
            rows += check["rows"]
            environments[check["environment"]["machine"]] = check["environment"]
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ExchangeError(f"{path}: not what bench.exchange check --json writes: {error!r}") from error
    return rows, environments


@program("bench.exchange.report")
def main(arguments: list[str] | None = None) -> int:
    """0, or 1 where machines do not agree, a test failed, or a file is missing or damaged."""
    parser = options_of.parser("bench.exchange.report", __doc__)
    parser.add_argument("checks", type=Path, nargs="+", metavar="CHECK", help="JSON of bench.exchange check")
    parser.add_argument("--tests", type=Path, required=True, metavar="JUNIT", help="XML of pytest --junitxml")
    parser.add_argument("--emulator", required=True, metavar="TEXT", help="what ran the other machine's code")
    parser.add_argument("--commit", required=True, metavar="ID", help="of the code on both machines")
    options_of.add_json(parser)
    options = parser.parse_args(arguments)
    rows, environments = joined(options.checks)
    tests = counted(options.tests)
    summary = summarise(rows) | {"tests": tests}
    settings = {
        "tolerance": TOLERANCE,
        "emulator": options.emulator,
        "commit": options.commit,
        "machines": environments,
    }
    report.write(options.json, "aarch64", settings, rows, summary)
    return 0 if summary["agree"] and not tests["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
