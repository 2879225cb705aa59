"""Everything that needs torch: backbones, calibration, training, graphs. Makes bundles for ``runtime``."""

from runtime.cli.program import end_module_runs_with_a_line

end_module_runs_with_a_line()
