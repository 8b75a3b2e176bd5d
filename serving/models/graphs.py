"""Which operations a TensorFlow graph uses."""

from collections.abc import Callable, Iterable

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef


class Operations:
    """Finds the operations of a graph that some tensors depend on."""

    def __init__(self, graph: GraphDef):
        self._nodes = {node.name: node for node in graph.node}
        self._bodies = {function.signature.name: function.node_def for function in graph.library.function}
        self._named = {name: {part for node in body for part in _names(node)} for name, body in self._bodies.items()}

    def of(self, tensors: Iterable[str]) -> set[str]:
        """The types of the operations that `tensors` depend on, including those in called functions."""
        needed = _closure(map(_node, tensors), lambda name: map(_node, self._nodes[name].input))
        kinds = {part for name in needed for part in _names(self._nodes[name])}
        return _closure(kinds, lambda name: self._named.get(name, ()))


def _closure(names: Iterable[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    """`names`, what `following` returns for them, for that in turn, and so on."""
    seen, waiting = set(), list(names)
    while waiting:
        if (name := waiting.pop()) not in seen:
            seen.add(name)
            waiting += following(name)
    return seen


def _node(tensor: str) -> str:
    """The name of the node in that of its output, `name:0`, or of a control dependency, `^name`."""
    return tensor.removeprefix("^").partition(":")[0]


def _names(node: NodeDef) -> set[str]:
    """The node's operation, which may be a function, and the functions among its attributes."""
    given = [function for value in node.attr.values() for function in (value.func, *value.list.func)]
    return {node.op, *(function.name for function in given if function.name)}
