"""ONNX files with layers of 8-bit integers (QDQ), made by ONNX Runtime's own tools from a file in float32."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src.deploy.onnx_layers import (
    BETWEEN,
    LAYERS,
    between,
    folded,
    inner_layers,
    layer_nodes,
    limit_logits,
    logit_layers,
    one_line_of_tools,
)

DEQUANTIZE = "DequantizeLinear"
Images = Iterable[Sequence[np.ndarray]]  # inputs of a file, in its order


class Int8Converter(NamedTuple):
    """A file in float32, of which files with quantized layers are made: first `calibrate`, then the others.

    Attributes:
        source: ONNX file in float32.
        folder: an empty one, for what its methods tell each other.
    """

    source: Path
    folder: Path

    def calibrate(self, images: Images) -> int:
        """Read the ranges of activations from images.

        Returns:
            How many they were.

        Raises:
            UserError: no image, or ONNX Runtime's tools cannot convert the file; of the other methods, too.
        """
        import onnx

        from src.deploy.onnx_scan import network_of_one

        with one_line_of_tools("int8"):
            model = onnx.load(self.source)
            one = network_of_one(model)  # the tools do not look inside a Scan
            model = folded(model if one is None else one)
            onnx.save(model, self._network)
            chosen = _choose(model.graph)
            calibrated = self.folder / "calibrated.onnx"
            onnx.save(model, calibrated)
            wanted = {name for n in model.graph.node if n.name in chosen for name in (*n.input, *n.output)}
            ranges, count = _ranges_of(calibrated, wanted, images)
            self._ranges.write_text(json.dumps(ranges), encoding="utf-8")
            return count

    def write(self, target: Path, float32_layers: Collection[str] = ()) -> list[str]:
        """Write a file: scales for each channel of weights, one for each activation.

        All layers but the last ones are quantized, and of these those of logits that only sigmoids read. What stands
        between layers is as well: left in float32, each ReLU or sum would have its operands converted from integers,
        and its result back.

        Args:
            target: file to write.
            float32_layers: names of layers that stay float32, of those that `rank` gives.

        Returns:
            Names of all layers that would be quantized without these: the layer before one of them is left out where
            no other reads its results.
        """
        import onnx

        from src.deploy.onnx_scan import network_of_one, scan_images

        with one_line_of_tools("int8"):
            model, left = self._quantized(float32_layers)
            is_scanned = network_of_one(onnx.load(self.source)) is not None
            onnx.save(scan_images(model) if is_scanned else model, target)
            return left

    def rank(self, images: Images) -> list[str]:
        """Names of the quantized layers, the most sensitive first.

        A layer's error is that of its results when it alone is quantized, its weights and what it reads, relative to
        these results (Euclidean norms); of layers that several levels share, the largest.
        """
        from onnxruntime import InferenceSession, SessionOptions

        with one_line_of_tools("int8"):
            model, names = self._compared()
            options = SessionOptions()
            options.log_severity_level = 3
            session = InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
            ports = [port.name for port in session.get_inputs()]
            squares = np.zeros((len(names), 2))
            for values in images:
                found = session.run(_square_names(names), dict(zip(ports, values, strict=True)))
                squares += np.reshape(found, squares.shape)
            errors: dict[str, float] = {}
            for name, (wrong, whole) in zip(names.values(), squares.tolist(), strict=True):
                errors[name] = max(errors.get(name, 0.0), wrong / max(whole, 1e-30))
            return sorted(errors, key=lambda name: -errors[name])

    @property
    def _network(self) -> Path:
        return self.folder / "network.onnx"

    @property
    def _ranges(self) -> Path:
        return self.folder / "ranges.json"

    def _quantized(self, float32_layers: Collection[str]) -> tuple[Any, list[str]]:
        """The model of one image, quantized, and the names of the layers that are not for `float32_layers`' sake."""
        import onnx
        from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType, TensorsData
        from onnxruntime.quantization.quant_utils import load_model_with_shape_infer

        model = onnx.load(self._network)
        names, everything = layer_nodes(model.graph), set(_choose(onnx.load(self._network).graph))
        chosen = _choose(model.graph, float32_layers)
        prepared = self.folder / "prepared.onnx"
        onnx.save(model, prepared)
        ranges = json.loads(self._ranges.read_text(encoding="utf-8"))
        tensors = {name: tuple(np.array([end], np.float32) for end in ends) for name, ends in ranges.items()}
        quantizer = QDQQuantizer(
            load_model_with_shape_infer(prepared),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, tensors),
            nodes_to_quantize=chosen,
            nodes_to_exclude=[],
            op_types_to_quantize=sorted({*LAYERS, *BETWEEN}),
            extra_options={},
        )
        quantizer.quantize_model()
        quantizer.model.save_model_to_file(prepared, False)
        left = {node for node in names if node in everything.difference(chosen)}
        quantized = onnx.load(prepared)
        _read_exactly(quantized.graph, left)
        return quantized, sorted({names[node] for node in left})

    def _compared(self) -> tuple[Any, dict[str, str]]:
        """The network with each of its quantized layers beside it, and sums of squares as further outputs.

        Returns:
            The model, and {node: layer}; see `_square_names`.
        """
        import onnx
        from onnx import helper

        from src.deploy.onnx_graph import makers_of, rename_values, sort_nodes

        model, (quantized, _) = onnx.load(self._network), self._quantized(())
        graph, names = model.graph, layer_nodes(model.graph)
        outputs = {node.name: node.output[0] for node in graph.node}
        # The tool gives a bias that is made of integers the name of that in float32.
        made = [node.output[0] for node in quantized.graph.node if node.op_type == DEQUANTIZE]
        rename_values(quantized.graph, {name: f"{name}_of_integers" for name in made})
        makers = makers_of(quantized.graph)
        rounded = [node for node in quantized.graph.node if node.name in names and _reads_integers(node, 1, makers)]
        layers = {node.name: names[node.name] for node in rounded}
        needed: dict[str, Any] = {}
        for node in rounded:
            for name in node.input:
                while (maker := makers.get(name)) is not None and maker.op_type in (DEQUANTIZE, "QuantizeLinear"):
                    needed[name], name = maker, maker.input[0]
            squares, exact = _square_names([node.name]), outputs[node.name]
            copy = node.name = node.output[0] = f"{node.name}_rounded"
            graph.node.extend([node, helper.make_node("Sub", [copy, exact], [f"{copy}_error"])])
            for value, square in zip((f"{copy}_error", exact), squares, strict=True):
                graph.node.append(helper.make_node("ReduceSumSquare", [value], [square], keepdims=0))
                graph.output.append(helper.make_tensor_value_info(square, onnx.TensorProto.FLOAT, []))
        graph.node.extend(needed.values())
        known = {tensor.name for tensor in graph.initializer}
        graph.initializer.extend(tensor for tensor in quantized.graph.initializer if tensor.name not in known)
        sort_nodes(graph)
        return model, layers


