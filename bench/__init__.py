"""Benchmarks: what a frame costs in time and bytes, beside peers, with the machine's description."""

from runtime.cli.program import end_module_runs_with_a_line

end_module_runs_with_a_line()
