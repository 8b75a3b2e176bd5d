"""What is in a graph."""

from collections.abc import Callable, Iterable

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef


class Operations:
    """Looks up the operations of a graph by what they contribute to."""

    def __init__(self, graph: GraphDef):
        self._nodes = {node.name: node for node in graph.node}
        self._bodies = {function.signature.name: function.node_def for function in graph.library.function}
        self._named = {name: {part for node in body for part in _names(node)} for name, body in self._bodies.items()}

    def of(self, tensors: Iterable[str]) -> set[str]:
        """The kinds of operations that `tensors` need, those in the functions that are called among them."""
        needed = _closure(map(_node, tensors), lambda name: map(_node, self._nodes[name].input))
        kinds = {part for name in needed for part in _names(self._nodes[name])}
        return _closure(kinds, lambda name: self._named.get(name, ()))


def _closure(names: Iterable[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    """`names`, what follows from them, what follows from that …"""
    seen, waiting = set(), list(names)
    while waiting:
        if (name := waiting.pop()) not in seen:
            seen.add(name)
            waiting += following(name)
    return seen


def _node(tensor: str) -> str:
    """The name of the node in that of its output, as in `name:0`, or in `^name`, which only comes first."""
    return tensor.removeprefix("^").partition(":")[0]


def _names(node: NodeDef) -> set[str]:
    """The node's operation, which may be a function, and the functions that it is given."""
    given = [function for value in node.attr.values() for function in (value.func, *value.list.func)]
    return {node.op, *(function.name for function in given if function.name)}
