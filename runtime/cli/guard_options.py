"""The options that say how to guard; ``encode`` and ``stream`` share them."""

from __future__ import annotations

import argparse

from native_denoise.modes import MODES as DENOISERS
from runtime.guard import Guard
from runtime.guard.decision import HOLD, MODES, Budget
from runtime.guard.defence import Defence


def add_guard(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options to a subcommand, in a group of their own, which is returned."""
    group = command.add_argument_group(
        "guard",
        "The guard looks at what a frame would cost. `auto` defends frames that look attacked, `always` "
        "every frame, `never` none. A defended frame is denoised, and its latent is coded in coarser steps, "
        "under rate control. --budget holds in every mode.",
    )
    group.add_argument("--guard", choices=MODES, default="auto", help="which frames to defend")
    group.add_argument(
        "--budget", type=budget, default=Guard.budget, metavar="BYTES",
        help="most bytes of a packet, header included; `bundle`: the bundle's own; `none`: no limit",
    )  # fmt: skip
    group.add_argument(
        "--mode", choices=DENOISERS, help=f"the denoiser's iteration (default: {Defence().mode})"
    )
    weights = ", ".join(f"{Defence(mode).solver().weight:g} for {mode}" for mode in DENOISERS)
    group.add_argument(
        "--weight", type=float, metavar="LAMBDA",
        help=f"the denoiser's weight; larger smooths more (default: {weights})",
    )  # fmt: skip
    group.add_argument(
        "--rate-control", type=float, metavar="LAMBDA",
        help="price of a bit of a defended latent, in squared steps; larger sends fewer bytes "
        f"(default: {Defence().rate_control:g})",
    )  # fmt: skip
    group.add_argument(
        "--coarseness", type=int, metavar="N",
        help="how coarse a defended latent's steps are, 0 to 63; larger sends fewer bytes "
        f"(default: {Defence().coarseness})",
    )  # fmt: skip
    command.set_defaults(usage_error=command.error)
    return group


def budget(text: str) -> Budget:
    """What ``--budget`` takes: bytes, ``bundle`` or ``none``, for argparse."""
    return None if text == "none" else "bundle" if text == "bundle" else int(text)


def guard_of(options: argparse.Namespace) -> Guard:
    """The guard that was asked for; a usage error where options contradict each other."""
    names = ("mode", "weight", "rate_control", "coarseness")
    chosen = {name: value for name in names if (value := getattr(options, name)) is not None}
    if chosen and options.guard == "never":
        option = next(iter(chosen)).replace("_", "-")
        options.usage_error(f"--{option} says how to defend: it needs --guard auto or always")
    hold = getattr(options, "hold", 0)
    if hold is None:  # of `stream`
        hold = HOLD if options.guard == "auto" else 0
    if hold and options.guard != "auto":
        options.usage_error("--hold goes on after a suspicious frame: it needs --guard auto")
    return Guard(options.guard, Defence(**chosen), options.budget, hold)
