import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.codec.coder import open_coder
from runtime.codec.packet import MAX_OVERHEAD, MAX_PAYLOAD, Flags, Packet, symbol_checksum
from runtime.codec.tables import gaussian_tables, scale_index
from runtime.errors import (
    PacketChecksumError,
    PacketError,
    PacketFormatError,
    PacketSyncError,
    PacketTooLarge,
    PacketTruncated,
)

ID = bytes(range(1, 9))
LIMIT = 1 << 16
TABLES = gaussian_tables()
CODER = open_coder("numba")


def sealed(body):
    return body + zlib.crc32(body).to_bytes(4, "little")


def test_golden_bytes():
    packet = Packet(ID, Flags.DENOISED | Flags.RATE_CONTROLLED, b"\xaa\xbb\x00")
    assert packet.to_bytes().hex() == "52480201020304050607080303aabb00" + "b4de3dc5"
    assert Packet(ID, Flags.NONE, b"").to_bytes()[:-4].hex() == "524802010203040506070800" + "00"
    assert Packet(ID, Flags.DENOISED, b"", 63).to_bytes()[:-4].hex() == "5248020102030405060708fd" + "00"
    assert Packet.from_bytes(packet.to_bytes(), LIMIT) == packet


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16383, 16384, 2_097_151, 2_097_152])
def test_round_trip_and_overhead(size):
    packet = Packet(ID, Flags.RATE_CONTROLLED, bytes(size), size % 64)
    data = packet.to_bytes()
    assert Packet.from_bytes(data, size) == packet
    assert packet.size == len(data)
    assert 17 <= len(data) - size <= MAX_OVERHEAD <= 24
    if size:
        with pytest.raises(PacketTooLarge, match="accepted"):
            Packet.from_bytes(data, size - 1)


def test_every_truncation_and_every_extra_byte_is_named():
    data = Packet(ID, Flags.NONE, bytes(200)).to_bytes()
    for end in range(len(data)):
        with pytest.raises(PacketTruncated):
            Packet.from_bytes(data[:end], LIMIT)
    with pytest.raises(PacketFormatError, match="1 bytes follow"):
        Packet.from_bytes(data + b"\0", LIMIT)


def test_every_flipped_bit_is_found():
    data = Packet(ID, Flags.DENOISED, b"payload").to_bytes()
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PacketError):
            Packet.from_bytes(bytes(damaged), LIMIT)


HEAD = b"RH\x02" + ID + b"\x00"


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", PacketTruncated, "0 bytes: a packet has at least 17"),
        (b"\x89PNG" + bytes(40), PacketFormatError, "not a ratehold packet"),
        (sealed(b"RH\x01" + ID + b"\0\0"), PacketFormatError, "version 1; this release reads version 2"),
        (sealed(HEAD + b"\x80\x00"), PacketFormatError, "shortest"),
        (sealed(HEAD + b"\x80\x80\x80\x80\x01"), PacketFormatError, "more than 4 bytes"),
        (sealed(HEAD + b"\xff\xff\xff\x7f"), PacketTooLarge, "268435455 payload bytes"),
        (sealed(HEAD + b"\x05abc"), PacketTruncated, "2 are missing"),
        (sealed(HEAD + b"\x02abc"), PacketFormatError, "1 bytes follow"),
        (HEAD + b"\x03abc" + bytes(4), PacketChecksumError, "damaged"),
    ],
)
def test_the_most_useful_message_comes_first(data, error, message):
    with pytest.raises(error, match=message):
        Packet.from_bytes(data, LIMIT)


class Huge(bytes):
    def __len__(self):
        return MAX_PAYLOAD + 1


@pytest.mark.parametrize(
    ("packet", "error"),
    [
        (Packet(b"short", Flags.NONE, b""), PacketFormatError),
        (Packet(ID, Flags(4), b""), PacketFormatError),
        (Packet(ID, Flags.NONE, b"", 64), PacketFormatError),
        (Packet(ID, Flags.NONE, b"", -1), PacketFormatError),
        (Packet(ID, Flags.NONE, Huge()), PacketTooLarge),
    ],
)
def test_what_does_not_fit_is_not_sent(packet, error):
    with pytest.raises(error):
        packet.to_bytes()


def test_symbol_checksum():
    z, y = np.array([1, -2, 3], dtype=np.int32), np.arange(6, dtype=np.int32).reshape(2, 3)
    data = b"".join(int(v).to_bytes(4, "little", signed=True) for v in [1, -2, 3, 0, 1, 2, 3, 4, 5])
    assert symbol_checksum(z, y) == zlib.crc32(data) & 0xFFFF
    assert symbol_checksum(z, y) != symbol_checksum(y, z)
    assert symbol_checksum(y.T) == symbol_checksum(y.T.copy())
    assert symbol_checksum() == symbol_checksum(z[:0]) == 0


