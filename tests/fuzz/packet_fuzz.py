"""Coverage-guided fuzzing of what a server does with a packet before any network runs.

    pip install atheris
    python -m tests.fuzz.packet_fuzz [--seconds 600] [--json PATH]

Whatever the bytes, both coder backends must say the same: the same symbols, whose packet is these very bytes,
or a PacketError. A quarter of the mutations get their length and CRC-32 put right, so that they come as far
as the decoder, and a quarter become symbols that are coded, so that they come past its seal as well.
libFuzzer runs in a child process, since it never returns; what it finds lies in ``--findings``, and fails.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.common import options as options_of
from bench.common import report

COUNTS = {
    "executions": r"stat::number_of_executed_units:\s*(\d+)",
    "executions_per_s": r"stat::average_exec_per_sec:\s*(\d+)",
    "edges_covered": r"cov: (\d+)",
    "features": r"ft: (\d+)",
    "corpus": r"corp: (\d+)",
}
"""What libFuzzer says last; edges are those of the Python modules, the compiled kernels have none."""

MAX_PACKET = 1024


def child(bundles: str, corpus: str, findings: str, seconds: str) -> None:
    """Run libFuzzer; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=["runtime"], exclude=["runtime.codec.numba_kernels"]):
        from runtime import tail  # noqa: F401  (imported here to be instrumented)
    from tests.fuzz.check import Checks

    checks = Checks([Path(bundles, "tiny-fp"), Path(bundles, "tiny-mshp")])

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        if seed % 4 < 2:
            return bytes(atheris.Mutate(data, max_size))
        payload = bytes(atheris.Mutate(checks.payload(data), MAX_PACKET - 32))
        return (checks.sealed if seed % 4 == 2 else checks.coded)(payload, seed // 4)

    for name, data in checks.examples().items():
        Path(corpus, name).write_bytes(data)
    options = [f"-max_total_time={seconds}", f"-max_len={MAX_PACKET}", "-print_final_stats=1"]
    options += ["-timeout=10", "-rss_limit_mb=2048", f"-artifact_prefix={findings}/", corpus]
    atheris.Setup([sys.argv[0], *options], checks.check, custom_mutator=mutate)
    atheris.Fuzz()


def run(seconds: int, findings: Path) -> tuple[dict[str, Any], str]:
    """Fuzz in a child: what libFuzzer counted and what it found, and what it said last."""
    from tests.tiny_bundle import make_tiny_bundle

    findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        bundles, corpus = Path(folder), Path(folder) / "corpus"
        make_tiny_bundle(bundles, "fp")
        make_tiny_bundle(bundles, "mshp")
        corpus.mkdir()
        code = "import sys; from tests.fuzz.packet_fuzz import child; child(*sys.argv[1:])"
        command = [sys.executable, "-c", code, folder, str(corpus), str(findings), str(seconds)]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    said = done.stderr
    counts = {name: int(found[-1]) for name, text in COUNTS.items() if (found := re.findall(text, said))}
    found = sorted(path.name for path in findings.iterdir())
    return {"seconds": seconds, **counts, "findings": len(found), "status": done.returncode}, said[-4000:]


def main() -> int:
    """0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="tests.fuzz.packet_fuzz")
    parser.add_argument("--seconds", type=int, default=600, help="(default: %(default)s)")
    parser.add_argument("--findings", type=Path, default=Path("out/fuzz"), help="(default: %(default)s)")
    options_of.add_json(parser)
    options = parser.parse_args()
    counts, said = run(options.seconds, options.findings)
    if counts["status"] or counts["findings"]:
        print(said, file=sys.stderr)
    settings = {
        "engine": "atheris (libFuzzer)",
        "bundles": ["tiny-fp", "tiny-mshp"],
        "max_packet": MAX_PACKET,
    }
    result = report.write(options.json, "fuzz", settings, [counts], counts)
    print(result["summary"])
    return int(bool(counts["status"] or counts["findings"]))


if __name__ == "__main__":
    sys.exit(main())
