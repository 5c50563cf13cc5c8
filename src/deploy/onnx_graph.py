"""Reading and changing ONNX graphs."""

from collections.abc import Iterator, Sequence
from graphlib import TopologicalSorter
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, helper, numpy_helper


def drop_unused(graph: GraphProto) -> None:
    """Drop nodes and constants that nothing reads any more."""
    needed = {output.name for output in graph.output}
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if needed.isdisjoint(node.output):
            del graph.node[index]
        else:
            needed.update(node.input)
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in needed:
            del graph.initializer[index]


def replace_nodes(graph: GraphProto, nodes: Sequence[NodeProto]) -> None:
    """Let a graph have these nodes, some of which may be its own, in this order."""
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def sort_nodes(graph: GraphProto) -> None:
    """Let each node stand behind those whose results it reads, as ONNX wants it."""
    makers = {output: number for number, node in enumerate(graph.node) for output in node.output}
    reading = {n: [makers[name] for name in node.input if name in makers] for n, node in enumerate(graph.node)}
    replace_nodes(graph, [graph.node[number] for number in TopologicalSorter(reading).static_order()])


def rename_values(graph: GraphProto, new: dict[str, str]) -> None:
    """Give values, inputs and outputs of a graph among them, new names wherever they stand."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = new.get(value.name, value.name)
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new.get(name, name) for name in names]


def let_batch_vary(graph: GraphProto) -> None:
    """Let the first axis of inputs and outputs have any length."""
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def makers_of(graph: GraphProto) -> dict[str, NodeProto]:
    """The node that makes each value."""
    return {output: node for node in graph.node for output in node.output}


class Constants:
    """The constant values of a graph: its initializers, Constant nodes and what these are cast to."""

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.tensors |= {name: attribute(node, "value") for name, node in self._constant_nodes()}

    def _constant_nodes(self) -> Iterator[tuple[str, NodeProto]]:
        yield from ((node.output[0], node) for node in self.graph.node if node.op_type == "Constant")

    def value(self, name: str) -> np.ndarray | None:
        """The value, or None where it is not constant."""
        return numpy_helper.to_array(self.tensors[name]) if name in self.tensors else None

    def add(self, value: np.ndarray, name: str) -> str:
        """Put a new initializer into the graph; returns its name."""
        self.graph.initializer.append(numpy_helper.from_array(value, name))
        return name


def attribute(node: NodeProto, name: str) -> Any:
    """The value of a node's attribute, or None where it does not have it."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), None)


def set_attribute(node: NodeProto, name: str, value: Any) -> None:
    """Give an attribute of a node a value, whether it had one or not."""
    for index in reversed(range(len(node.attribute))):
        if node.attribute[index].name == name:
            del node.attribute[index]
    node.attribute.append(helper.make_attribute(name, value))
