"""Quantized layers of small ONNX networks: the same as the tool's own, and the sensitive ones found and left out."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from src.common.errors import UserError
from src.deploy import onnx_int8
from src.deploy.onnx_int8 import Int8Converter
from src.deploy.onnx_layers import folded
from src.deploy.onnx_scan import scan_images

LAYERS = ("first", "second", "third", "fourth")
IMAGES = [[image] for image in np.random.default_rng(0).standard_normal((4, 1, 3, 16, 16), np.float32)]


def network(poison: float = 1.0) -> onnx.ModelProto:
    """Four convolutions with ReLUs between them.

    Args:
        poison: one channel that the first gives is so much larger, and the second makes up for it.
    """
    rng = np.random.default_rng(1)
    weights = {name: rng.standard_normal((8, 3 if name == "first" else 8, 3, 3), np.float32) / 6 for name in LAYERS}
    weights["first"][2] *= poison
    weights["second"][:, 2] /= poison
    nodes, value = [], "x"
    for name in LAYERS:
        nodes.append(helper.make_node("Conv", [value, f"{name}.weight"], [f"{name}_y"], pads=[1, 1, 1, 1]))
        value = f"{name}_relu"
        nodes.append(helper.make_node("Relu", [f"{name}_y"], [value]))
    nodes.append(helper.make_node("Mul", [value, value], ["y"]))
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 16, 16])
        for name, channels in (("x", 3), ("y", 8))
    ]
    tensors = [numpy_helper.from_array(value, f"{name}.weight") for name, value in weights.items()]
    graph = helper.make_graph(nodes, "net", ports[:1], ports[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def converter_of(model: onnx.ModelProto, folder: Path) -> Int8Converter:
    """A calibrated one."""
    onnx.save(model, folder / "net.onnx")
    (folder / "work").mkdir()
    converter = Int8Converter(folder / "net.onnx", folder / "work")
    assert converter.calibrate(iter(IMAGES)) == len(IMAGES)
    return converter


def error_of(path: Path, model: onnx.ModelProto) -> float:
    """Of a file's results, relative to those of the model in float32."""
    import onnxruntime

    def results(network: bytes | str) -> np.ndarray:
        session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
        return np.concatenate([session.run(None, {"x": image})[0] for (image,) in IMAGES])

    exact = results(model.SerializeToString())
    return float(np.linalg.norm(results(str(path)) - exact) / np.linalg.norm(exact))


def test_the_same_file_as_the_tools_own(tmp_path):
    """It looks at all values of the network, and this project at those that are quantized."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        values = iter(IMAGES)

        def get_next(self):
            found = next(self.values, None)
            return None if found is None else {"x": found[0]}

    converter = converter_of(network(), tmp_path)
    assert converter.write(tmp_path / "int8.onnx") == []
    model = folded(network())
    chosen = onnx_int8._choose(model.graph)
    assert chosen == ["Conv_0", "Conv_2", "Conv_4", "Relu_1", "Relu_3", "Relu_5"]
    onnx.save(model, tmp_path / "folded.onnx")
    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "quant_format": QuantFormat.QDQ}
    files = tmp_path / "folded.onnx", tmp_path / "tool.onnx"
    quantize_static(*files, Reader(), per_channel=True, nodes_to_quantize=chosen, **types)
    assert (tmp_path / "int8.onnx").read_bytes() == (tmp_path / "tool.onnx").read_bytes()
    assert 0 < error_of(tmp_path / "int8.onnx", network()) < 0.05


def test_the_poisoned_layer_is_the_most_sensitive(tmp_path):
    """Among values up to 1e4 those of the other channels are lost; read in float32, they are not."""
    model = network(poison=1e4)
    converter = converter_of(model, tmp_path)
    ranked = converter.rank(iter(IMAGES))
    assert set(ranked) == set(LAYERS[:3]) and ranked[0] == "second"
    written = tmp_path / "int8.onnx"
    converter.write(written)
    assert error_of(written, model) > 0.3
    assert converter.write(written, ranked[:1]) == ["first", "second"]  # nothing quantized reads the first
    assert 0 < error_of(written, model) < 0.05
    assert converter.write(written, ranked) == sorted(LAYERS[:3])
    assert error_of(written, model) < 1e-6


def test_a_layer_in_float32_reads_what_others_have_rounded(tmp_path):
    """The first layer's results go to the second, in float32, and to one more that is quantized."""
    model = network(poison=1e4)
    nodes, graph = list(model.graph.node), model.graph
    nodes[2:2] = [
        helper.make_node("Conv", ["first_relu", "second.weight"], ["beside"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["beside", "third.weight"], ["behind"], pads=[1, 1, 1, 1]),
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(graph.initializer[1]), "other.weight"))
    graph.node[2].input[1] = "other.weight"
    graph.output.append(helper.make_tensor_value_info("behind", TensorProto.FLOAT, [1, 8, 16, 16]))
    written = tmp_path / "int8.onnx"
    assert converter_of(model, tmp_path).write(written, ["second"]) == ["first", "second"]
    assert 0 < error_of(written, model) < 0.05


def test_networks_inside_a_scan(tmp_path):
    converter = converter_of(scan_images(network()), tmp_path)
    converter.write(tmp_path / "int8.onnx", converter.rank(iter(IMAGES))[:1])
    assert 0 < error_of(tmp_path / "int8.onnx", network()) < 0.05


def test_no_image(tmp_path):
    onnx.save(network(), tmp_path / "net.onnx")
    with pytest.raises(
        UserError, match=r"--precision int8: ONNX Runtime cannot convert this network \(No data is coll"
    ):
        Int8Converter(tmp_path / "net.onnx", tmp_path).calibrate(iter([]))
