"""Which value of an evaluation is best."""

import pytest

from src.common.errors import UserError
from src.config import load_config
from src.engine.main_metric import MainMetric
from src.evaluation.metrics import Metrics
from src.schema.statistics import COCO_STATISTICS
from tests.conftest import ROOT

MASKS = Metrics(
    {"bbox_mAP": 0.5, "bbox_mAP_50": 0.7, "segm_mAP": 0.4},
    {"cat": 0.6, "a/b": 0.3},
    {"cat": 0.8, "a/b": 0.4},
    {},
    3,
    9,
    {"cat": 0.2, "a/b": 0.1},
    {"cat": 0.25, "a/b": 0.15},
)


@pytest.mark.parametrize(
    ("name", "value", "label"),
    [
        ("auto", 0.4, "AP"),
        ("bbox_mAP", 0.5, "AP"),
        ("bbox_mAP_50", 0.7, "bbox_mAP_50"),
        ("bbox_mAP/cat", 0.6, "bbox_mAP_cat"),
        ("bbox_mAP_50/a/b", 0.4, "bbox_mAP_50_a_b"),
        ("segm_mAP/cat", 0.2, "segm_mAP_cat"),
        ("segm_mAP_50/cat", 0.25, "segm_mAP_50_cat"),
        ("val_loss", 1.5, "val_loss"),
    ],
)
def test_values_by_name(name, value, label):
    metric = MainMetric(name)
    assert metric.value(MASKS, {"val_loss": 1.5, "val_loss_cls": 1.0}) == value
    assert metric.label == label


def test_more_precision_and_less_loss_are_better():
    precision, loss = MainMetric(), MainMetric("val_loss")
    assert precision.is_better(0.0, None) and precision.is_better(0.2, 0.1) and not precision.is_better(0.1, 0.1)
    assert not precision.is_better(-1.0, None)
    assert loss.is_better(7.0, None) and loss.is_better(0.1, 0.2) and not loss.is_better(0.2, 0.1)
    assert not loss.is_better(float("nan"), None) and not loss.is_better(float("inf"), None)


def configured(system: str, name: str, **keys: str):
    return load_config(ROOT / f"configs/demo/{system}.yaml", {"main_metric": name, **keys})


def test_every_number_of_an_evaluation_may_decide():
    for row in COCO_STATISTICS:
        assert configured("mask_rcnn", f"segm_{row[0]}").main_metric == f"segm_{row[0]}"
    assert configured("nas_fpn", "bbox_mAP/star").main_metric == "bbox_mAP/star"
    assert configured("nas_fpn", "VOC_mAP", dataset="voc").main_metric == "VOC_mAP"
    assert configured("nas_fpn", "val_loss", val_loss="1").val_loss


@pytest.mark.parametrize("name", ["AP", "segm_mAP", "bbox_mAP/dog", "bbox_mAP_75/star", "VOC_mAP", "val_loss", ""])
def test_others_are_refused_with_the_names_that_there_are(name):
    with pytest.raises(UserError) as caught:
        configured("nas_fpn", name)
    message = str(caught.value)
    assert "\n" not in message
    assert f"main_metric is '{name}'; known are auto, bbox_mAP, bbox_mAP_50, " in message
    assert "bbox_AR_l, bbox_mAP/CLASS and bbox_mAP_50/CLASS with a class of coco_classes" in message
    assert "val_loss with val_loss: 1" in message


def test_losses_without_evaluations_are_refused():
    with pytest.raises(UserError, match="val_loss is part of evaluations, and run_eval is 0"):
        configured("nas_fpn", "auto", val_loss="1", run_eval="0")
