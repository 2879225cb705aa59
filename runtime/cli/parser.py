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
    """An ``ArgumentParser`` that shows real defaults and guesses what a misspelt choice or option meant."""

    def __init__(self, **settings: Any):
        super().__init__(**{"formatter_class": DefaultsWhereGiven, **settings})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse; words that no argument takes are an error here, and not in the parser above.

        argparse hands the unknown words of a subcommand up to the root, whose usage has none of its options.
        """
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return options, unknown

    def error(self, message: str) -> NoReturn:
        """Print usage and message, exit with status 2."""
        super().error(f"{message}{self._guess(message)}")

    def _guess(self, message: str) -> str:
        if "maybe you meant" in message:
            return ""
        if found := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
            near = difflib.get_close_matches(found[1], re.findall(r"[^\s,']+", found[2]), n=1)
        elif found := re.search(r"unrecognized arguments:.*? (--[\w-]+)", message):
            near = self._like(found[1])
        else:
            return ""
        return f"; did you mean {near[0]}?" if near else ""

    def _like(self, option: str) -> list[str]:
        """The nearest option: first by letters, then one that has the same word in it."""
        public = [action for action in self._actions if action.help != argparse.SUPPRESS]
        shown = [name for action in public for name in action.option_strings]
        word = option.removeprefix("--")
        return difflib.get_close_matches(option, shown, n=1) or [n for n in shown if word in n.split("-")][:1]
