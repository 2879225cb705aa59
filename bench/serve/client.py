"""A device that can be killed: the client of ``runtime stream`` with a spool, behind an emulated link.

    python -m bench.serve.client FOLDER RUN ADDRESS --bundle NAME [--policy P] [--fps N] [--emulate LINK]

Its camera takes the pictures of FOLDER/images.npz again and again, until there is a file FOLDER/stop. Frame n
of a run is called ``RUN-n``. When the pipeline asks for the next frame, it has taken charge of the last one.
That name then goes into FOLDER/witness, a record apart from the client's own.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from bench.serve.emulated_link import Conditions, over
from runtime.bundle import load
from runtime.cli.program import prog, program
from runtime.engines import EngineOptions
from runtime.guard import Guard
from runtime.head import Head
from runtime.json_log import JsonLog
from runtime.streaming.buffer import POLICIES, Buffer
from runtime.streaming.connection import MODEL, Address, Connection
from runtime.streaming.pipeline import StreamPipeline
from runtime.streaming.sender import Link, Sender
from runtime.streaming.source import Shot, paced
from runtime.streaming.spool import Encoded, Spool
from runtime.streaming.window import MOST

BUFFER = 4
TIMEOUT = 5.0
LOST_SECONDS = 0.1
"""A frame is sent again after so long without an answer over the emulated link."""


def camera(folder: Path, run: str) -> Iterator[Shot]:
    """Pictures without end; the names of those that were taken charge of go to the witness."""
    images = np.load(folder / "images.npz")["images"]
    witness = os.open(folder / "witness", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    number = 0
    while not (folder / "stop").exists():
        yield Shot(f"{run}-{number}", partial(images.__getitem__, number % len(images)))
        os.write(witness, f"{run}-{number}\n".encode())
        number += 1


@program("bench.serve.client")
def main() -> int:
    """Stream until told to stop."""
    parser = argparse.ArgumentParser(prog=prog("bench.serve.client"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("run")
    parser.add_argument("address")
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--policy", choices=POLICIES, default="block")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--fps", type=float)
    parser.add_argument("--emulate", type=Conditions.of)
    options = parser.parse_args()
    links: list[Link] = [Connection(Address.of(options.address, TIMEOUT), options.model) for _ in range(MOST)]
    if options.emulate is not None:
        links = over(links, options.emulate, LOST_SECONDS, seed=os.getpid())
    guard = Guard() if options.policy == "shrink" else None
    head = Head(load(options.bundle), EngineOptions(threads=1), guard=guard)
    head.warm_up()
    spool, log = Spool(options.folder), JsonLog(options.folder / "log")
    buffer: Buffer[Encoded] = Buffer(BUFFER, options.policy)
    frames = paced(camera(options.folder, options.run), options.fps)
    StreamPipeline(frames, head, [Sender(link) for link in links], buffer, log, spool).run()
    spool.close()
    log.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