def _choose(graph: Any, float32_layers: Collection[str] = ()) -> list[str]:
    """Names of the nodes to quantize; limits of logits, which are among them, are put into the graph."""
    names = layer_nodes(graph)
    layers = [node for node, name in names.items() if name not in float32_layers]
    logits = [node for node in logit_layers(graph) if node in layers]
    chosen = [*inner_layers(graph, layers), *sorted(between(graph, layers)), *logits]
    return [*chosen, *limit_logits(graph, logits)]


def _ranges_of(network: Path, wanted: set[str], images: Images) -> tuple[dict[str, tuple[float, float]], int]:
    """The least and the largest number of each wanted value that is no constant, and the number of images."""
    import onnx
    from onnxruntime.quantization import MinMaxCalibrater

    class Calibrater(MinMaxCalibrater):
        """Looks at what is quantized only: behind the layers there are thousands of values, each of which costs."""

        def select_tensors_to_calibrate(self, model: Any) -> tuple[set[str], dict[str, Any]]:
            found, infos = super().select_tensors_to_calibrate(model)
            return found & wanted, infos

    ports = [port.name for port in onnx.load(network).graph.input]
    values = iter(images)

    class Reader:
        """What the tool asks for inputs."""

        count = 0

        def get_next(self) -> dict[str, np.ndarray] | None:
            if (found := next(values, None)) is None:
                return None
            self.count += 1
            return dict(zip(ports, found, strict=True))

    calibrater = Calibrater(network, augmented_model_path=str(network.with_name("augmented.onnx")))
    calibrater.augment_graph()
    calibrater.create_inference_session()
    reader = Reader()
    calibrater.collect_data(reader)
    ranges: dict[str, tuple[float, float]] = {}
    for name, data in calibrater.compute_data().items():
        low, high = (float(np.ravel(end)[0]) for end in data.range_value)
        ranges[name] = low, high
    return ranges, reader.count


def _read_exactly(graph: Any, nodes: Collection[str]) -> None:
    """Let these nodes read what is rounded for others as it was before."""
    from src.deploy.onnx_graph import drop_unused, makers_of

    makers = makers_of(graph)
    for node in graph.node:
        if node.name in nodes and _reads_integers(node, 0, makers):
            node.input[0] = makers[makers[node.input[0]].input[0]].input[0]
    drop_unused(graph)


def _reads_integers(node: Any, place: int, makers: Mapping[str, Any]) -> bool:
    """Whether an input of a node is made of integers."""
    return node.input[place] in makers and makers[node.input[place]].op_type == DEQUANTIZE


def _square_names(nodes: Iterable[str]) -> list[str]:
    """Names of the outputs that sum up squares: for each node those of its error and of its result."""
    return [f"{node}_{kind}" for node in nodes for kind in ("squared_error", "squares")]
