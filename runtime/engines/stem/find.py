"""Where the graph of a paper network's head begins with a stem, and what is left of it without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native_denoise.vectors.simd import LANES
from runtime.engines.onnx_file import FLOAT, attributes, floats, parse, shape_of
from runtime.engines.stem.gdn import TILE

LEVEL = ("Conv", "Abs", "Conv", "Div")
OPERATIONS = ("Sub", *LEVEL, *LEVEL)
KERNEL, STRIDE = 5, 2
PADDING = KERNEL // 2

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Level:
    """A convolution of stride 2 and its GDN. weights: float32 (C, c, 5, 5). gamma: (C, C). beta: (C,)."""

    weights: Array
    gamma: Array
    beta: Array


@dataclass(frozen=True)
class Stem:
    """What a head begins with.

    name: of the input.
    side: of the image, in pixels.
    mean: float32 (c,), subtracted from each channel before zeros are put around it.
    levels: one after the other.
    rest: ONNX file of what follows; its one input is what the stem returns, float32 (1, C, side/4, side/4).
    """

    name: str
    side: int
    mean: Array
    levels: tuple[Level, Level]
    rest: bytes


def find_stem(model: bytes) -> Stem | None:
    """The stem of an ONNX file; None where it does not begin with one, or with one of another shape.

    Raises EngineError for what is no ONNX file.
    """
    parsed = parse(model)
    graph = parsed.graph
    nodes = list(graph.node[: len(OPERATIONS)])
    if tuple(node.op_type for node in nodes) != OPERATIONS or not _are_a_stem(graph, nodes):
        return None
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    names = [nodes[0].input[1]]
    for convolve, _, norm, _ in (nodes[1:5], nodes[5:]):
        names += [convolve.input[1], norm.input[1], norm.input[2]]
    found = [floats(tensors[name]) for name in names if name in tensors]
    known = [values for values in found if values is not None]
    shape = shape_of(graph.input[0])
    if len(known) < len(names) or not _fits(shape, [values.shape for values in known]):
        return None
    mean, *levels = known
    first, second = (Level(w, g.reshape(g.shape[:2]), b) for w, g, b in (levels[:3], levels[3:]))
    side = shape[2] // STRIDE**2
    rest = _rest(parsed, nodes[-1].output[0], (1, len(second.beta), side, side))
    return Stem(nodes[0].input[0], shape[2], mean.reshape(-1), (first, second), rest)


def _are_a_stem(graph: Any, nodes: list[Any]) -> bool:
    """Whether these nodes take the graph's one input and each other's results, which nobody else wants."""
    subtract, first, second = nodes[0], nodes[1:5], nodes[5:]
    shown = {value.name for value in graph.output}
    used = {name for node in graph.node[len(nodes) :] for name in node.input}
    inside = {name for node in nodes[:-1] for name in node.output}
    return (
        len(graph.input) == 1
        and list(subtract.input[:1]) == [graph.input[0].name]
        and len(subtract.input) == 2
        and _is_level(first, subtract.output[0])
        and _is_level(second, first[-1].output[0])
        and not inside & used
        and not (inside | set(nodes[-1].output)) & shown
    )


def _is_level(nodes: list[Any], given: str) -> bool:
    convolve, magnitude, norm, divide = nodes
    x = convolve.output[0]
    return (
        [len(convolve.input), len(norm.input)] == [2, 3]
        and convolve.input[0] == given
        and list(magnitude.input) == [x]
        and norm.input[0] == magnitude.output[0]
        and list(divide.input) == [x, norm.output[0]]
        and _is_convolution(convolve, STRIDE, PADDING)
        and _is_convolution(norm, 1, 0)
    )


def _is_convolution(node: Any, stride: int, padding: int) -> bool:
    """Whether a Conv has these, on both axes, and is otherwise as plain as can be."""
    plain: dict[str, Any] = {"auto_pad": b"NOTSET", "group": 1, "dilations": [1, 1]}
    wanted = plain | {"strides": [stride] * 2, "pads": [padding] * 4}
    given = {"strides": [1, 1], "pads": [0] * 4} | attributes(node)
    given.pop("kernel_shape", None)  # that of its weights
    return plain | given == wanted


def _fits(image: Sequence[int], shapes: list[tuple[int, ...]]) -> bool:
    """Whether the kernels have rows of whole vectors, a tile at least."""
    if len(image) != 4 or image[0] != 1 or image[2] != image[3]:
        return False
    c, half = image[1], image[2] // STRIDE
    wide = image[2] % STRIDE == 0 and half % LANES == 0 and half // STRIDE >= TILE
    (a, *_), (b, *_) = shapes[3], shapes[6]
    return (
        wide
        and shapes[:1] == [(1, c, 1, 1)]
        and shapes[1:4] == [(a, c, KERNEL, KERNEL), (a, a, 1, 1), (a,)]
        and shapes[4:] == [(b, a, KERNEL, KERNEL), (b, b, 1, 1), (b,)]
    )


def _rest(parsed: Any, name: str, shape: tuple[int, ...]) -> bytes:
    graph = parsed.graph
    del graph.node[: len(OPERATIONS)], graph.value_info[:]
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    (given,) = graph.input
    given.name, tensor_type = name, given.type.tensor_type
    assert tensor_type.elem_type == FLOAT
    for dimension, size in zip(tensor_type.shape.dim, shape, strict=True):
        dimension.dim_value = size
    rest: bytes = parsed.SerializeToString()
    return rest
