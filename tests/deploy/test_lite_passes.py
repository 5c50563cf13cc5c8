"""What is changed for MindSpore Lite is gone afterwards, and the graph computes what it did."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from src.deploy.lite_passes import suit_lite

IMAGE = np.random.default_rng(0).random((1, 40, 4), np.float32)
WRONG = {"ScatterElements", "Shape", "Floor"}


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs.split(), [output], name=f"{output}_{kind}", **attributes)


def model(nodes, shape, kind=TensorProto.FLOAT, **constants) -> ModelProto:
    """A graph from x [1,40,4] to y."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, IMAGE.shape)]
    outputs = [helper.make_tensor_value_info("y", kind, shape)]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "net", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(graph: ModelProto) -> np.ndarray:
    onnx.checker.check_model(graph, full_check=True)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": IMAGE})[0]


def suppression() -> ModelProto:
    """As MindSpore writes NMSWithMask."""
    nodes = [
        node("Squeeze", "x image", "rows"),
        node("Shape", "rows", "size"),
        node("Slice", "size zero one zero one", "count"),
        node("Reshape", "count scalar", "most"),
        node("Slice", "rows zero one one one", "column"),
        node("Reshape", "column as_scores", "scores"),
        node("NonMaxSuppression", "x scores most iou", "selected"),
        node("Slice", "selected two three one one", "places"),
        node("Reshape", "places flat", "indices"),
        node("ConstantOfShape", "count", "no", value=numpy_helper.from_array(np.array([False]))),
        node("Shape", "indices", "number"),
        node("ConstantOfShape", "number", "yes", value=numpy_helper.from_array(np.array([True]))),
        node("ScatterElements", "no indices yes", "y", axis=0),
    ]
    numbers = {"image": [0], "zero": [0], "one": [1], "two": [2], "three": [3], "flat": [-1], "as_scores": [1, 1, -1]}
    return model(nodes, [40], TensorProto.BOOL, scalar=np.zeros(0, np.int64), iou=np.float32(0.3), **numbers)


def division() -> ModelProto:
    nodes = [
        node("TopK", "x three", "values", axis=1),
        node("Cast", "places", "whole", to=TensorProto.INT32),
        node("Cast", "whole", "a", to=TensorProto.FLOAT),
        node("Cast", "seven", "b", to=TensorProto.FLOAT),
        node("Div", "a b", "c"),
        node("Floor", "c", "d"),
        node("Cast", "d", "y", to=TensorProto.INT32),
    ]
    nodes[0].output.append("places")
    return model(nodes, [1, 3, 4], TensorProto.INT32, three=[3], seven=np.int32(7))


def choice() -> ModelProto:
    nodes = [
        node("ReduceMax", "x", "largest", axes=[2]),
        node("Greater", "largest half", "large"),
        node("Where", "large x nothing", "y"),
    ]
    return model(nodes, [1, 40, 4], half=np.float32(0.8), nothing=np.float32(0))


def empty_slice() -> ModelProto:
    nodes = [node("Slice", "x none none none none", "a"), node("Relu", "a", "y")]
    return model(nodes, [1, 40, 4], none=np.zeros(0, np.int64))


def one_row() -> ModelProto:
    nodes = [node("MatMul", "row x", "y")]
    return model(nodes, [1, 1, 4], row=np.random.default_rng(1).random((1, 1, 40), np.float32))


@pytest.mark.parametrize(
    "graph",
    [
        suppression(),
        division(),
        choice(),
        empty_slice(),
    ],
    ids=["suppression", "division", "choice", "empty_slice"],
)
def test_operators_are_replaced_and_the_numbers_stay(graph: ModelProto) -> None:
    expected = run(graph)
    assert expected.any() and not np.all(expected == expected.flat[0])
    suit_lite(graph)
    np.testing.assert_array_equal(run(graph), expected)
    assert [n.op_type for n in graph.graph.node if n.op_type in WRONG] == []


def test_inputs_of_a_choice_are_as_large_as_its_output() -> None:
    graph = choice()
    suit_lite(graph)
    (where,) = (n for n in graph.graph.node if n.op_type == "Where")
    shapes = {v.name: [side.dim_value for side in v.type.tensor_type.shape.dim] for v in
              onnx.shape_inference.infer_shapes(graph).graph.value_info}  # fmt: skip
    assert shapes[where.input[0]] == [1, 40, 4] and where.input[1:] == ["x", "nothing"]


def test_no_row_is_multiplied_alone() -> None:
    graph = one_row()
    expected = run(graph)
    suit_lite(graph)
    np.testing.assert_allclose(run(graph), expected, rtol=1e-6)
    assert [n.op_type for n in graph.graph.node] == ["Concat", "MatMul", "Slice"]


def test_slices_along_no_axis_are_dropped() -> None:
    graph = empty_slice()
    suit_lite(graph)
    assert [n.op_type for n in graph.graph.node] == ["Identity", "Relu"]
