"""Keys of RefineDet: published spellings, and contradictions."""

import re

import pytest

from src.common.errors import UserError
from src.config import load_config
from tests.conftest import ROOT

CONFIGS = ROOT / "configs" / "refinedet"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_is_consistent(path):
    config = load_config(path)
    side = int(re.search(r"_(\d{3})", path.stem)[1])
    assert config.input_hw == (side, side) and config.brief == path.stem
    classes = {"voc": 21, "bccd": 4}
    assert config.num_classes == next((n for name, n in classes.items() if name in path.stem), 81)
    assert config.num_classes == len(config.coco_classes)
    assert not config.keep_ratio


def test_the_published_spellings():
    given = {"class_num": 3, "coco_classes": ["background", "a", "b"], "category_ids": [], "image_shape": [128, 192]}
    config = load_config(CONFIGS / "refinedet_vgg16_320.yaml", given | {"save_checkpoint_epochs": 7})
    assert (config.num_classes, config.input_hw, config.save_checkpoint_epochs) == (3, (128, 192), 7)


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            {"image_shape": [320, 300], "divider": 1},
            "img_width gives an input of 300 pixels; the network needs a multiple",
        ),
        ({"backbone.frozen_stages": 1}, "backbone.frozen_stages is 1, a key of resnet"),
        ({"backbone.type": "resnet", "backbone.with_bn": True}, "backbone.with_bn is a key of vgg16"),
        ({"backbone.type": "resnet", "backbone.out_indices": [0, 1, 2]}, "RefineDet reads the stages"),
        ({"bbox_head.anchor_generator.strides": [8, 16, 32]}, "but the levels have"),
        ({"train_cfg.objectness_filter": "all"}, "train_cfg.objectness_filter: 'all' is not allowed"),
    ],
)
def test_contradictions_are_named(overrides, problem):
    with pytest.raises(UserError) as error:
        load_config(CONFIGS / "refinedet_vgg16_320.yaml", overrides)
    assert problem in str(error.value)