def receive(data, index):
    """What a tail does with bytes: symbols, or a PacketError."""
    packet = Packet.from_bytes(data, LIMIT)
    decoder = CODER.decoder(packet.payload)
    symbols = decoder.pop(index, TABLES)
    decoder.finish(symbol_checksum(symbols))
    return symbols


def send(symbols, index):
    encoder = CODER.encoder(symbol_checksum(symbols))
    encoder.push(symbols, index, TABLES)
    return Packet(ID, Flags.NONE, encoder.finish()).to_bytes()


def frame(n, seed=0):
    rng = np.random.default_rng(seed)
    scales = np.exp(rng.uniform(np.log(0.11), np.log(200), n))
    return np.rint(rng.normal(size=n) * scales).astype(np.int32), scale_index(scales)


SYMBOLS, INDEX = frame(100)
HONEST = send(SYMBOLS, INDEX)
PAYLOAD = Packet.from_bytes(HONEST, LIMIT).payload


def check_hostile(data, index=INDEX):
    """A typed error, or symbols that an honest sender would have sent as exactly these bytes."""
    try:
        symbols = receive(data, index)
    except PacketError:
        return False
    packet = Packet.from_bytes(data, LIMIT)
    encoder = CODER.encoder(symbol_checksum(symbols))
    encoder.push(symbols, index, TABLES)
    assert encoder.finish() == packet.payload
    return True


def flips(data, random):
    """``data`` with one to eight damaged places: flipped bits, lost, doubled or random bytes."""
    damaged = bytearray(data)
    for _ in range(int(random.integers(1, 9))):
        place = int(random.integers(0, len(damaged) or 1))
        kind = int(random.integers(0, 5))
        if kind == 0:
            del damaged[place : place + int(random.integers(1, 9))]
        elif kind == 1:
            damaged[place:place] = random.bytes(int(random.integers(1, 9)))
        elif damaged:
            damaged[place % len(damaged)] ^= 1 << int(random.integers(0, 8))
    return bytes(damaged)


def repaired(payload):
    """The worst enemy: a payload of his own in a packet whose header and CRC are right."""
    return Packet(ID, Flags.NONE, payload).to_bytes()


def hostile_flips(cases, seed):
    """Half of the cases damage the packet, half the payload inside a packet that is otherwise right."""
    random = np.random.default_rng(seed)
    accepted = 0
    for case in range(cases):
        data = flips(HONEST, random) if case % 2 else repaired(flips(PAYLOAD, random))
        accepted += check_hostile(data)
    return accepted


payloads = st.binary(max_size=80) | st.binary(max_size=4).map(lambda b: PAYLOAD + b)
anything = (
    st.binary(max_size=60)
    | st.binary(max_size=60).map(lambda b: HEAD + b)
    | st.binary(max_size=60).map(lambda b: sealed(HEAD + b))
    | payloads.map(repaired)
)
quick = settings(max_examples=2_000, database=None, suppress_health_check=list(HealthCheck))


def test_honest_packet_is_read():
    assert np.array_equal(receive(HONEST, INDEX), SYMBOLS)
    assert len(HONEST) <= float(TABLES.information_bits(SYMBOLS, INDEX).sum()) / 8 + 24


@given(anything)
@quick
def test_hostile_bytes(data):
    check_hostile(data)


def test_damaged_packets():
    assert hostile_flips(2_000, seed=1) < 5  # 17 bits of checks are left once the CRC is forged


def test_wrong_tables_are_found():
    """A sender with another prior: a lost sync is an error, never a wrong answer."""
    for shift in (1, 5):
        with pytest.raises(PacketSyncError):
            receive(HONEST, (INDEX + shift) % 64)


def test_large_hostile_payload():
    random = np.random.default_rng(3)
    _, index = frame(72_600)
    for size in (0, 1, 1000, 30_000, LIMIT - 1):
        assert not check_hostile(repaired(random.bytes(size) + b"\1"), index)


def peak_growth(work):
    """Bytes by which ``work`` raised the peak of resident memory above what was in use before it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    except OSError:
        pytest.skip("peak memory needs Linux's /proc")
    field = lambda name: int(Path("/proc/self/status").read_text().split(name)[1].split()[0])  # noqa: E731
    before = field("VmRSS:")
    work()
    return 1024 * (field("VmHWM:") - before)


def check_memory(work):
    assert peak_growth(work) < 64 << 20


def test_hostile_bytes_take_little_memory():
    check_memory(test_large_hostile_payload)
    check_memory(lambda: hostile_flips(1_000, seed=2))


@pytest.mark.slow
@given(anything)
@settings(quick, max_examples=100_000)  # its memory is not checked: Hypothesis keeps what it has tried
def test_hostile_bytes_100000_times(data):
    check_hostile(data)


@pytest.mark.slow
def test_damaged_packets_200000_times():
    check_memory(lambda: hostile_flips(200_000, seed=4))
