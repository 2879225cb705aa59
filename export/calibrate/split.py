"""Cut a torch classifier in two behind a named module: head(x) -> features, tail(features) -> logits."""

from __future__ import annotations

import torch
from torch import fx, nn
from torch.fx.experimental.optimization import fuse

from export.errors import CutError


def split(model: nn.Module, cut: str) -> tuple[nn.Module, nn.Module]:
    """Split ``model`` behind the module called ``cut`` (a name as in ``model.named_modules()``).

    Returns (head, tail) in evaluation mode; ``tail(head(x))`` is ``model(x)`` up to rounding, because batch
    normalisation is folded into the convolutions. Raises CutError when the cut is not the only connection
    between the two: a skip connection across it would have to be transmitted too.
    """
    model = model.eval()
    names = [name for name, _ in model.named_modules() if name]
    if cut not in names:
        raise CutError(
            f"no module {cut!r}; the model's top modules: {', '.join(n for n in names if '.' not in n)}"
        )
    graph = _trace(model, cut)
    node = _last_call(graph, cut)
    before = set(list(graph.nodes)[: list(graph.nodes).index(node) + 1])
    _check_single_connection(graph, node, before, cut)
    return fuse(_head(model, graph, node)).eval(), fuse(_tail(model, graph, node, before)).eval()


def _trace(model: nn.Module, cut: str) -> fx.Graph:
    """Trace ``model`` with the module ``cut`` kept whole, so that its output is one node."""

    class Tracer(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return module_qualified_name == cut or super().is_leaf_module(m, module_qualified_name)

    try:
        return Tracer().trace(model)
    except (fx.proxy.TraceError, TypeError) as error:
        raise CutError(
            f"torch.fx cannot trace this model: {error}; give its head and tail as modules"
        ) from error


def _last_call(graph: fx.Graph, cut: str) -> fx.Node:
    calls = [node for node in graph.nodes if node.op == "call_module" and node.target == cut]
    if len(calls) != 1:
        raise CutError(f"module {cut!r} is called {len(calls)} times, not once; cut at another module")
    return calls[0]


def _check_single_connection(graph: fx.Graph, node: fx.Node, before: set[fx.Node], cut: str) -> None:
    crossing = {
        source
        for user in graph.nodes
        if user not in before and not _is_batch_size(user)
        for source in user.all_input_nodes
        if source in before and source is not node and source.op != "get_attr" and not _is_batch_size(source)
    }
    if crossing:
        raise CutError(f"{cut!r} is not the only connection: {sorted(map(str, crossing))} cross it too")


def _is_batch_size(node: fx.Node) -> bool:
    """Whether a node is ``x.size(0)``: the tail can take it from the features."""
    return node.op == "call_method" and node.target == "size" and node.args[1:] == (0,)


def _head(model: nn.Module, graph: fx.Graph, node: fx.Node) -> nn.Module:
    head = fx.Graph()
    values: dict[fx.Node, fx.Node] = {}
    for source in graph.nodes:
        values[source] = head.node_copy(source, lambda n: values[n])
        if source is node:
            break
    head.output(values[node])
    return fx.GraphModule(model, head).eval()


def _tail(model: nn.Module, graph: fx.Graph, node: fx.Node, before: set[fx.Node]) -> nn.Module:
    tail = fx.Graph()
    values = {node: tail.placeholder("features")}
    for source in graph.nodes:
        if _is_batch_size(source):
            values[source] = tail.call_method("size", (values[node], 0))
        elif source not in before or source.op == "get_attr":
            values[source] = tail.node_copy(source, lambda n: values[n])
    module = fx.GraphModule(model, tail)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module.eval()


class Normalised(nn.Module):
    """A classifier that takes images in [0, 1]: (x * scale - shift) per channel, then ``model``."""

    def __init__(self, model: nn.Module, scale: tuple[float, ...], shift: tuple[float, ...]):
        super().__init__()
        self.model = model
        self.scale = nn.Buffer(torch.tensor(scale).view(1, -1, 1, 1))
        self.shift = nn.Buffer(torch.tensor(shift).view(1, -1, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """float32 (N, 3, H, W) in [0, 1] -> logits."""
        return self.model(image * self.scale - self.shift)
