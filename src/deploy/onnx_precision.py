"""ONNX files in half precision or in 8-bit integers, made by ONNX Runtime's own tools from a file in float32.

What is converted are convolutions and fully connected layers, and the plain operators between them. Boxes, the scores
behind the last layer and the choice of regions stay float32: a coordinate of 640 has a step of 0.5 in half precision.
"""

import logging
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from src.common.errors import UserError

Precision = Literal["float32", "float16", "int8"]

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
MOVING = ("Transpose", "Reshape", "Concat", "Slice", "Squeeze", "Unsqueeze", "Flatten", "Identity")
LOGIT_LIMIT = 8.0  # beyond it a sigmoid is within 0.0004 of 0 or 1
BETWEEN = ("Relu", "Add", "Mul", "Sigmoid", "MaxPool", "Resize", "BatchNormalization", "Clip", "Concat", "Pad")


def convert_precision(
    source: Path, target: Path, precision: Precision, calibration: Iterable[Sequence[np.ndarray]] = ()
) -> None:
    """Write an ONNX file in another precision.

    Args:
        source: file in float32; unchanged.
        target: file to write.
        precision: float16 or int8.
        calibration: int8: inputs of the file, in its order, from which the ranges of activations are read.

    Raises:
        UserError: ONNX Runtime's tools cannot convert the file.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from src.deploy.onnx_scan import network_of_one, scan_images

    one = network_of_one(onnx.load(source))
    with tempfile.TemporaryDirectory() as folder:
        if one is not None:  # the tools do not look inside a Scan
            alone, converted = Path(folder, "one.onnx"), Path(folder, "converted.onnx")
            onnx.save(one, alone)
            convert_precision(alone, converted, precision, calibration)
            onnx.save(scan_images(onnx.load(converted)), target)
            return
        folded = Path(folder, "folded.onnx")
        try:
            # Constants are folded, batch normalizations into their convolutions: what is left is what computes.
            quant_pre_process(source, folded, skip_symbolic_shape=True)
            if precision == "float16":
                _write_half(folded, target)
            else:
                _write_integers(folded, target, calibration)
        except UserError:
            raise
        except Exception as error:  # the tools have no common class of errors
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"--precision {precision}: ONNX Runtime cannot convert this network ({first})") from None


def _write_half(source: Path, target: Path) -> None:
    """Weights and activations between layers as float16; inputs and outputs stay float32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    from src.deploy.onnx_graph import sort_nodes

    model = _with_named_nodes(source)
    chosen = set(_layers(model.graph)) | _between(model.graph)
    kept = [node.name for node in model.graph.node if node.name not in chosen]
    converted = convert_float_to_float16(model, keep_io_types=True, node_block_list=kept)
    sort_nodes(converted.graph)  # the tool appends its casts
    _keep_float32(converted.graph)
    onnx.save(converted, target)


def _keep_float32(graph: Any) -> None:
    """Let nodes of float32 hand their results to each other as such; the tool rounds what they hand on to float16."""
    import onnx

    from src.deploy.onnx_graph import attribute, drop_unused, makers_of

    def is_cast(node: Any, kind: int) -> bool:
        return node.op_type == "Cast" and attribute(node, "to") == kind

    makers = makers_of(graph)
    exact: dict[str, str] = {}
    for node in graph.node:
        rounding = makers.get(node.input[0]) if is_cast(node, onnx.TensorProto.FLOAT) else None
        if rounding is not None and is_cast(rounding, onnx.TensorProto.FLOAT16):
            source = rounding.input[0]
            exact[node.output[0]] = node.input[0] = exact.get(source, source)
    for node in graph.node:
        node.input[:] = [exact.get(name, name) for name in node.input]  # casts of outputs stay, and do nothing
    drop_unused(graph)


