"""What ``bench.latency`` found, in a few sentences: the clean frame, the guard, the attack."""

from __future__ import annotations

from bench.common.attack_pack import read_pack
from bench.latency.attack_cost import AttackCost, attack_cost
from bench.latency.defence_cost import median_bytes
from bench.latency.disturbances import CLEAN
from bench.latency.frame_timing import LINK, SERVER, TOTAL, UNDEFENDED, BundleTimings, pooled
from bench.latency.guard_cost import guard_cost

FEW_PHOTOS = 5
"""Photographs below which bytes and classes say little about others."""

FEW_FRAMES = 20
"""Timed frames of a kind below which only the median is told."""


def verdict(timings: BundleTimings) -> list[str]:
    """One sentence an entry."""
    device, link, server, total = (
        pooled(timings, CLEAN.name, stages).p50 for stages in (UNDEFENDED, (LINK,), SERVER, TOTAL)
    )
    guard, attack = guard_cost(timings), attack_cost(timings)
    said = [
        f"A clean frame costs the device {device:.1f} ms and {median_bytes(timings, CLEAN):,.0f} bytes. "
        f"With {link:.1f} ms on the link and {server:.1f} ms on the server, its class is known after "
        f"{total:.1f} ms.",
        f"The guard costs a clean frame {guard.ms:.2f} ms, {guard.percent:.1f} % of the device's time. "
        f"It took {guard.false_alarms} of {guard.photos} clean photographs for attacked.",
    ]
    if attack is None:
        said.append(
            "What an attack costs is not measured: no photograph here has an attacked version. The attack "
            "pack goes with the sample photographs and bundles of its size."
        )
    else:
        said += _attack(attack)
    frames, photos = timings.frames_of_a_kind, len(timings.uncoded_top1)
    if photos < FEW_PHOTOS:
        said.append(f"Too few photographs ({photos}) to speak for others.")
    if frames < FEW_FRAMES:
        said.append(f"Too few frames for percentiles: {frames} of a kind. Take more --runs.")
    return said


def _attack(cost: AttackCost) -> list[str]:
    pack, photos = read_pack(), cost.photos

    def right(share: float) -> str:
        return f"{round(photos * share)} of {photos}"

    clean, attacked, guarded = cost.clean, cost.attacked, cost.attacked_guarded
    more_ms = guarded.device_ms - attacked.device_ms
    time = f"{more_ms:.1f} ms more" if more_ms > 0 else "no more time"
    return [
        f"An attack (PGD-E, {pack.eps} of 255) makes the frame {compared(attacked.bytes, clean.bytes)} than "
        f"the clean one: {attacked.bytes:,.0f} bytes. {right(attacked.right)} photographs keep their class, "
        f"{right(clean.right)} without the attack.",
        f"Behind the guard the attacked frame is {compared(guarded.bytes, attacked.bytes)} than without: "
        f"{guarded.bytes:,.0f} bytes, for {time} on the device. {right(guarded.right)} keep their class.",
    ]


def compared(size: float, reference: float) -> str:
    """As in "93 % larger", of two sizes in bytes."""
    percent = 100 * (size / reference - 1)
    return f"{abs(percent):.0f} % {'larger' if percent > 0 else 'smaller'}"
