"""What ``bench.serve`` prints: a sentence for each figure that is watched, then the rows by section."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from bench.common.terminal import Column, print_table
from bench.serve.sections import Row

COLUMNS = {
    "efficiency": ("round", "served_per_s", "bare_per_s", "generator_cores", "server_cores"),
    "batching": ("where", "threads", "batch", "per_s", "cpu_ms", "round", "poisson_p99_ms"),
    "latency": (
        "round", "unloaded_p50_ms", "spaced_p99_ms", "poisson_p99_ms", "per_s", "bare_single_p50_ms",
        "bare_spaced_p99_ms", "bare_per_s",
    ),
    "crowd": ("round", "without_p99_ms", "with_p99_ms", "per_s", "idle", "slow"),
    "memory": ("requests", "rss_mb_warm", "growth", "warm_up_frames", "unexpected"),
    "hostile": (
        "crowd", "growth_mb", "p99_ratio", "grpc_p99_ratio", "rss_mb", "after_mb", "without_p99_ms",
        "among_p99_ms", "grpc_without_p99_ms", "grpc_among_p99_ms",
    ),
    "outage": ("policy", "recovery_s", "lost", "answered_twice", "captured", "answered", "dropped"),
    "kills": ("server_kills", "client_kills", "lost", "answered_twice", "captured", "answered", "sent_again"),
}  # fmt: skip
"""What is printed of each section: keys of its rows, the last of which are left out first."""

WORDS = ("where", "policy", "crowd", "unexpected")
SENTENCES = {
    "efficiency": "The server answers {served_per_s:.0f} requests a second, {efficiency:.2f} of what bare "
    "tails decode.",
    "batching_gain": "Batches of four answer {batching_gain:.2f} times as many requests as single frames.",
    "p99_at_70_over_p50": "At 70 % load the p99 is {p99_at_70_over_p50:.1f} times the p50 of single "
    "requests, of bare tails {bare_p99_over_p50:.1f} times.",
    "p99_with_idlers_over_without": "Among idle connections and slow readers the p99 is "
    "{p99_with_idlers_over_without:.2f} times that without them.",
    "memory_growth": "Memory grows by {memory_growth:.1%} over the requests.",
    "hostile_growth_mb": "Among hostile crowds memory grows by {hostile_growth_mb:.0f} MB, and an honest "
    "client's p99 is {hostile_p99_ratio:.1f} times that without ({hostile_grpc_p99_ratio:.1f} over gRPC).",
    "recovery_s": "After an outage the next answer comes within {recovery_s:.2f} s.",
    "lost": "{lost} frames were lost, {answered_twice} were answered twice.",
}
"""By key of the summary, what is said of it."""


def show(rows: list[Row], summary: dict[str, Any], console: Console) -> None:
    """The verdict, then the rows of each section."""
    console.print("\nThe tail server beside bare tails, on the same cores\n", style="bold")
    for key, sentence in SENTENCES.items():
        if key in summary:
            console.print(sentence.format(**summary))
    for section, keys in COLUMNS.items():
        mine = [row for row in rows if row["section"] == section]
        if mine:
            columns = [Column(key.replace("_", " "), key in WORDS, rank) for rank, key in enumerate(keys)]
            cells = [[_cell(row.get(key)) for key in keys] for row in mine]
            print_table(console, columns, cells, section)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
