"""Each change of an ONNX graph leaves what it computes as it was."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from src.deploy.onnx_passes import OPSET, improved
from src.deploy.onnx_scan import network_of_one

IMAGE = np.random.default_rng(0).random((1, 4, 6, 8), np.float32)


def model(nodes, shape, **constants) -> onnx.ModelProto:
    """A graph from x [1,4,6,8] to y, as MindSpore would write it."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, IMAGE.shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "net", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=4)


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs.split(), [output], name=f"{output}{kind}", **attributes)


def run(graph: onnx.ModelProto, image: np.ndarray = IMAGE) -> np.ndarray:
    onnx.checker.check_model(graph, full_check=True)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": image})[0]


def kinds(graph: onnx.ModelProto) -> list[str]:
    return [n.op_type for n in graph.graph.node]


def better(graph: onnx.ModelProto, **options) -> onnx.ModelProto:
    return improved(graph, ["out"], **{"aligned_rois": True, "dynamic_batch": False} | options)


def padded_pooling() -> onnx.ModelProto:
    nodes = [
        node("Concat", "rows x", "a", axis=2),
        node("Concat", "columns a", "b", axis=3),
        node("MaxPool", "b", "y", kernel_shape=[3, 3], strides=[2, 2], auto_pad="VALID"),
    ]
    return model(nodes, [1, 4, 3, 4], rows=np.zeros((1, 4, 1, 8), "f4"), columns=np.zeros((1, 4, 7, 1), "f4"))


def repetition() -> onnx.ModelProto:
    nodes = [node("Reshape", "x split", "a"), node("Expand", "a more", "b"), node("Reshape", "b join", "y")]
    return model(nodes, [1, 4, 12, 16], split=[1, 4, 6, 1, 8, 1], more=[1, 4, 6, 2, 8, 2], join=[1, 4, 12, 16])


@pytest.mark.parametrize(("graph", "kind"), [(padded_pooling(), "MaxPool"), (repetition(), "Resize")])
def test_patterns_become_one_operator(graph, kind):
    after = better(graph)
    assert kinds(after) == [kind] and after.opset_import[0].version == OPSET
    assert [output.name for output in after.graph.output] == ["out"]
    np.testing.assert_array_equal(run(after), run(graph))


@pytest.mark.parametrize(("parts", "axis", "shape"), [("x x", 1, [1, 2, 4, 6, 8]), ("x", 0, [1, 1, 4, 6, 8])])
def test_stacks_are_made_without_sequences(parts, axis, shape):
    nodes = [node("SequenceConstruct", parts, "s"), node("ConcatFromSequence", "s", "y", axis=axis, new_axis=1)]
    graph = model(nodes, shape)
    after = better(graph)
    assert kinds(after) == ["Unsqueeze"] * len(parts.split()) + ["Concat"]
    np.testing.assert_array_equal(run(after), run(graph))


def test_other_concatenations_before_pooling_stay():
    graph = padded_pooling()
    graph.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((1, 4, 1, 8), np.float32), "rows"))
    assert kinds(better(graph)) == ["Concat", "Concat", "MaxPool"]


def test_other_broadcasts_stay():
    nodes = [node("Reshape", "x split", "a"), node("Expand", "a more", "b"), node("Reshape", "b join", "y")]
    graph = model(nodes, [2, 4, 6, 8], split=[1, 1, 4, 6, 8], more=[1, 2, 4, 6, 8], join=[2, 4, 6, 8])
    after = better(graph)
    assert kinds(after) == ["Reshape", "Expand", "Reshape"]
    np.testing.assert_array_equal(run(after), run(graph))


