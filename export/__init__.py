"""Makes bundles for ``runtime``: calibration, training, graphs. Everything that needs torch is here."""

from runtime.cli.program import end_module_runs_with_a_line

end_module_runs_with_a_line()
