"""What is changed in ONNX graphs for MindSpore Lite 2.0, whose converter and CPU kernels lack operators.

Each pass changes the graph in place, and not what it computes: ONNX Runtime gives the same numbers before and after.
"""

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from src.deploy.onnx_graph import Constants, drop_unused, makers_of, replace_nodes

FOLDED = ("Slice", "Reshape", "Squeeze", "Unsqueeze", "Gather", "Concat", "Cast")
MOST_FOLDED = 64  # values of a constant that is folded: shapes and counts, not tables


def suit_lite(model: ModelProto) -> None:
    """Replace what MindSpore Lite 2.0 refuses in a model of version 17 of the operators."""
    graph = model.graph
    graph.CopyFrom(onnx.shape_inference.infer_shapes(model).graph)
    _fold_shapes(graph)
    _drop_empty_slices(graph)
    _divide_integers(graph)
    _mark_without_scatter(graph)
    _choose_by_equal_shapes(graph)
    _multiply_two_rows(graph)
    drop_unused(graph)
    del graph.value_info[:]


def _fold_shapes(graph: GraphProto) -> None:
    """Shape(x) and what is computed of it -> constants, where the shape of x is known; Lite has no 0-d Reshape."""
    shapes, constants = known_shapes(graph), Constants(graph)
    folded: dict[str, np.ndarray] = {}
    for node in graph.node:
        if node.op_type == "Shape" and node.input[0] in shapes:
            folded[node.output[0]] = np.array(shapes[node.input[0]], np.int64)
        elif node.op_type in FOLDED and any(name in folded for name in node.input):
            values = {name: folded.get(name, constants.value(name)) for name in node.input if name}
            if all(value is not None and value.size <= MOST_FOLDED for value in values.values()):
                (folded[node.output[0]],) = ReferenceEvaluator(node).run(None, values)
    replace_nodes(graph, [node for node in graph.node if node.output[0] not in folded])
    for name, value in folded.items():
        constants.add(np.asarray(value), name)


def known_shapes(graph: GraphProto) -> dict[str, list[int]]:
    """The shapes without unknown sides, by the values' names."""
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        sides = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(side.HasField("dim_value") for side in sides):
            shapes[value.name] = [side.dim_value for side in sides]
    return shapes


def _drop_empty_slices(graph: GraphProto) -> None:
    """Slice(x) along no axis -> x; Lite cannot infer its shape."""
    constants = Constants(graph)
    for node in graph.node:
        starts = constants.value(node.input[1]) if node.op_type == "Slice" else None
        if starts is not None and starts.size == 0:
            node.CopyFrom(helper.make_node("Identity", node.input[:1], node.output, name=node.name))


def _divide_integers(graph: GraphProto) -> None:
    """Cast(Floor(Div(Cast(a), Cast(b)))) -> Div(a, b): MindSpore divides integers as floats, and Lite loses the casts.

    What this project divides so are places in arrays, never negative, for which both round alike.
    """
    makers = makers_of(graph)

    def made_by(kind: str, name: str) -> NodeProto | None:
        node = makers.get(name)
        return node if node is not None and node.op_type == kind else None

    for node in graph.node:
        floor = made_by("Floor", node.input[0]) if node.op_type == "Cast" else None
        division = made_by("Div", floor.input[0]) if floor is not None else None
        if division is None:
            continue
        casts = [made_by("Cast", name) for name in division.input]
        if None not in casts:
            integers = [cast.input[0] for cast in casts if cast is not None]
            node.CopyFrom(helper.make_node("Div", integers, node.output, name=node.name))


def _mark_without_scatter(graph: GraphProto) -> None:
    """ScatterElements(no [N], indices [S], yes [S]) -> whether any index equals the row, for suppression's result.

    Lite has no kernel of ScatterElements.
    """
    makers, constants = makers_of(graph), Constants(graph)
    nodes: list[NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        if node.op_type != "ScatterElements":
            continue
        size = _length_filled(makers[node.input[0]], constants)
        if size is None or makers[node.input[2]].op_type != "ConstantOfShape":
            continue
        marked = node.output[0]
        rows = constants.add(np.arange(size, dtype=np.int32).reshape(-1, 1), f"{marked}_rows")
        one_row = constants.add(np.array([1, -1], np.int64), f"{marked}_one_row")
        steps = [
            ("Cast", [node.input[1]], {"to": TensorProto.INT32}),
            ("Reshape", ["", one_row], {}),
            ("Equal", ["", rows], {}),
            ("Cast", [""], {"to": TensorProto.FLOAT}),
            ("ReduceMax", [""], {"axes": [1], "keepdims": 0}),
            ("Cast", [""], {"to": TensorProto.BOOL}),
        ]
        nodes[-1:] = chain(steps, marked)
    replace_nodes(graph, nodes)


def _length_filled(node: NodeProto, constants: Constants) -> int | None:
    """N of a ConstantOfShape that makes [N]; None for other nodes, and where it is not known."""
    if node.op_type != "ConstantOfShape":
        return None
    length = constants.value(node.input[0])
    return int(length[0]) if length is not None and length.shape == (1,) else None


def _choose_by_equal_shapes(graph: GraphProto) -> None:
    """Where(condition, a, b) -> Where(expanded ones): Lite takes inputs of the output's size, or of one value."""
    shapes, constants = known_shapes(graph), Constants(graph)
    nodes: list[NodeProto] = []
    for node in graph.node:
        shape = shapes.get(node.output[0]) if node.op_type == "Where" else None
        if shape is not None:
            for place, name in enumerate(node.input):
                if shapes.get(name, shape) != shape and constants.value(name) is None:
                    wide = f"{node.output[0]}_input_{place}"
                    size = constants.add(np.array(shape, np.int64), f"{wide}_shape")
                    nodes.append(helper.make_node("Expand", [name, size], [wide], name=wide))
                    node.input[place] = wide
        nodes.append(node)
    replace_nodes(graph, nodes)


def _multiply_two_rows(graph: GraphProto) -> None:
    """MatMul(row, matrix) -> the first row of MatMul(row twice, matrix).

    Lite multiplies a single row wrongly where it is longer than about a thousand values: parts of the sum count twice.
    """
    shapes, constants = known_shapes(graph), Constants(graph)
    nodes: list[NodeProto] = []
    for node in graph.node:
        shape = shapes.get(node.input[0], []) if node.op_type == "MatMul" else []
        if len(shape) < 2 or shape[-2] != 1:
            nodes.append(node)
            continue
        (row, matrix), product = node.input, node.output[0]
        limits = [constants.add(np.array([value], np.int64), f"{product}_{name}") for name, value in
                  (("first", 0), ("end", 1), ("axis", -2))]  # fmt: skip
        twice, products = f"{product}_twice", f"{product}_of_both"
        nodes.append(helper.make_node("Concat", [row, row], [twice], name=twice, axis=len(shape) - 2))
        nodes.append(helper.make_node("MatMul", [twice, matrix], [products], name=products))
        nodes.append(helper.make_node("Slice", [products, *limits], [product], name=product))
    replace_nodes(graph, nodes)


def chain(steps: list[tuple[str, list[str], dict]], output: str) -> list[NodeProto]:
    """Nodes of (operator, inputs, attributes), each of which takes the one before as "" among its inputs."""
    nodes: list[NodeProto] = []
    for place, (kind, inputs, attributes) in enumerate(steps):
        before = nodes[-1].output[0] if nodes else ""
        name = output if place + 1 == len(steps) else f"{output}_{place}"
        nodes.append(helper.make_node(kind, [value or before for value in inputs], [name], name=name, **attributes))
    return nodes
