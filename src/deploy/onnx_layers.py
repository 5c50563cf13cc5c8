"""Which nodes of an ONNX network are computed in another precision than float32.

They are convolutions and fully connected layers, and the plain operators between them. Boxes, the scores behind the
last layer and the choice of regions stay float32: a coordinate of 640 has a step of 0.5 in half precision.
"""

import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from src.common.errors import UserError

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
MOVING = ("Transpose", "Reshape", "Concat", "Slice", "Squeeze", "Unsqueeze", "Flatten", "Identity")
LOGIT_LIMIT = 8.0  # beyond it a sigmoid is within 0.0004 of 0 or 1
BETWEEN = ("Relu", "Add", "Mul", "Sigmoid", "MaxPool", "Resize", "BatchNormalization", "Clip", "Concat", "Pad")
# What ONNX Runtime puts around a weight's name where it folds a batch normalization, and makes weights of one reader.
FOLDED_NAME = re.compile(r"^(?:ConvBnFusion_W_)?(.+?)(?:\.weight)?(?:_token_\d+)?$")


@contextmanager
def one_line_of_tools(precision: str) -> Iterator[None]:
    """Let the errors of ONNX Runtime's tools, which have no common class, be a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"--precision {precision}: ONNX Runtime cannot convert this network ({first})") from None


def folded(model: Any) -> Any:
    """A model with constants folded, batch normalizations in their convolutions, and nodes of names of their own.

    What is left is what computes.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "before.onnx"), Path(folder, "after.onnx")
        onnx.save(model, before)
        quant_pre_process(before, after, skip_symbolic_shape=True)
        model = onnx.load(after)
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    return model


def layer_nodes(graph: Any) -> dict[str, str]:
    """The nodes with weights, by their names: the name of the layer, of which there are several where it is shared."""
    weights = {tensor.name for tensor in graph.initializer}
    weights |= {node.output[0] for node in graph.node if node.op_type == "Identity" and node.input[0] in weights}
    weights |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    nodes = [node for node in graph.node if node.op_type in LAYERS and node.input[1] in weights]
    return {node.name: FOLDED_NAME.sub(r"\1", node.input[1]) for node in nodes}


def between(graph: Any, layers: Collection[str]) -> set[str]:
    """Names of the plain operators whose results only these layers read, or operators that are such themselves."""
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    chosen = set(layers)
    for node in reversed(graph.node):
        reading = [reader.name for output in node.output for reader in readers.get(output, [])]
        if node.op_type in BETWEEN and reading and all(name in chosen for name in reading):
            chosen.add(node.name)
    return chosen.difference(layers)


def inner_layers(graph: Any, layers: Collection[str]) -> list[str]:
    """Names of the layers whose results reach another one through plain operators: all but those of the outputs."""
    computing = between(graph, layers).union(layers)
    feeding = {name for node in graph.node if node.name in computing for name in node.input}
    return [node.name for node in graph.node if node.name in layers and feeding.intersection(node.output)]


def logit_layers(graph: Any) -> list[str]:
    """Names of the last convolutions whose results only sigmoids read."""
    layers, logits = layer_nodes(graph), _read_by_sigmoids(graph)
    last = set(layers).difference(inner_layers(graph, layers))
    return [
        node.name for node in graph.node if node.name in last and node.op_type == "Conv" and node.output[0] in logits
    ]


def limit_logits(graph: Any, layers: Collection[str]) -> list[str]:
    """Limit the results of these of the `logit_layers`, so that their 8-bit steps are small.

    Returns:
        Names of the limits behind them, which become limits of the layers' integers.
    """
    from onnx import helper, numpy_helper

    from src.deploy.onnx_graph import replace_nodes

    values = {"least_logit": -LOGIT_LIMIT, "most_logit": LOGIT_LIMIT}
    nodes: list[Any] = []
    limits: list[str] = []
    for node in graph.node:
        nodes.append(node)
        if node.name in layers:
            limited = node.output[0]
            node.output[0] = f"{limited}_unlimited"
            limits.append(f"{node.name}_limit")
            nodes.append(helper.make_node("Clip", [node.output[0], *values], [limited], name=limits[-1]))
    if limits:
        replace_nodes(graph, nodes)
        graph.initializer.extend(numpy_helper.from_array(np.float32(value), name) for name, value in values.items())
    return limits


def _read_by_sigmoids(graph: Any) -> set[str]:
    """Names of the values that sigmoids read and nothing else does, be it directly or after they were moved."""
    found: set[str] = set()
    others = {value.name for value in graph.output}
    for node in reversed(graph.node):
        is_moved = node.op_type in MOVING and not others.intersection(node.output) and found.issuperset(node.output)
        reads_logits = node.op_type == "Sigmoid" or is_moved
        (found if reads_logits else others).update(node.input)
    return found - others
