"""ONNX files that compute a batch of any size image by image: the network of one image inside a Scan.

It is for networks whose regions are counted for a fixed batch.
"""

import numpy as np
from onnx import GraphProto, ModelProto, ValueInfoProto, helper

from src.deploy.onnx_graph import Constants, attribute, let_batch_vary, rename_values

SCAN = "scan_images"


def scan_images(model: ModelProto) -> ModelProto:
    """A model of any batch, which gives each image what another gives it for one.

    Args:
        model: inputs and outputs have a first axis of length 1; not changed.
    """
    scanned = ModelProto.FromString(model.SerializeToString())
    graph = scanned.graph
    body = _renamed(model.graph, {value.name: f"{value.name}_of_one" for value in _ports(model.graph)})
    for part in (graph.node, graph.initializer, graph.value_info):
        del part[:]
    # Scan takes the scanned axis away: [B,...] becomes [B,1,...], so that the network still finds a batch, of one.
    axes = Constants(graph).add(np.array([1], np.int64), "axis_of_batch")
    for value in graph.input:
        graph.node.append(helper.make_node("Unsqueeze", [value.name, axes], [f"{value.name}_listed"]))
    inputs, outputs = ([f"{value.name}_listed" for value in values] for values in (graph.input, graph.output))
    graph.node.append(helper.make_node("Scan", inputs, outputs, name=SCAN, body=body, num_scan_inputs=len(inputs)))
    for value in graph.output:
        graph.node.append(helper.make_node("Squeeze", [f"{value.name}_listed", axes], [value.name]))
    let_batch_vary(graph)
    return scanned


def network_of_one(model: ModelProto) -> ModelProto | None:
    """The model that `scan_images` was given; None: it was not made by it."""
    scan = next((node for node in model.graph.node if node.name == SCAN), None)
    if scan is None:
        return None
    body = attribute(scan, "body")
    inside, outside = _ports(body), _ports(model.graph)
    one = ModelProto.FromString(model.SerializeToString())
    new = {value.name: port.name for value, port in zip(inside, outside, strict=True)}
    one.graph.CopyFrom(_renamed(body, new))
    return one


def _ports(graph: GraphProto) -> list[ValueInfoProto]:
    return [*graph.input, *graph.output]


def _renamed(graph: GraphProto, new: dict[str, str]) -> GraphProto:
    """A copy of a graph in which some values have new names."""
    copy = GraphProto.FromString(graph.SerializeToString())
    rename_values(copy, new)
    return copy