@pytest.mark.parametrize("graph", [padded_pooling(), repetition()])
def test_any_batch(graph):
    nodes = [*graph.graph.node, node("Reshape", "y flat", "z")]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    graph.graph.initializer.append(numpy_helper.from_array(np.array([1, -1, 2]), "flat"))
    graph.graph.output[0].CopyFrom(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, None, 2]))
    after = better(graph, dynamic_batch=True)
    two = np.concatenate([IMAGE, IMAGE[:, :, ::-1]])
    np.testing.assert_array_equal(run(after, two)[1:], run(graph, two[1:]))


def test_any_batch_image_by_image():
    """For networks that count on one image, as this: its largest value decides over all the others."""
    graph = model([node("ReduceMax", "x", "a", keepdims=1), node("Div", "x a", "y")], IMAGE.shape)
    after = better(graph, dynamic_batch=True, image_by_image=True)
    assert kinds(after) == ["Unsqueeze", "Scan", "Squeeze"]
    two = np.concatenate([IMAGE, 3 + IMAGE])
    np.testing.assert_array_equal(run(after, two), np.concatenate([run(graph), run(graph, two[1:])]))
    inside = network_of_one(after)
    np.testing.assert_array_equal(run(inside), run(graph))
    assert network_of_one(inside) is None


def test_bias_of_a_reshaped_convolution():
    nodes = [node("Reshape", "x folded", "a"), node("Add", "a bias", "y")]
    graph = model(nodes, [1, 4, 8, 6], folded=[1, 4, 8, 6], bias=np.arange(4, dtype=np.float32))
    expected = IMAGE.reshape(1, 4, 8, 6) + np.arange(4, dtype=np.float32).reshape(4, 1, 1)
    np.testing.assert_allclose(run(better(graph)), expected)


def test_repeated_nodes():
    nodes = [
        node("Cast", "k", "c", to=1),
        node("Mul", "x c", "a"),
        node("Cast", "k", "c", to=1),
        node("Mul", "a c", "y"),
    ]
    np.testing.assert_allclose(run(better(model(nodes, IMAGE.shape, k=np.array([2])))), 4 * IMAGE)
    nodes[2] = node("Cast", "x", "c", to=1)
    with pytest.raises(ValueError, match="two nodes of an ONNX graph write c"):
        better(model(nodes, IMAGE.shape, k=np.array([2])))


def read_by_convolutions(graph: onnx.GraphProto) -> list[str]:
    return [name for n in graph.node if n.op_type in ("Conv", "ConvTranspose") for name in n.input[1:]]


def test_no_weight_feeds_two_convolutions():
    """MindSpore Lite packs a weight once for all its readers; see the pass."""
    rng = np.random.default_rng(1)
    weight, bias = rng.random((4, 4, 3, 3), np.float32), rng.random(4, np.float32)
    nodes = [
        node("Conv", "x w bias", "a", pads=[1, 1, 1, 1]),
        node("Conv", "a w bias", "b", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("ConvTranspose", "b w", "c", strides=[2, 2]),
        node("Conv", "c other bias", "y"),
    ]
    graph = model(nodes, [1, 4, 5, 7], w=weight, other=weight, bias=bias)
    after = better(graph)
    assert len(set(read_by_convolutions(after.graph))) == 7 and kinds(after).count("Identity") == 4
    assert len(after.graph.initializer) == 3 and after.ByteSize() < graph.ByteSize() + 2000
    np.testing.assert_array_equal(run(after), run(graph))


@pytest.mark.parametrize("aligned", [True, False])
def test_pixel_centres_of_roi_align(aligned):
    options = {"output_height": 2, "output_width": 2, "spatial_scale": 0.5, "sampling_ratio": 0}
    nodes = [node("RoiAlign", "x rois images", "y", **options)]
    rois = np.array([[1, 1, 9, 11]], np.float32)
    graph = model(nodes, [1, 4, 2, 2], rois=rois, images=np.array([0]))
    shifted = model(nodes, [1, 4, 2, 2], rois=rois - 1 if aligned else rois, images=np.array([0]))
    np.testing.assert_allclose(run(better(graph, aligned_rois=aligned)), run(shifted), rtol=1e-5)
