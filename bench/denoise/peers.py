"""Other denoisers on the same image: loops in torch, scikit-image, OpenCV.

Every peer is a call without arguments that returns (H, W, C) float32 in about [0, 1]; what it needs is
prepared outside it.  A peer whose package is missing is left out with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from bench.denoise.images import Image
from native_denoise import Settings


@dataclass(frozen=True)
class DenoiserPeer:
    """Another denoiser, ready to run."""

    name: str
    run: Callable[[], Image]
    same_as: str | None = None
    """Our mode that computes the same iteration, so that the outputs must agree."""
    minimises: bool = False
    """It minimises our objective E, so the two are compared at an equal one."""


def peers(
    noisy: Image, mask: Image, modes: dict[str, Settings], threads: int
) -> tuple[list[DenoiserPeer], dict[str, str]]:
    """All peers that are installed, and {name of a missing package: reason}."""
    found: list[DenoiserPeer] = []
    missing = {}
    for package, make in (("torch", _torch), ("skimage", _scikit_image), ("cv2", _opencv)):
        try:
            import_module(package)
        except ImportError as error:
            missing[package] = f"not installed ({error})"
            continue
        found += make(noisy, mask, modes, threads)
    return found, missing


def _torch(noisy: Image, mask: Image, modes: dict[str, Settings], threads: int) -> list[DenoiserPeer]:
    import torch

    torch.set_num_threads(threads)
    f = torch.from_numpy(np.ascontiguousarray(noisy.transpose(2, 0, 1)))
    m = torch.from_numpy(mask)

    def differences(u: Any) -> tuple[Any, Any]:
        along_x, along_y = torch.zeros_like(u), torch.zeros_like(u)
        torch.sub(u[..., 1:], u[..., :-1], out=along_x[..., :-1])
        torch.sub(u[..., 1:, :], u[..., :-1, :], out=along_y[..., :-1, :])
        return along_x, along_y

    @torch.no_grad()
    def released() -> Image:
        chosen, u = modes["released"], f.clone()
        rate = chosen.step * chosen.weight * m
        for _ in range(chosen.iterations):
            along_x, along_y = differences(u)
            u += rate * (along_x + along_y)
        return u.numpy().transpose(1, 2, 0)

    @torch.no_grad()
    def descent() -> Image:
        chosen, u = modes["descent"], f.clone()
        for _ in range(chosen.iterations):
            along_x, along_y = differences(u)
            length = torch.sqrt(along_x**2 + along_y**2 + chosen.epsilon**2)
            p_x, p_y = along_x / length, along_y / length
            divergence = p_x + p_y
            divergence[..., 1:] -= p_x[..., :-1]
            divergence[..., 1:, :] -= p_y[..., :-1, :]
            u = u - chosen.step * m * ((u - f) - chosen.weight * divergence)
        return u.numpy().transpose(1, 2, 0)

    @torch.no_grad()
    def descent_in_place() -> Image:
        chosen, u = modes["descent"], f.clone()
        rate = chosen.step * m
        for _ in range(chosen.iterations):
            along_x, along_y = differences(u)
            scale = torch.rsqrt(along_x * along_x + along_y * along_y + chosen.epsilon**2)
            along_x *= scale
            along_y *= scale
            divergence = along_x + along_y
            divergence[..., 1:] -= along_x[..., :-1]
            divergence[..., 1:, :] -= along_y[..., :-1, :]
            u -= rate * ((u - f) - chosen.weight * divergence)
        return u.numpy().transpose(1, 2, 0)

    return [
        DenoiserPeer("torch loop, released", released, same_as="released"),
        DenoiserPeer("torch loop, descent", descent, same_as="descent"),
        DenoiserPeer("torch loop, descent, in place and rsqrt", descent_in_place, same_as="descent"),
    ]


def _scikit_image(noisy: Image, mask: Image, modes: dict[str, Settings], threads: int) -> list[DenoiserPeer]:
    weight = modes["rof"].weight
    return [
        DenoiserPeer(
            "scikit-image Chambolle, 100 steps", lambda: chambolle(noisy, weight, 100), minimises=True
        ),
        DenoiserPeer("scikit-image Bregman", lambda: bregman(noisy, weight), minimises=True),
    ]


def chambolle(noisy: Image, weight: float, steps: int) -> Image:
    """scikit-image's projection on the dual; its weight is our lambda. eps = 0: no stop before ``steps``."""
    from skimage.restoration import denoise_tv_chambolle

    return denoise_tv_chambolle(noisy, weight=weight, eps=0.0, max_num_iter=steps, channel_axis=-1)


def bregman(noisy: Image, weight: float) -> Image:
    """scikit-image's split Bregman at its default stop; its weight is 1 / lambda."""
    from skimage.restoration import denoise_tv_bregman

    return denoise_tv_bregman(noisy, weight=1.0 / weight, isotropic=True, channel_axis=-1)


def _opencv(noisy: Image, mask: Image, modes: dict[str, Settings], threads: int) -> list[DenoiserPeer]:
    import cv2

    cv2.setNumThreads(threads)
    bytes_ = np.ascontiguousarray((noisy * 255 + 0.5).astype(np.uint8))

    def tvl1() -> Image:
        planes = []
        for channel in range(bytes_.shape[2]):
            plane = np.ascontiguousarray(bytes_[..., channel])
            result = np.empty_like(plane)
            cv2.denoise_TVL1([plane], result, 1.0, 30)
            planes.append(result)
        return np.stack(planes, axis=-1).astype(np.float32) / 255

    def non_local_means() -> Image:
        return cv2.fastNlMeansDenoisingColored(bytes_, None, 8, 8, 7, 21).astype(np.float32) / 255

    def gaussian() -> Image:
        blurred: Image = cv2.GaussianBlur(noisy, (0, 0), 1.2, borderType=cv2.BORDER_REPLICATE)  # type: ignore
        return blurred

    return [
        DenoiserPeer("OpenCV TVL1, 30 steps", tvl1),
        DenoiserPeer("OpenCV non-local means", non_local_means),
        DenoiserPeer("OpenCV Gaussian blur, sigma 1.2", gaussian),
    ]