def _write_integers(source: Path, target: Path, calibration: Iterable[Sequence[np.ndarray]]) -> None:
    """Quantize all layers but the last ones: scales for each channel of weights, one for each activation (QDQ).

    The last layers of logits, which only sigmoids read, are quantized too. What stands between layers is as well: left
    in float32, each ReLU or sum would have its operands converted from integers, and its result back.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    model = _with_named_nodes(source)
    chosen = [*_inner_layers(model.graph), *sorted(_between(model.graph)), *_limit_logits(model.graph)]
    onnx.save(model, source)
    names = [value.name for value in model.graph.input]

    class Inputs(CalibrationDataReader):
        def __init__(self) -> None:
            self.values = iter(calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            values = next(self.values, None)
            return None if values is None else dict(zip(names, values, strict=True))

    log = logging.getLogger()
    level, handlers = log.level, list(log.handlers)
    log.setLevel(logging.ERROR)  # it advises to do what was done here
    try:
        quantize_static(
            source,
            target,
            Inputs(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=chosen,
        )
    finally:
        log.setLevel(level)
        log.handlers[:] = handlers  # its advice would add one, and every later message appear twice


def _with_named_nodes(path: Path) -> Any:
    """The model of a file, each node of a name that no other has."""
    import onnx

    model = onnx.load(path)
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    return model


def _layers(graph: Any) -> list[str]:
    """Names of the nodes with weights."""
    weights = {tensor.name for tensor in graph.initializer}
    weights |= {node.output[0] for node in graph.node if node.op_type == "Identity" and node.input[0] in weights}
    weights |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    return [node.name for node in graph.node if node.op_type in LAYERS and node.input[1] in weights]


def _between(graph: Any) -> set[str]:
    """Names of the plain operators whose results only layers read, or operators that are such themselves."""
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    chosen = set(_layers(graph))
    for node in reversed(graph.node):
        reading = [reader.name for output in node.output for reader in readers.get(output, [])]
        if node.op_type in BETWEEN and reading and all(name in chosen for name in reading):
            chosen.add(node.name)
    return chosen - set(_layers(graph))


def _inner_layers(graph: Any) -> list[str]:
    """Names of the layers whose results reach another layer through plain operators: all but those of the outputs."""
    between, layers = _between(graph), set(_layers(graph))
    feeding = {name for node in graph.node if node.name in between | layers for name in node.input}
    return [node.name for node in graph.node if node.name in layers and feeding.intersection(node.output)]


def _limit_logits(graph: Any) -> list[str]:
    """Limit the results of the last layers that only sigmoids read, so that their 8-bit steps are small.

    Returns:
        Names of these layers and of the limits behind them, which become limits of the layers' integers.
    """
    from onnx import helper, numpy_helper

    from src.deploy.onnx_graph import replace_nodes

    inner, logits = set(_inner_layers(graph)), _read_by_sigmoids(graph)
    limits = {"least_logit": -LOGIT_LIMIT, "most_logit": LOGIT_LIMIT}
    nodes: list[Any] = []
    chosen: list[str] = []
    for node in graph.node:
        nodes.append(node)
        if node.op_type == "Conv" and node.name not in inner and node.output[0] in logits:
            limited = node.output[0]
            node.output[0] = f"{limited}_unlimited"
            limit = helper.make_node("Clip", [node.output[0], *limits], [limited], name=f"{node.name}_limit")
            nodes.append(limit)
            chosen += [node.name, limit.name]
    if chosen:
        replace_nodes(graph, nodes)
        graph.initializer.extend(numpy_helper.from_array(np.float32(value), name) for name, value in limits.items())
    return chosen


def _read_by_sigmoids(graph: Any) -> set[str]:
    """Names of the values that sigmoids read and nothing else does, be it directly or after they were moved."""
    found: set[str] = set()
    others = {value.name for value in graph.output}
    for node in reversed(graph.node):
        is_moved = node.op_type in MOVING and not others.intersection(node.output) and found.issuperset(node.output)
        reads_logits = node.op_type == "Sigmoid" or is_moved
        (found if reads_logits else others).update(node.input)
    return found - others
