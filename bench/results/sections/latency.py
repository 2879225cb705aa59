"""What a frame costs in time, what defence and guard add, and the paper's network beside sc2bench."""

from __future__ import annotations

from collections.abc import Sequence

from bench.results.markdown import count, fixed, median, share, table
from bench.results.page import Section, before_adapted, is_before_adapted
from bench.results.record import Measured, Node, Record

DEVICE = {
    "preprocess": "resizing to the network's input", "head": "head", "prior": "prior: h_s, tables",
    "encode": "encoding", "device": "**device together**",
}  # fmt: skip
SERVER = {"decode": "decoding", "tail": "restore and tail", "server": "**server together**"}
STEPS = {
    "mask": "mask",
    "denoise": "denoiser",
    "head": "shield",
    "prior": "its prior",
    "rate_control": "rate control",
}
TAILS = ("p95", "p99")


def sections(measured: Measured) -> tuple[Section, ...]:
    """All sections of the subject."""
    return (_frame(measured["latency_icelake"]), _beside_sc2bench(measured["latency_resnet50"]))


def _frame(record: Record) -> Section:
    summary, settings = record["summary"], record["settings"]
    clean = record.rows(codec="ratehold", variant="clean")
    steps = {name: summary[f"defence_{step}_ms_p50"] for step, name in STEPS.items()}
    return Section(
        "What a frame costs",
        f"A clean frame of the default bundle takes the device {fixed(summary['device_ms_p50'], 1)} ms and "
        f"the server {fixed(summary['server_ms_p50'], 1)} ms at the median. "
        f"{_guard_adds(record)} {fixed(summary['guard_clean_percent_of_device'], 1)} % to the device's time.",
        (
            table(
                ("ms", "p50", *TAILS),
                [
                    (about, fixed(summary[f"{step}_ms_p50"]), *(_tail(clean, step, tail) for tail in TAILS))
                    for step, about in (DEVICE | SERVER).items()
                ],
            ),
            table(
                ("what else", "value"),
                [
                    ("guard, a clean frame", f"{fixed(summary['guard_clean_ms_p50'])} ms"),
                    ("defence, a frame that is defended", f"{fixed(summary['defence_ms_p50'], 1)} ms more"),
                    *((f"of it {name}", f"{fixed(ms, 1)} ms") for name, ms in steps.items()),
                    (
                        f"{settings['link']} kbit/s for the bytes",
                        f"{fixed(summary['transmit_ms_p50'], 1)} ms",
                    ),
                    ("from first import to first packet", f"{fixed(summary['cold_start_s'], 1)} s"),
                    ("resident memory, head", f"{count(summary['head_rss_mb'])} MB"),
                    ("resident memory, head and tail", f"{count(summary['head_tail_rss_mb'])} MB"),
                ],
            ),
        ),
        (record,),
        (
            f"{len(clean)} photographs, {settings['runs']} frames each: p50 over all frames, p95 and p99 as "
            "the median of the photographs' own. Stages do not sum to the whole.",
            f"The attack pack has {len(record.rows(codec='ratehold', variant='attacked'))} photographs: "
            f"packets grow by {fixed(summary['attack_bytes_percent'], 0)} %, behind the guard by "
            f"{fixed(summary['guarded_attack_bytes_percent'], 0)} %. {_kept(record, 'attacked')} keep their "
            f"class, behind the guard {_kept(record, 'attacked+guard')}.",
            *before_adapted(record, "The second look at frames that seem corrupted is not in the table."),
        ),
    )


def _guard_adds(record: Record) -> str:
    if is_before_adapted(record):
        return "An older guard, without an adapted head, added"
    return "The guard adds"


def _tail(rows: list[Node], step: str, percentile: str) -> str:
    return fixed(median(row[f"{step}_{percentile}_ms"] for row in rows))


def _kept(record: Record, variant: str) -> str:
    count_of = len(record.rows(codec="ratehold", variant=variant))
    return f"{record['summary']['same_class'][variant] * count_of:.0f} of {count_of}"


def _beside_sc2bench(record: Record) -> Section:
    summary = record["summary"]
    return Section(
        "The paper's network beside sc2bench",
        f"ResNet-50 with the MSHP bottleneck encodes in {share(summary['encode_ratio_vs_sc2bench'], 0)} of "
        f"sc2bench's time, and in {share(summary['defended_ratio_vs_sc2bench'], 0)} of it with the defence. "
        f"Packets have {share(summary['bytes_ratio_vs_sc2bench'])} of the bytes of its strings.",
        (
            table(
                ("", "ratehold", "sc2bench", "ratio"),
                [
                    _ratio("encode", summary, ("encode_ms_p50", "peer_encode_ms_p50"), "encode"),
                    _ratio(
                        "encode, defended", summary, ("defended_ms_p50", "peer_encode_ms_p50"), "defended"
                    ),
                    _ratio("decode and tail", summary, ("decode_ms_p50", "peer_decode_ms_p50"), "decode"),
                ],
            ),
        ),
        (record,),
        (
            "Both sides have the same seeded random weights and a prior fitted to them. Logits and bytes "
            f"are compared first: {share(summary['same_class_as_sc2bench'], 0)} of the classes are the same.",
            f"{len(record.rows(codec='sc2bench'))} photographs, {record['settings']['runs']} turns, "
            "medians; sc2bench has no defence, so the second row compares with its undefended encoder.",
        ),
    )


def _ratio(name: str, summary: Node, times: Sequence[str], key: str) -> tuple[str, ...]:
    ours, theirs = (f"{fixed(summary[time], 1)} ms" for time in times)
    return name, ours, theirs, fixed(summary[f"{key}_ratio_vs_sc2bench"], 3)
