"""Cells that compile to other graphs have other descriptions; equal cells have equal ones."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn, ops

from src.model_utils.graph_description import description


class Settings:
    """A plain object that a cell holds."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold


class Part(nn.Cell):
    """A cell with one of everything."""

    def __init__(self, **changed: object) -> None:
        super().__init__()
        values = {"number": 3, "threshold": 0.5, "constant": 7.0, "bound": 2, "channels": 4, "axis": 0, "factor": 5}
        values |= changed
        self.number = values["number"]
        self.settings = Settings(values["threshold"])
        self.anchors = Tensor(np.full((5, 4), values["constant"], np.float32))
        bound = values["bound"]
        self.function = lambda x: x + bound
        self.dense = nn.Dense(4, values["channels"])
        self.concat = ops.Concat(values["axis"])
        self.scaled = partial(max, values["factor"])


class Whole(nn.Cell):
    """Has parts, one of which it reaches only through a method, as the roots of prediction do."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.method = part.construct


def test_equal_cells_have_equal_descriptions():
    assert description(Part()) == description(Part())
    assert description(Whole(Part())) == description(Whole(Part()))


@pytest.mark.parametrize("name", ["number", "threshold", "constant", "bound", "channels", "axis", "factor"])
def test_each_setting_counts(name: str):
    changed = Part(**{name: 1})
    assert description(changed) != description(Part())
    assert description(Whole(changed)) != description(Whole(Part()))


def _replace_parameter(part: Part) -> None:
    part.dense.weight = Parameter(part.dense.weight.asnumpy().astype(np.float16), name=part.dense.weight.name)


@pytest.mark.parametrize(
    "change",
    [
        lambda part: part.set_train(True),
        lambda part: setattr(part.dense.weight, "requires_grad", False),
        lambda part: setattr(part.dense, "kernel", None),
        lambda part: part.concat.add_prim_attr("stride", 2),
        lambda part: part.to_float(Tensor(np.float16(0)).dtype),
        _replace_parameter,
    ],
    ids=["training", "frozen", "another operator", "an attribute", "half precision", "type of a parameter"],
)
def test_a_change_to_a_cell_that_exists_counts(change: Callable[[Part], None]):
    part = Part()
    change(part)
    assert description(part) != description(Part())


def test_values_of_parameters_do_not_count():
    part = Part()
    part.dense.weight.set_data(Tensor(np.ones((4, 4), np.float32)))
    assert description(part) == description(Part())


def test_a_description_stays_when_the_graph_was_compiled():
    dense = nn.Dense(4, 2)
    before = description(dense)
    dense(Tensor(np.ones((1, 4), np.float32)))
    assert description(dense) == before
