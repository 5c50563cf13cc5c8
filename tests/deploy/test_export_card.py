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
    load_card_of_converted,
    refuse_other_config,
    sha256_of,
)
from src.deploy.onnx_metadata import write_metadata
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


def test_the_card_of_a_converted_file_is_its_sources(exported):
    source, converted = exported.with_name("net.onnx"), exported.with_name("net.mindir")
    source.write_bytes(exported.read_bytes())
    card_path(exported).rename(card_path(source))
    with pytest.raises(UserError, match=re.escape("net.mindir does not exist")):
        load_card_of_converted(converted)
    converted.write_bytes(b"converted")
    assert load_card_of_converted(converted) == load_card(source) == load_card_of_converted(source)
    with pytest.raises(UserError, match=re.escape("net.json is missing")):
        load_card(converted)
    source.write_bytes(b"another network")
    with pytest.raises(UserError, match=re.escape("net.onnx is not the file that net.onnx.json was written for")):
        load_card_of_converted(converted)
    source.unlink()
    assert load_card_of_converted(converted).sha256
    card_path(converted).write_text(card_path(source).read_text())
    with pytest.raises(UserError, match=re.escape("net.mindir is not the file that net.json was written for")):
        load_card_of_converted(converted)


def test_an_onnx_file_that_is_alone_has_its_card_inside(exported, tmp_path):
    from onnx import helper, save

    card, alone = load_card(exported), tmp_path / "alone.onnx"
    save(helper.make_model(helper.make_graph([], "net", [], [])), alone)
    with pytest.raises(UserError, match=re.escape("alone.onnx.json is missing")):
        load_card(alone)
    write_metadata(alone, card.model_dump(exclude={"sha256"}))
    assert load_card(alone) == card.model_copy(update={"sha256": sha256_of(alone)})
    write_metadata(alone, {"class_names": []})
    with pytest.raises(UserError, match=re.escape("alone.onnx: not the JSON that export.py writes")):
        load_card(alone)
    alone.write_bytes(b"\xff" * 20)
    with pytest.raises(UserError, match=re.escape("alone.onnx: not an ONNX file")):
        load_card(alone)


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
