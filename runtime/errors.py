"""Everything that ratehold raises on purpose.

    RateholdError
    ├── ImageError            not an image, or not one that can be prepared for the head
    ├── BundleError           a bundle is missing, damaged, or not the one that is needed
    ├── EngineError           a graph did not do what its bundle says
    │   └── EngineUnavailable an engine or a provider is not installed (the message says how to install it)
    ├── CoderError            a coder backend is not installed, or its tables are not coding tables
    ├── DefenceError          settings of the guard, the denoiser or its mask that make no sense
    ├── BudgetError           fewer bytes than the bundle needs for any frame at all
    ├── ServingError          the server cannot be opened as it was asked to, or cannot answer a request
    │   ├── RequestError          not a request that this server understands
    │   ├── UnknownModel          a model that this server does not have
    │   ├── TryLater              the queue is full, or the server is about to stop: send it again
    │   │   └── Crowded               more is being received than the server holds: send it again
    │   └── TooSlow               not answered in time
    ├── WheelhouseError       the wheels of a board cannot be fetched
    ├── StreamError           the source of frames cannot be read, or the server refuses this client
    └── PacketError           bytes that are not a packet
        ├── PacketFormatError     magic, version, flags or lengths are wrong
        ├── PacketTruncated       bytes are missing
        ├── PacketTooLarge        more bytes than any packet of this bundle can have
        ├── PacketChecksumError   CRC-32 does not match: damaged on the way
        ├── PacketBundleMismatch  made by another bundle than the one that decodes
        └── PacketSyncError       symbols do not match their checksum, or a code that no encoder writes

Every message names the cure where there is one.
"""


class RateholdError(Exception):
    """Base of all errors that ratehold raises on purpose."""


class ImageError(RateholdError):
    """The input is not an image, or not one that can be prepared for the head."""


class BundleError(RateholdError):
    """A bundle is missing, damaged, or not the one that is needed."""


class EngineError(RateholdError):
    """A graph cannot be opened, or did not do what its bundle says."""


class EngineUnavailable(EngineError):
    """An engine or one of its providers is not installed; the message says how to install it."""


class CoderError(RateholdError):
    """A coder backend is not installed, or its tables are not coding tables."""


class DefenceError(RateholdError):
    """Settings of the guard, the denoiser or its mask that make no sense."""


class BudgetError(RateholdError):
    """A budget that a bundle cannot promise to keep; the message names the least that it can."""


class ServingError(RateholdError):
    """The server cannot be opened as it was asked to, or cannot answer a request."""


class RequestError(ServingError):
    """Not a request of the Open Inference Protocol that this server understands."""


class UnknownModel(ServingError):
    """The request names a model that this server does not have."""


class TryLater(ServingError):
    """The queue is full, or the server is about to stop; nothing was done, send it again."""


class Crowded(TryLater):
    """More is being received at the moment than the server holds; send it again."""


class TooSlow(ServingError):
    """The request was not received, or not answered, in time."""


class WheelhouseError(RateholdError):
    """The wheels of a board cannot be fetched, or do not fit it."""


class StreamError(RateholdError):
    """The source of frames cannot be read, or the server refuses this client."""


class PacketError(RateholdError):
    """Bytes that are not a packet; the subclass says which check they failed."""


class PacketFormatError(PacketError):
    """Magic, version, flags or lengths are wrong."""


class PacketTruncated(PacketError):
    """Bytes are missing at the end."""


class PacketTooLarge(PacketError):
    """More bytes than any packet of this bundle can have."""


class PacketChecksumError(PacketError):
    """The CRC-32 does not match: the bytes were damaged on the way."""


class PacketBundleMismatch(PacketError):
    """The packet was made by another bundle than the one that is asked to decode it."""


class PacketSyncError(PacketError):
    """The decoded symbols do not match their checksum, or the stream holds a code that no encoder writes."""
