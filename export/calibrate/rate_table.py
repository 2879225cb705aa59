"""Bytes and agreement of each rate of a calibration, before any bundle is built."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from export.calibrate.backbones import Backbone
from export.calibrate.calibration import Calibrated
from export.calibrate.transform import Transform
from export.prior.factorized import channel_bits, channel_tables

IMAGES = 200


@torch.no_grad()
def rate_table(
    backbone: Backbone, calibrated: Calibrated, transforms: Iterable[tuple[int, Transform]]
) -> str:
    """A table as text: rate, step, active coefficients, bytes (factorized prior), agreement in percent.

    Agreement: how far split and unsplit network give the same answer (``export.tasks``), on 200 plain views.
    Calibration has seen these views, without labels; ``bench.accuracy`` measures accuracy on other images.
    """
    plain = calibrated.plain_features
    features = plain[:: max(1, len(plain) // IMAGES)]
    unsplit, objective = _outputs(backbone, features), backbone.objective(features[:1])
    lines = ["rate      step  coefficients  bytes  agreement"]
    for rate, transform in transforms:
        symbols = torch.round(torch.cat([transform.analysis(f) for f in calibrated.features.split(256)]))
        tables = channel_tables(symbols)
        y_hat = torch.round(transform.analysis(features))
        size = channel_bits(tables, y_hat) / 8
        agreement = objective.agreement(_outputs(backbone, transform.restore(y_hat)), unsplit)
        lines.append(
            f"{rate:4d}  {transform.step:8.5f}  {y_hat.shape[1]:12d}  {size:5.0f}  {100 * agreement:7.1f} %"
        )
    return "\n".join(lines)


def _outputs(backbone: Backbone, features: torch.Tensor) -> torch.Tensor:
    return torch.cat([backbone.tail(batch) for batch in features.split(50)])
