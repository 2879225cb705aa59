"""One request of either transport: its bundle, repetition, time-out, counts and log; and the drain."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from runtime.errors import Crowded, TooSlow, TryLater
from runtime.json_log import JsonLog
from runtime.serving.metrics import Metrics
from runtime.serving.models import Models
from runtime.serving.options import Options
from runtime.serving.pool import Pool
from runtime.serving.protocol import VERSION, Answer, Fault, Request, checked, fault

Key = tuple[str, bytes]

STUCK = 6
"""A full queue is answered within the time-out, as a rule; a worker that hangs never comes back."""

MOST_ASKING = 1024
"""Most requests that wait for answers, repetitions included."""


class Recent:
    """The last ``capacity`` requests with an id, and their answers, given or pending.

    A key is the id *and* the packet's SHA-256, so two clients with the same ids never get each other's
    answers. A failed request is forgotten: the next request with its id is tried anew.
    """

    def __init__(self, capacity: int):
        self._capacity = capacity
        self._answers: OrderedDict[Key, asyncio.Future[Answer]] = OrderedDict()

    def find(
        self, identity: str, packet: bytes, ask: Callable[[], asyncio.Future[Answer]]
    ) -> tuple[asyncio.Future[Answer], bool]:
        """The answer to a request, and whether it is a repetition; a new request calls ``ask``."""
        if not identity:
            return ask(), False
        key = identity, hashlib.sha256(packet).digest()
        known = self._answers.get(key)
        if known is not None:
            self._answers.move_to_end(key)
            return known, True
        future = self._answers[key] = ask()
        future.add_done_callback(lambda done: self._settle(key, done))
        if len(self._answers) > self._capacity:
            self._answers.popitem(last=False)
        return future, False

    def _settle(self, key: Key, done: asyncio.Future[Answer]) -> None:
        if (done.cancelled() or done.exception() is not None) and self._answers.get(key) is done:
            del self._answers[key]


class Service:
    """Answers requests. Workers decode; everything else runs in the event loop's thread.

    Attributes:
        models: bundles by model name.
        options: of the server.
        metrics: counters.
        watchers: called once with each decoded frame, in the event loop's thread.
        turned_away: requests and connections that were refused, so far.
    """

    def __init__(self, models: Models, options: Options, log: JsonLog):
        self.models, self.options = models, options
        self._draining, self._asking, self.turned_away = False, 0, 0
        self._waiters: Counter[asyncio.Future[Answer]] = Counter()
        self.watchers: list[Callable[[Request, Answer], None]] = []
        self.metrics = Metrics(lambda: self._pool.waiting, lambda: log.lost)
        self._pool = Pool(
            models.bundles,
            options.workers,
            options.queue,
            options.batch,
            options.batch_wait,
            self.metrics.run,
        )
        self._recent = Recent(options.remember)
        self._log = log

    @property
    def one_by_one(self) -> dict[str, str]:
        """Bundles whose frames never share a run of the tail, by name, and why."""
        return self._pool.networks.one_by_one

    @property
    def pending(self) -> int:
        """Frames accepted and not yet answered."""
        return self._pool.pending

    @property
    def ready(self) -> bool:
        """Whether requests are taken and a worker lives; False while the server drains."""
        return not self._draining and self._pool.staffed()

    @property
    def stuck(self) -> bool:
        """Whether a frame has waited for ``STUCK`` times the time-out: no worker comes back to it."""
        return self._pool.longest_wait > STUCK * self.options.timeout

    def index(self) -> list[dict[str, str]]:
        """Every model, as the protocol's repository index has it."""
        state = "READY" if self.ready else "UNAVAILABLE"
        return [{"name": name, "version": VERSION, "state": state} for name in self.models.names()]

    async def infer(self, request: Request, protocol: str) -> Answer:
        """Decode a packet, or recall its answer.

        Raises UnknownModel, a PacketError, RequestError, TryLater, TooSlow, or EngineError. A frame that
        takes longer than the time-out is decoded all the same; the next request with its id finds the answer.
        A frame whose clients have all hung up before a worker began with it is not decoded."""
        if self._draining:
            raise TryLater("this server is about to stop: try another, or try later")
        if self._asking >= MOST_ASKING:
            raise Crowded(f"{MOST_ASKING} requests are waiting already: try later")
        begin = time.perf_counter()
        bundle = self.models.route(request.model, request.packet)
        checked(bundle.task, request)
        future, repeated = self._recent.find(
            request.identity, request.packet, lambda: self._pool.submit(bundle, request.packet)
        )
        if repeated:
            self.metrics.repeated()
        else:
            future.add_done_callback(lambda done: self._count(done, request))
        await self._wait(future)
        if not future.done():
            raise TooSlow(f"not decoded within {self.options.timeout:g} s")
        answer = future.result()
        write = self._log.seldom if repeated else self._log  # a frame is asked for again at a client's will
        write(
            "answered", protocol=protocol, id=request.identity, model=request.model, bundle=answer.bundle,
            bytes=len(request.packet), flags=int(answer.flags),
            coarseness=answer.coarseness, repeated=repeated, together=answer.together,
            ms={stage: round(1e3 * seconds, 3) for stage, seconds in answer.seconds.items()},
            together_ms=round(1e3 * (time.perf_counter() - begin), 3),
        )  # fmt: skip
        return answer

    def failed(self, error: Exception, protocol: str, identity: str = "") -> Fault:
        """Count and log an error; returns the answer to it."""
        told = fault(error)
        self.turned_away += 1
        self.metrics.error(protocol, told.kind)
        self._log.seldom("refused", told.kind, protocol=protocol, id=identity, error=str(error))
        return told

    def refused(self, kind: str, text: str) -> None:
        """Count and log a connection that was closed before a whole request came."""
        self.turned_away += 1
        self.metrics.refused(kind)
        self._log.seldom("connection refused", kind, error=text)

    async def drain(self) -> None:
        """Take no new requests, and wait at most ``options.drain`` seconds for the accepted ones."""
        self._draining = True
        deadline = time.monotonic() + self.options.drain
        while self.pending and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    def close(self) -> None:
        """Let the workers go."""
        self._pool.close()

    async def _wait(self, future: asyncio.Future[Answer]) -> None:
        """Wait for an answer, at most the time-out, which does not cancel it; the last who leaves does."""
        self._waiters[future] += 1
        self._asking += 1
        try:
            await asyncio.wait([future], timeout=self.options.timeout)
        except asyncio.CancelledError:
            if self._waiters[future] == 1:
                self._pool.withdraw(future)
            raise
        finally:
            self._asking -= 1
            self._waiters[future] -= 1
            if not self._waiters[future]:
                del self._waiters[future]

    def _count(self, done: asyncio.Future[Answer], request: Request) -> None:
        if done.cancelled() or done.exception() is not None:
            return
        self.metrics.frame(done.result(), len(request.packet))
        for watcher in self.watchers:
            try:
                watcher(request, done.result())
            except Exception as error:  # the frame is answered all the same
                self._log.seldom("watcher failed", type(error).__name__, error=str(error))
