"""What the tail server sustains and survives, and what a thin link leaves of a camera's frames."""

from __future__ import annotations

from collections.abc import Callable

from bench.results.markdown import change, count, fixed, listed, share, spread, table
from bench.results.page import Section, before_adapted
from bench.results.record import Measured, Node, Record

RUNS = ("serve_zen3", "serve_zen3_load", "serve_icelake", "serve_load")
P99_BAR = 3.0
VARIANTS = (
    ("plain", "ratehold", "clean"),
    ("plain", "ratehold", "attacked"),
    ("guard", "ratehold guarded", "attacked"),
    ("shrinking", "ratehold shrinking", "clean"),
    ("shrinking", "ratehold shrinking", "attacked"),
    ("JPEG 75", "jpeg q75", "clean"),
)


def sections(measured: Measured) -> tuple[Section, ...]:
    """All sections of the subject."""
    return _server([measured[name] for name in RUNS]), _link(measured["link"])


def _server(records: list[Record]) -> Section:
    summaries = [record["summary"] for record in records]
    whole = [record for record in records if "kills" in record["settings"]["sections"]]
    kills = [record.row(section="kills") for record in whole]
    met = sum(summary["p99_at_70_over_p50"] <= P99_BAR for summary in summaries)

    def row(name: str, value: Callable[[Node], str], key: str) -> tuple[str, ...]:
        return (name, *(value(summary) if key in summary else "" for summary in summaries))

    def figure(name: str, key: str, digits: int = 2) -> tuple[str, ...]:
        return row(name, lambda summary: fixed(summary[key], digits), key)

    return Section(
        "What the server sustains and survives",
        f"It answers {spread((s['efficiency'] for s in summaries), 3)} of what bare tails decode on the "
        f"same cores. Over {kills[0]['server_kills'] + kills[0]['client_kills']} kills a run it lost "
        f"{sum(row['lost'] for row in kills)} of {count(sum(row['captured'] for row in kills))} frames and "
        f"answered {sum(row['answered_twice'] for row in kills)} twice.",
        (
            table(
                ("run", *(str(number) for number in range(1, len(records) + 1))),
                [
                    figure("requests a second, over bare tails'", "efficiency", 3),
                    figure("requests a second", "served_per_s", 0),
                    figure("p99 at 70 % load, evenly spaced, over single p50", "p99_at_70_over_p50"),
                    ("its rounds", *(_rounds(record) for record in records)),
                    figure("the same of bare tails", "bare_p99_over_p50"),
                    figure("the same for Poisson arrivals", "p99_at_70_poisson_over_p50", 1),
                    figure(
                        "p99 among 550 idle and slow clients, over without", "p99_with_idlers_over_without"
                    ),
                    row(
                        "memory after 100,000 requests",
                        lambda s: change(1 + s["memory_growth"]),
                        "memory_growth",
                    ),
                    row(
                        "away for 60 s: to the next answer",
                        lambda s: f"{fixed(s['recovery_s'])} s",
                        "recovery_s",
                    ),
                    row(
                        "batches of 4 over none, requests a second",
                        lambda s: change(s["batching_gain"]),
                        "batching_gain",
                    ),
                ],
            ),
        ),
        tuple(records),
        (
            "Columns are in the order of the files below. Server and load share two cores; medians of "
            "ratios taken side by side, the worst policy for recovery.",
            f"The aim of p99 is {P99_BAR:g}: {met} of {len(records)} runs met it. A core that the host "
            "takes away for a while leaves frames waiting.",
            f"Of {count(sum(row['captured'] for row in kills))} frames "
            f"{count(sum(row['sent_again'] for row in kills))} were sent again, and "
            f"{sum(row['decoded_by_two_servers'] for row in kills)} were decoded by two servers. "
            "`outcomes.jsonl` has one line for each.",
            "Of the packets of nonsense with a valid seal, "
            f"{listed([f'run {records.index(record) + 1} answered {_nonsense(record)}' for record in whole])}"
            ": a check of 16 bits agrees by chance once in 65,536 times.",
        ),
    )


def _rounds(record: Record) -> str:
    return spread(row["spaced_p99_ms"] / row["unloaded_p50_ms"] for row in record.rows(section="latency"))


def _nonsense(record: Record) -> str:
    return str(record.row(section="memory")["unexpected"].get("sealed nonsense: 200", 0))


def _link(record: Record) -> Section:
    links = list(dict.fromkeys(row["link"] for row in record.rows()))
    thin = links[0]
    plain, shrunk = (
        record.row(link=thin, variant=v, frames="clean") for v in ("ratehold", "ratehold shrinking")
    )
    summary = record["summary"]
    return Section(
        "Over a thin link",
        f"Shrinking packets bring {fixed(shrunk['goodput_fps'], 1)} instead of "
        f"{fixed(plain['goodput_fps'], 1)} answers a second over {_spelled(thin)}, and "
        f"{share(shrunk['agreement'], 0)} of them equal the answer to the clean photograph.",
        (
            "Answers a second, and the share that equals the answer to the clean photograph:",
            table(
                ("link", *(f"{name}, {frames}" for name, _, frames in VARIANTS)),
                [
                    (
                        _spelled(link),
                        *(_answers(record, link, variant, frames) for _, variant, frames in VARIANTS),
                    )
                    for link in links
                ],
            ),
        ),
        (record,),
        (
            f"A camera at {record['settings']['fps']:g} frames a second for {record['settings']['frames']} "
            f"frames, {record['settings']['images']} photographs, at most {record['settings']['in_flight']} "
            "requests in flight. Shares of so few frames are rough.",
            f"An attack makes a frame wait up to {fixed(summary['attacked_slowdown'], 1)} times as long, "
            f"behind the guard up to {fixed(summary['guarded_slowdown'])} times.",
            "JPEG's answers were counted and not compared.",
            *before_adapted(record),
        ),
    )


def _spelled(link: str) -> str:
    """'250kbit,80ms,1%loss' -> '250 kbit/s, 80 ms, 1 % loss'."""
    text = link.replace("kbit", " kbit/s").replace("ms", " ms").replace("%loss", " % loss")
    return text.replace(",", ", ")


def _answers(record: Record, link: str, variant: str, frames: str) -> str:
    row = record.row(link=link, variant=variant, frames=frames)
    agreed = f", {share(row['agreement'], 0)}" if row["agreement"] is not None else ""
    return fixed(row["goodput_fps"], 1) + agreed
