"""The options that say how to guard; ``encode`` and ``stream`` share them."""

from __future__ import annotations

import argparse

from native_denoise.modes import MODES as DENOISERS
from runtime.guard import Guard
from runtime.guard.decision import MODES
from runtime.guard.defence import Defence


def add_guard(command: argparse.ArgumentParser) -> None:
    """Add the options to a subcommand."""
    command.add_argument("--guard", choices=MODES, default="auto", help="which frames to defend")
    command.add_argument(
        "--budget", type=int, default=argparse.SUPPRESS, metavar="BYTES",
        help="most bytes of the packet, header included (default: no limit)",
    )  # fmt: skip
    command.add_argument(
        "--mode", choices=DENOISERS, default=argparse.SUPPRESS,
        help=f"of the denoiser (default: {Defence().mode})",
    )  # fmt: skip
    command.add_argument(
        "--weight", type=float, default=argparse.SUPPRESS, metavar="LAMBDA",
        help="of the denoiser: larger smooths more "
        f"(default: {', '.join(f'{Defence(mode).solver().weight:g} for {mode}' for mode in DENOISERS)})",
    )  # fmt: skip
    command.add_argument(
        "--rate-control", type=float, default=argparse.SUPPRESS, metavar="LAMBDA",
        help="of the defended latent, in squared steps a bit: larger sends fewer bytes "
        f"(default: {Defence().rate_control:g})",
    )  # fmt: skip
    command.add_argument(
        "--coarseness", type=int, default=argparse.SUPPRESS, metavar="N",
        help="of the defended latent's steps, 0 to 63: larger sends fewer bytes "
        f"(default: {Defence().coarseness})",
    )  # fmt: skip
    command.set_defaults(usage_error=command.error)


def guard_of(options: argparse.Namespace) -> Guard:
    """How to guard; a usage error when it is said how to defend, and that never."""
    given = vars(options)
    chosen = {name: given[name] for name in ("mode", "weight", "rate_control", "coarseness") if name in given}
    if chosen and options.guard == "never":
        option = next(iter(chosen)).replace("_", "-")
        options.usage_error(f"--{option} says how to defend: it needs --guard auto or always")
    hold = given.get("hold", 0)
    if hold and options.guard != "auto":
        options.usage_error("--hold goes on after a suspicious frame: it needs --guard auto")
    return Guard(options.guard, Defence(**chosen), given.get("budget"), hold)
