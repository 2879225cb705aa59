"""A bundle: one deployable model, as a folder with a manifest that names, sizes and hashes every file.

    efficientnet_lite0-mshp-r1/
        manifest.json    schema, shapes, how to prepare an image, clean rates, provenance
        head.onnx        image -> y (and z)
        prior.npz        coding tables (integers), basis energy, exact h_s
        h_s.onnx         the exact h_s as a graph (MSHP only)
        shield.onnx      image -> y (and z) of a frame that is defended (robust bundles only)
        adapted.onnx     image -> y (and z) of a frame that looks corrupted (robust bundles only)
        guard.npz        what makes a frame suspicious (robust bundles only)
    shared/              files that several bundles use: restore, tail, labels, scale tables

Loading executes and unpickles nothing, and takes a bounded amount of time and memory whatever a folder holds.
A bundle's identity is the SHA-256 of its manifest: bundles with the same id decode each other's packets.
"""

from runtime.bundle.folder import INSTALLED, Bundle, installed, load
from runtime.bundle.manifest import MANIFEST, SCHEMA, SHARED, FileEntry, Manifest, check_name

DEFAULT = "efficientnet_lite0-mshp-r1-robust"
ROBUST = "-robust"
"""Suffix of a bundle's name: the bundle without it, plus a shield, an adapted head and an alarm."""

__all__ = [
    "DEFAULT",
    "INSTALLED",
    "MANIFEST",
    "ROBUST",
    "SCHEMA",
    "SHARED",
    "Bundle",
    "FileEntry",
    "Manifest",
    "check_name",
    "installed",
    "load",
]
