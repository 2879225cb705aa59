"""A frame as OpenCV hands it over, whatever its pixel format -> what ``Head`` takes, if possible a view."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ImageError
from runtime.pictures import read_image
from runtime.preprocess import Nv12
from runtime.preprocess.nv12 import Matrix

PLANAR = ("NV12", "NV21", "I420", "YV12")
"""YUV 4:2:0: one channel of three halves of the picture's height."""

SEMI_PLANAR = ("NV12", "NV21")
"""Those of them that stay as they are until they are resized."""

PACKED = ("YUY2", "UYVY", "YVYU")
"""YUV 4:2:2: two channels."""

JPEG = b"\xff\xd8\xff"


def named_format(pipeline: str) -> str | None:
    """The pixel format that the caps of a GStreamer pipeline name last, such as NV12; None without one."""
    named = re.findall(r"format\s*=\s*(?:\(string\))?\s*[\"']?(\w+)", pipeline)
    return named[-1].upper() if named else None


def named_matrix(pipeline: str) -> Matrix:
    """The matrix of the colorimetry that a pipeline's caps name last; else BT.601, as OpenCV has it."""
    named = re.findall(r"colorimetry\s*=\s*(?:\(string\))?\s*[\"']?(bt601|bt709)", pipeline)
    return "bt709" if named[-1:] == ["bt709"] else "bt601"


def to_frame(
    frame: Any, pixel_format: str | None = None, height: int = 0, matrix: Matrix = "bt601"
) -> NDArray[np.uint8] | Nv12:
    """uint8 (H, W, 3) RGB, or NV12, of a frame of one to four channels. BGR, grey, NV12 and NV21 are views.

    pixel_format: as GStreamer names it; None: grey, YUY2, BGR or BGRA, by the number of channels.
    height: of the picture, 0 where it is not known; it tells YUV 4:2:0 from grey.
    matrix: of NV12 and NV21; OpenCV converts the other YUV formats, by BT.601.

    Raises ImageError, and nothing else, for anything that is no frame.
    """
    try:
        if pixel_format in SEMI_PLANAR:
            return _semi_planar(frame, pixel_format, matrix)
        return _rgb(frame, pixel_format, height)
    except ImageError:
        raise
    except Exception as error:  # whatever OpenCV raises costs this frame, and nothing else
        raise ImageError(f"a frame that cannot be converted: {' '.join(str(error).split())[:200]}") from error


def _semi_planar(frame: Any, pixel_format: str | None, matrix: Matrix) -> NDArray[np.uint8] | Nv12:
    if isinstance(frame, np.ndarray) and frame.ndim == 3 and frame.shape[2] > 1:
        return _rgb(frame, None, 0)  # converted already, whatever the caps say
    nv12 = Nv12.of(frame, matrix)
    return nv12 if pixel_format == "NV12" else Nv12(nv12.luma, nv12.chroma[:, :, ::-1], matrix)


def _rgb(frame: Any, pixel_format: str | None, height: int) -> NDArray[np.uint8]:
    if not isinstance(frame, np.ndarray) or frame.size == 0 or frame.ndim not in (2, 3):
        raise ImageError("the video gave no frame")
    if frame.dtype == np.uint16:  # GRAY16
        frame = ((frame.byteswap() if pixel_format == "GRAY16_BE" else frame) >> 8).astype(np.uint8)
    if frame.dtype != np.uint8:
        raise ImageError(f"a frame of {frame.dtype}, not of 8 or 16 bits: put format=BGR before appsink")
    channels = 1 if frame.ndim == 2 else frame.shape[2]
    if channels == 1:
        return _one_channel(frame.reshape(frame.shape[:2]), pixel_format, height)
    if channels == 2:
        return _converted(frame, pixel_format if pixel_format in PACKED else "YUY2")
    if channels not in (3, 4):
        raise ImageError(f"a frame of {channels} channels: put format=BGR before appsink")
    rgb = (pixel_format or "BGR").startswith("RGB")
    return frame[:, :, :3] if rgb else frame[:, :, 2::-1]


def _one_channel(frame: NDArray[np.uint8], pixel_format: str | None, height: int) -> NDArray[np.uint8]:
    if pixel_format in PLANAR:
        return _converted(frame, pixel_format)
    if frame.shape[0] == 1 and frame[0, :3].tobytes() == JPEG:  # image/jpeg
        return read_image(io.BytesIO(frame.tobytes()))
    if height and 2 * frame.shape[0] == 3 * height:
        raise ImageError("YUV 4:2:0 whose order is not known: name it before appsink, such as format=NV12")
    return frame


def _converted(frame: NDArray[np.uint8], pixel_format: str) -> NDArray[np.uint8]:
    import cv2

    converted: Any = cv2.cvtColor(frame, getattr(cv2, f"COLOR_YUV2RGB_{pixel_format}"))
    return converted
