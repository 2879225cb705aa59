"""Whether the decoder written from the page and the product's agree about a packet."""

from __future__ import annotations

import numpy as np

from tests.runtime.codec import page_decoder, product


def check_equal(page: page_decoder.Frame, frame: product.Frame | str) -> None:
    """Symbols, y_hat bit for bit, and the header."""
    assert not isinstance(frame, str), frame
    assert np.array_equal(page.y, frame.y)
    assert page.z is None if frame.z is None else np.array_equal(page.z, frame.z)
    assert page.y_hat.dtype == frame.y_hat.dtype == np.float32
    assert page.y_hat.tobytes() == frame.y_hat.tobytes()
    assert page.coarseness == frame.coarseness
    assert page.denoised + 2 * page.rate_controlled == frame.flags


def check_verdict(codec: product.Codec, page: page_decoder.PageDecoder, packet: bytes) -> str:
    """Both take the packet and read the same, or both refuse it for the same reason; the verdict."""
    try:
        frame = page.decode(packet)
    except page_decoder.Refused as refused:
        assert codec.decode(packet) == refused.verdict
        return refused.verdict
    check_equal(frame, codec.decode(packet))
    return "accepted"
