"""What is changed in the ONNX graphs that MindSpore writes, so that they run everywhere, faster, and on any batch.

MindSpore writes version 11 of the operators. Each pass changes the graph in place.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper, version_converter

from src.common.errors import UserError
from src.deploy.lite_passes import suit_lite
from src.deploy.onnx_graph import (
    Constants,
    attribute,
    drop_unused,
    let_batch_vary,
    makers_of,
    rename_values,
    replace_nodes,
    set_attribute,
)
from src.deploy.onnx_scan import scan_images

OPSET = 17  # 12 has Clip of integers, 16 RoiAlign with half pixels; ONNX Runtime has had 17 since 1.12


def improved(
    model: ModelProto,
    output_names: Sequence[str],
    aligned_rois: bool,
    dynamic_batch: bool,
    opset: int = OPSET,
    for_lite: bool = False,
    image_by_image: bool = False,
) -> ModelProto:
    """A model that MindSpore wrote, with all passes applied.

    Args:
        model: as `mindspore.onnx.export` wrote it, for a batch of one image if `dynamic_batch`.
        output_names: new names of the outputs, in their order.
        aligned_rois: RoiAlign counts from the centres of pixels.
        dynamic_batch: the first axis of inputs and outputs may have any length.
        opset: version of the operators.
        for_lite: without what MindSpore Lite lacks.
        image_by_image: a batch of any length is computed so, since the network counts on one image.

    Raises:
        UserError: operators of the network do not exist in that version.
    """
    _drop_repeated(model.graph)
    model = version_converter.convert_version(model, OPSET)
    graph = model.graph
    _rename_outputs(graph, output_names)
    _bias_along_channels(graph)
    _pad_in_pooling(graph)
    _stack_without_sequences(graph)
    _resize_for_repetition(graph)
    _own_weights(graph)
    for node in graph.node:
        if node.op_type == "RoiAlign":
            set_attribute(node, "coordinate_transformation_mode", "half_pixel" if aligned_rois else "output_half_pixel")
    if dynamic_batch and not image_by_image:
        _free_batch(graph)
    drop_unused(graph)
    if for_lite:
        suit_lite(model)
    if opset != OPSET:
        model = _in_version(model, opset)
    if dynamic_batch and image_by_image:
        model = scan_images(model)
    return onnx.shape_inference.infer_shapes(model)


def _in_version(model: ModelProto, opset: int) -> ModelProto:
    try:
        return version_converter.convert_version(model, opset)
    except Exception as error:  # those of its C++ are plain RuntimeErrors, but not only
        first = str(error).splitlines()[0]
        raise UserError(f"--opset {opset}: this network cannot be written in that version ({first})") from None


def _drop_repeated(graph: GraphProto) -> None:
    """Keep one of equal nodes: a constant that is cast for several readers is written for each, under one name."""
    seen: dict[str, NodeProto] = {}
    for node in graph.node:
        if node.output[0] not in seen:
            seen[node.output[0]] = node
        elif node.SerializeToString() != seen[node.output[0]].SerializeToString():
            raise ValueError(f"two nodes of an ONNX graph write {node.output[0]}")
    kept = list(seen.values())
    if len(kept) < len(graph.node):
        replace_nodes(graph, kept)


def _rename_outputs(graph: GraphProto, names: Sequence[str]) -> None:
    rename_values(graph, {output.name: name for output, name in zip(graph.output, names, strict=True)})


def _bias_along_channels(graph: GraphProto) -> None:
    """Add(Reshape(x) [B,C,H,W], bias [C]) -> Add(Reshape(x), bias [C,1,1]): BiasAdd is written as if C came last."""
    makers, constants = makers_of(graph), Constants(graph)
    for node in graph.node:
        if node.op_type != "Add":
            continue
        reshape, bias = makers.get(node.input[0]), constants.value(node.input[1])
        if bias is None or bias.ndim != 1 or reshape is None or reshape.op_type != "Reshape":
            continue
        shape = constants.value(reshape.input[1])
        if shape is not None and len(shape) == 4 and shape[1] == len(bias):
            node.input[1] = constants.add(bias.reshape(-1, 1, 1), f"{node.output[0]}_bias")


def _pad_in_pooling(graph: GraphProto) -> None:
    """MaxPool(zeros before columns(zeros before rows(x))) -> MaxPool(x, padded); see `src.ops.max_pool`.

    x is not negative, so that its zeros are as good as the operator's own padding.
    """
    makers, constants = makers_of(graph), Constants(graph)
    for node in graph.node:
        if node.op_type != "MaxPool":
            continue
        columns, width = _zeros_before(makers.get(node.input[0]), 3, constants)
        rows, height = _zeros_before(makers.get(columns or ""), 2, constants)
        if rows is None:
            continue
        node.input[0] = rows
        for index in reversed(range(len(node.attribute))):
            if node.attribute[index].name in ("auto_pad", "pads"):
                del node.attribute[index]
        set_attribute(node, "pads", [height, width, 0, 0])


def _zeros_before(node: NodeProto | None, axis: int, constants: Constants) -> tuple[str | None, int]:
    """(x, number of zeros) of Concat(zeros, x) along an axis; (None, 0) for any other node."""
    if node is None or node.op_type != "Concat" or len(node.input) != 2:
        return None, 0
    zeros = constants.value(node.input[0])
    if zeros is None or zeros.ndim != 4 or zeros.any() or attribute(node, "axis") != axis:
        return None, 0
    return node.input[1], zeros.shape[axis]


def _stack_without_sequences(graph: GraphProto) -> None:
    """ConcatFromSequence(SequenceConstruct(x, y), new axis) -> Concat(Unsqueeze(x), Unsqueeze(y))."""
    makers, constants = makers_of(graph), Constants(graph)
    nodes: list[NodeProto] = []
    for node in graph.node:
        sequence = makers.get(node.input[0]) if node.op_type == "ConcatFromSequence" else None
        if sequence is None or sequence.op_type != "SequenceConstruct" or not attribute(node, "new_axis"):
            nodes.append(node)
            continue
        axis, stacked = attribute(node, "axis"), node.output[0]
        axes = constants.add(np.array([axis], np.int64), f"{stacked}_axes")
        parts = [f"{stacked}_{place}" for place in range(len(sequence.input))]
        for value, part in zip(sequence.input, parts, strict=True):
            nodes.append(helper.make_node("Unsqueeze", [value, axes], [part], name=part))
        nodes.append(helper.make_node("Concat", parts, [stacked], name=stacked, axis=axis))
    replace_nodes(graph, nodes)


def _resize_for_repetition(graph: GraphProto) -> None:
    """Reshape [B,C,H,1,W,1], Expand [B,C,H,f,W,f], Reshape [B,C,Hf,Wf] -> Resize; see `upsample_nearest`."""
    makers, constants = makers_of(graph), Constants(graph)
    for node in list(graph.node):
        expand = makers.get(node.input[0]) if node.op_type == "Reshape" else None
        if expand is None or expand.op_type != "Expand":
            continue
        split = makers.get(expand.input[0])
        if split is None or split.op_type != "Reshape":
            continue
        before, repeated, after = (constants.value(x.input[1]) for x in (split, expand, node))
        if before is None or repeated is None or after is None or len(before) != 6 or len(after) != 4:
            continue
        _, _, height, factor, width, same = repeated.tolist()
        if before.tolist()[2:] != [height, 1, width, 1] or factor != same or after[2] != height * factor:
            continue
        scales = constants.add(np.array([1, 1, factor, factor], np.float32), f"{node.output[0]}_scales")
        resize = helper.make_node(
            "Resize",
            [split.input[0], "", scales],
            list(node.output),
            name=f"{node.name}_resize",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        node.CopyFrom(resize)


def _own_weights(graph: GraphProto) -> None:
    """Give each Conv after the first that reads a weight or a bias a name of its own for it, by an Identity.

    A head's weights and biases serve all levels. MindSpore Lite packs a weight once, in the layout that its first
    reader wants, and computes wrong scores in the others. Copies would do as well and make files larger; other runtimes
    drop the Identity while they load a file.
    """
    read: set[str] = set()
    names: list[NodeProto] = []
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        for place, value in enumerate(node.input[1:], 1):
            if value in read:
                own = f"{value}_of_{node.output[0]}"
                names.append(helper.make_node("Identity", [value], [own], name=own))
                node.input[place] = own
            read.add(value)
    replace_nodes(graph, [*names, *graph.node])


def _free_batch(graph: GraphProto) -> None:
    """Let the first axis have any length: no shape that a Reshape takes may name it, unless of a constant."""
    makers, constants = makers_of(graph), Constants(graph)
    for node in graph.node:
        if node.op_type == "Reshape":
            maker = makers.get(node.input[0])
            source = maker.input[0] if maker is not None and maker.op_type == "Cast" else node.input[0]
            if constants.value(source) is not None:
                continue
            shape = constants.value(node.input[1])
            if shape is not None and len(shape) and shape[0] == 1:
                shape = np.array([0, *shape[1:]], np.int64)  # 0: as long as the input's
                node.input[1] = constants.add(shape, f"{node.output[0]}_shape")
    let_batch_vary(graph)
    del graph.value_info[:]
