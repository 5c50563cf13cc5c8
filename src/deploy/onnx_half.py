"""ONNX files in half precision, made by ONNX Runtime's own tool from a file in float32."""

from pathlib import Path
from typing import Any

from src.deploy.onnx_layers import between, folded, layer_nodes, one_line_of_tools


def convert_to_half(source: Path, target: Path) -> None:
    """Write an ONNX file with weights and activations between layers in float16; inputs and outputs stay float32.

    Args:
        source: file in float32; unchanged.
        target: file to write.

    Raises:
        UserError: ONNX Runtime's tools cannot convert the file.
    """
    import onnx

    from src.deploy.onnx_scan import network_of_one, scan_images

    with one_line_of_tools("float16"):
        model = onnx.load(source)
        one = network_of_one(model)  # the tools do not look inside a Scan
        converted = _half(folded(model if one is None else one))
        onnx.save(converted if one is None else scan_images(converted), target)


def _half(model: Any) -> Any:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    from src.deploy.onnx_graph import sort_nodes

    layers = layer_nodes(model.graph)
    chosen = between(model.graph, layers).union(layers)
    kept = [node.name for node in model.graph.node if node.name not in chosen]
    converted = convert_float_to_float16(model, keep_io_types=True, node_block_list=kept)
    sort_nodes(converted.graph)  # the tool appends its casts
    _keep_float32(converted.graph)
    return converted


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
