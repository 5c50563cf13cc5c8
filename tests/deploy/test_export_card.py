import json
import re

import pytest

from src.common.errors import UserError
from src.config import load_config
from src.deploy.export_card import (
    ExportCard,
    Port,
    Preprocessing,
    card_path,
    load_card,
    refuse_other_config,
    sha256_of,
)
from tests.end_to_end.commands import ROOT


def config(**overrides):
    return load_config(ROOT / "configs/demo/spinenet_retinanet.yaml", overrides)


@pytest.fixture
def exported(tmp_path):
    path = tmp_path / "model.mindir"
    path.write_bytes(b"a network")
    ExportCard(
        format="MINDIR",
        form="raw",
        detector="retinanet",
        inputs=[Port(name="image", shape=[-1, 3, 128, 128])],
        outputs=[Port(name="boxes", shape=[-1, 3069, 4]), Port(name="scores", shape=[-1, 3069, 4])],
        preprocessing=Preprocessing.of(config()),
        class_names=config().class_names,
        category_ids=[],
        selection={"kind": "levels", "level_sizes": [3069]},
        mask_threshold=None,
        checkpoint="best.ckpt",
        checkpoint_sha256="0" * 64,
        sha256=sha256_of(path),
    ).save(path)
    return path


def test_a_card_comes_back(exported):
    card = load_card(exported)
    assert card.batch_size is None and card.outputs[1].shape == [-1, 3069, 4]
    assert card.preprocessing.input_width == 128 and card.preprocessing.to_rgb
    refuse_other_config(exported, card, config())


def test_each_format_has_a_card_of_its_own():
    assert card_path("out/model.mindir").name == "model.json"
    assert card_path("out/model.onnx").name == "model.onnx.json"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"img_width": 256}, "img_width 128, but .*spinenet_retinanet.yaml has 256"),
        ({"keep_ratio": False}, "keep_ratio True, but .* has False"),
        ({"img_std": [1, 1, 1]}, "img_std"),
        (
            {"coco_classes": ["background", *map(str, range(9))], "num_classes": 10},
            r"classes \['circle', .*\], but .* has \(9\) 0, 1, 2, ...",
        ),
    ],
)
def test_another_configuration_is_refused(exported, overrides, message):
    with pytest.raises(UserError, match=message):
        refuse_other_config(exported, load_card(exported), config(**overrides))


def test_files_that_do_not_belong_together(exported, tmp_path):
    with pytest.raises(UserError, match="none.onnx does not exist"):
        load_card(tmp_path / "none.onnx")
    exported.write_bytes(b"another network")
    with pytest.raises(UserError, match=re.escape("model.mindir is not the file that model.json was written for")):
        load_card(exported)
    card_path(exported).write_text(json.dumps({"format": "MINDIR"}))
    with pytest.raises(UserError, match="model.json: not the JSON that export.py writes"):
        load_card(exported)
    card_path(exported).unlink()
    with pytest.raises(UserError, match="model.json is missing"):
        load_card(exported)
