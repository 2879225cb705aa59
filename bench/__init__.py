"""Benchmarks: what a frame costs in time and bytes, beside peers, with the machine's description."""

import sys

if sys.version_info >= (3, 10):  # noqa: UP036  (jetson_check runs below, too, to say so)
    from runtime.cli.program import end_module_runs_with_a_line

    end_module_runs_with_a_line()
