"""The coder beside CompressAI's, the same symbols on every engine and machine, hostile bytes."""

from __future__ import annotations

from bench.results.markdown import count, fixed, spread, table
from bench.results.page import Section
from bench.results.record import Measured, Node, Record

CODERS = {
    "numba": "ratehold, Numba",
    "constriction": "ratehold, constriction",
    "compressai": "CompressAI, rANS",
}
SYNTHETIC = "synthetic"
COUNTS = ("frames", "symbols", "symbol_mismatches", "classes_changed")


def sections(measured: Measured) -> tuple[Section, ...]:
    """All sections of the subject."""
    return (
        _coder(measured["coding"]),
        _engines(measured["engines"]),
        _machines(measured["aarch64_read_on_x86"], measured["aarch64_read_on_aarch64"]),
        _hostile(measured["fuzz"]),
    )


def _coder(record: Record) -> Section:
    bundles = list(dict.fromkeys(row["set"] for row in record.rows() if row["set"] != SYNTHETIC))
    ours, theirs = (
        [record.row(set=name, coder=coder) for name in bundles] for coder in ("numba", "compressai")
    )
    own = spread(b["total_p50_ms"] / a["total_p50_ms"] for a, b in zip(ours, theirs, strict=True))
    gaps, peers = (spread((100 * row["gap"] for row in rows), 2) for rows in (ours, theirs))
    return Section(
        "The coder is fast and wastes next to nothing",
        f"On the latents of {len(bundles)} bundles CompressAI takes {own} times as long to encode and "
        f"decode. Payloads are {gaps} % over their information content, CompressAI's {peers} %.",
        (
            f"{count(record['settings']['symbols'])} synthetic symbols of a mean-scale Gaussian, p50 in ms:",
            table(
                ("coder", "bytes", "over the information content", "index", "encode", "decode"),
                [_coder_row(name, record.row(set=SYNTHETIC, coder=coder)) for coder, name in CODERS.items()],
            ),
        ),
        (record,),
        (
            "One thread; decoded symbols are compared first.",
            f"On the synthetic symbols the ratio is {fixed(record['summary']['speedup_vs_compressai'], 1)}, "
            "index included: there CompressAI searches a table for each scale.",
        ),
    )


def _coder_row(name: str, row: Node) -> tuple[str, ...]:
    times = (fixed(row[f"{step}_p50_ms"]) for step in ("index", "encode", "decode"))
    return (name, count(row["payload_bytes"]), f"{100 * row['gap']:.3f} %", *times)


def _engines(record: Record) -> Section:
    summary = record["summary"]
    readers = len(record.rows())
    return Section(
        "Every engine decodes the same symbols",
        f"{count(summary['mismatches'])} of {count(summary['decoded'])} decodings differ, by {readers} "
        f"readers of {count(record['settings']['frames'])} frames of each prior.",
        (
            table(
                ("prior", "readers", "frames each", "mismatches"),
                [_readers(record, name, bundle) for name, bundle in _bundles(record).items()],
            ),
        ),
        (record,),
        (
            "Readers are NumPy (the definition), torch, compiled products, and ONNX Runtime's CPU at four "
            "levels of optimisation, with 1 and 2 threads and with both coders.",
            "CUDA and TensorRT were not there. CUDA is under *The denoiser and the heads on an H200*.",
        ),
    )


def _bundles(record: Record) -> dict[str, str]:
    """The bundle of each prior's name."""
    return {"MSHP" if "mshp" in row["bundle"] else "FP": row["bundle"] for row in record.rows()}


def _readers(record: Record, name: str, bundle: str) -> tuple[str, ...]:
    rows = record.rows(bundle=bundle)
    frames = count(min(row["frames"] for row in rows))
    return name, count(len(rows)), frames, count(sum(row["mismatches"] for row in rows))


def _machines(*records: Record) -> Section:
    rows = [row for record in records for row in record.rows()]
    largest = max(record["summary"]["logits_largest_difference"] for record in records)
    return Section(
        "x86 and aarch64 read each other's packets",
        f"{count(sum(row['symbol_mismatches'] for row in rows))} of "
        f"{count(sum(row['symbols'] for row in rows))} symbols differ. Logits differ by at most "
        f"{largest:.1e} of the frame's largest.",
        (
            table(
                ("bundle", "made on", "read on", "frames", "symbols", "differ", "classes changed"),
                [
                    (row["bundle"], row["made_on"], row["checked_on"], *(count(row[key]) for key in COUNTS))
                    for row in rows
                ],
            ),
        ),
        records,
        ("The aarch64 side is emulated. [aarch64.md](aarch64.md) says what else was checked there.",),
    )


def _hostile(record: Record) -> Section:
    summary = record["summary"]
    return Section(
        "Hostile bytes",
        f"libFuzzer found {count(summary['findings'])} faults in {count(summary['executions'])} executions "
        "of parser and both coders: whatever the bytes, there was a typed error or a packet of valid "
        "symbols.",
        (),
        (record,),
        (
            "Both coders have to agree on each input, and what they take has to be the only packet of its "
            "symbols.",
            "The seal is a check of 16 bits: forged packets with a valid CRC pass it by chance (*What the "
            "server sustains and survives*).",
            "Tests with hostile input, without a JSON: `pytest tests/runtime -k 'packet or coder or budget "
            "or preprocess'`, the long ones with `-m slow`.",
        ),
        ("pip install atheris",),
    )
