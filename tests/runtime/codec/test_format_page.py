"""docs/format.md is enough to write a decoder, and what it says is what the product does."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.pack import FOLDER as PACK
from runtime.bundle import DEFAULT, INSTALLED, installed
from runtime.guard import Guard
from runtime.head import Head, load
from runtime.preprocess import read_image
from tests.runtime.codec import page_decoder
from tests.runtime.codec.page_decoder import FACTORS, Layer, PageDecoder, Refused, Stack, Synthesis, Table
from tests.runtime.codec.product import Codec, Flags, Frame, Packet
