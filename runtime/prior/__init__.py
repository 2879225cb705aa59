"""Priors (entropy models): which table codes which symbol, and what the decoded symbols mean.

    FactorizedPrior   one table a channel                    y_sym = round(y)         y_hat = y_sym
    Hyperprior        z, whose exact h_s gives table, mean   y_sym = round(y - mean)  y_hat = y_sym + mean

in steps of the bundle, or in coarser ones (``runtime.codec.coarseness``).
"""

from __future__ import annotations

from runtime.bundle import Bundle
from runtime.codec.tables import Tables
from runtime.engines import EngineOptions
from runtime.errors import BundleError, CoderError
from runtime.prior.base import Prior
from runtime.prior.factorized import FactorizedPrior
from runtime.prior.hyperprior import Hyperprior
from runtime.prior.synthesis import open_synthesis


def open_prior(bundle: Bundle, options: EngineOptions) -> Prior:
    """The prior that a bundle's manifest names. Raises BundleError when its parts do not fit together."""
    manifest, arrays = bundle.manifest, bundle.arrays("prior")
    try:
        tables = Tables.from_arrays(arrays)
        if manifest.prior == "fp":
            return FactorizedPrior(tables, manifest.latent)
        if manifest.prior == "mshp" and manifest.hyper is not None:
            scales, h_s = Tables.from_arrays(bundle.arrays("scales")), open_synthesis(bundle, options)
            return Hyperprior(tables, scales, h_s, manifest.latent, manifest.hyper)
    except CoderError as error:
        raise BundleError(f"bundle {manifest.name}: {error}") from error
    raise BundleError(f"bundle {manifest.name}: unknown prior {manifest.prior!r}")
