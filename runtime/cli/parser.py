"""The argument parser of ``ratehold``: defaults where there is one, and a guess at what was meant."""

from __future__ import annotations

import argparse
import difflib
import re
from typing import Any, NoReturn


class DefaultsWhereGiven(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of an option that has one; a switch and a missing value have none."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or not action.option_strings:
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that shows real defaults and answers a misspelt choice with the nearest one."""

    def __init__(self, **settings: Any):
        super().__init__(**{"formatter_class": DefaultsWhereGiven, **settings})

    def error(self, message: str) -> NoReturn:
        """Print usage and message, exit with status 2."""
        super().error(f"{message}{_guess(message)}")


def _guess(message: str) -> str:
    found = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
    if found is None or "maybe you meant" in message:
        return ""
    near = difflib.get_close_matches(found[1], re.findall(r"[^\s,']+", found[2]), n=1)
    return f"; did you mean {near[0]}?" if near else ""
