"""Malformed files of others: one line that names the file and the entry, for each kind that was a traceback."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from src.common.errors import UserError
from src.data.formats.coco import CocoDataset
from src.data.formats.txt import TxtDataset
from src.data.formats.voc import VocDataset
from src.deploy.export_card import card_path, load_card
from src.evaluation.coco_annotations import read_annotations
from src.evaluation.coco_evaluator import CocoEvaluator
from src.evaluation.predictions import load_predictions, load_results
from tests.conftest import ROOT
from tests.data.coco_files import NAMES, write_dataset
from tests.data.listed_files import voc_object, voc_xml, write_year
from tests.deploy.cards import write_card


def edited(path: Path, change) -> Path:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["images"].insert(2, None), r"images[2] is None, not an object"),
        (lambda c: c["images"].insert(0, 5), "images[0] is 5, not an object"),
        (lambda c: c["images"][1].update(file_name=5), "images[1]: file_name is 5, not the name of a file"),
        (lambda c: c["images"][1].update(file_name="a\0b"), "images[1]: file_name is 'a\\x00b', not the name"),
        (lambda c: c["images"][1].update(file_name="\ud800"), "images[1]: file_name is '\\ud800', not the name"),
        (lambda c: c["images"][3].update(id=2**63), "images[3]: id is 9223372036854775808, not a whole number of 64"),
        (lambda c: c["images"][3].update(id=True), "images[3]: id is True, not a whole number"),
        (lambda c: c["images"][3].update(height=float("nan")), "images[3]: height is nan, not a positive number"),
        (lambda c: c["images"][3].update(width="60"), "images[3]: width is '60', not a positive number"),
        (lambda c: c["images"][3].update(width=10**400), "images[3]: width is 1000"),
        (lambda c: c["annotations"].append(None), "annotations[6] is None, not an object"),
        (lambda c: c["annotations"].append("x"), "annotations[6] is 'x', not an object"),
        (lambda c: c["annotations"][2].update(image_id="13"), "annotations[2]: image_id is '13', not a number"),
        (lambda c: c["annotations"][2].update(image_id=[13]), "annotations[2]: image_id is [13], not a number"),
        (lambda c: c["annotations"][2].pop("image_id"), "annotations[2] has no image_id: it is {"),
        (lambda c: c["annotations"][2].update(category_id={}), "annotations[2]: category_id is {}, not a number"),
        (lambda c: c["annotations"][2].update(id=[]), "annotations[2]: id is [], not a number or a text"),
        (lambda c: c["annotations"][2].update(iscrowd="0"), "annotations[2]: iscrowd is '0', not 0 or 1"),
        (lambda c: c["categories"].append(None), "categories[3] is None, not an object"),
        (lambda c: c["categories"][1].pop("id"), "categories[1] has no id"),
        (lambda c: c["categories"][1].update(id=7), "category id 7 is used more than once"),
        (lambda c: c["categories"][1].update(name=None), "categories[1]: name is None, not a name"),
    ],
)
def test_coco(tmp_path, change, message):
    path = edited(write_dataset(tmp_path) / "labels.json", change)
    with pytest.raises(UserError) as caught:
        CocoDataset(tmp_path, NAMES)
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)


@pytest.mark.parametrize("box", [5, "1234", None, ["1", "2", "3", "4"], [1, 2, 3, 10**400], {"x": 1}, [[1], 2, 3, 4]])
def test_a_box_that_is_none_costs_its_object(tmp_path, box):
    edited(write_dataset(tmp_path) / "labels.json", lambda c: c["annotations"][0].update(bbox=box))
    dataset = CocoDataset(tmp_path, NAMES)
    assert sum(len(record.boxes) for record in dataset.records) == 5
    assert any("annotation 100 is empty, not a box" in line for line in dataset.problems)


def test_json_that_no_parser_takes(tmp_path):
    path = write_dataset(tmp_path) / "labels.json"
    for text, reason in (("[" * 100_000, "nested too deeply"), ('{"images": [' + "9" * 5000 + "]}", "digit")):
        path.write_text(text)
        with pytest.raises(UserError, match=rf"labels\.json, line \d+, column \d+: not valid JSON \(.*{reason}"):
            CocoDataset(tmp_path, NAMES)
        with pytest.raises(UserError, match=r"labels\.json: not a JSON file"):
            read_annotations(path)
        with pytest.raises(UserError, match=r"labels\.json, line \d+, column \d+: broken predictions"):
            load_results(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<?xml version='1.0' encoding='unknown'?><annotation/>", "not valid XML"),
        ("<?xml version='1.0' encoding='utf-7'?><annotation/>", "not valid XML"),
        ("<?xml version='1.0' encoding='shift_jis'?><annotation/>", "not valid XML"),
        (voc_xml("").replace("60", "9" * 400), "no image is that large"),
        (voc_xml("").replace("60", "9" * 5000), "no image is that large"),
        ("<annotation><object><name>" + "x" * 10**6 + "</name></object></annotation>", "needs a bndbox"),
        ("<annotation>" + "<a>" * 100_000, "not valid XML"),
        ("<!DOCTYPE a [<!ENTITY b0 'bbbbbbbbbb'>" + "".join(
            f"<!ENTITY b{i} '{f'&b{i - 1};' * 10}'>" for i in range(1, 12)) + "]><annotation>&b11;</annotation>",
         "not valid XML"),
    ],
)  # fmt: skip
def test_voc(tmp_path, text, message):
    year = write_year(tmp_path / "VOC2007", {"trainval": ["a", "b"]})
    path = year / "Annotations" / "b.xml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        VocDataset(year, NAMES, "train", ["trainval"])
    assert str(caught.value).startswith(f"{path}") and message in str(caught.value) and len(str(caught.value)) < 500


def test_boxes_at_infinity_of_a_missing_image(tmp_path):
    year = write_year(tmp_path / "VOC2007", {"trainval": ["a"]})
    text = voc_xml(voc_object("cat", (1, 1, float("inf"), 20))).replace("<width>60</width>", "")
    (year / "Annotations" / "a.xml").write_text(text)
    (year / "JPEGImages" / "a.png").unlink()
    assert len(VocDataset(year, NAMES, "train", ["trainval"]).missing_images) == 1
    (tmp_path / "list.txt").write_text("none.jpg 1,1,inf,20,1 1,1,nan,5,1\n")
    assert len(TxtDataset(tmp_path / "list.txt", NAMES).missing_images) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": None}, "result[1]: score is None, not a number"),
        ({"score": float("inf")}, "result[1]: score is inf, not finite numbers"),
        ({"image_id": float("inf")}, "result[1]: image_id is inf, not a whole number"),
        ({"image_id": 13.5}, "result[1]: image_id is 13.5, not a whole number"),
        ({"image_id": 2**63}, "result[1]: image_id is 9223372036854775808"),
        ({"image_id": "13"}, "result[1]: image_id is '13', not a whole number"),
        ({"category_id": float("nan")}, "result[1]: category_id is nan"),
        ({"bbox": ["1", 2, 3, 4]}, "result[1]: bbox is ['1', 2, 3, 4], not finite numbers"),
        ({"bbox": [1, 2, 3, 10**400]}, "result[1]: bbox is [1, 2, 3, 1000"),
        ({"bbox": {"x": 1}}, "result[1]: bbox is {'x': 1}, not a list"),
    ],
)
def test_coco_results(tmp_path, change, message):
    dataset = CocoDataset(write_dataset(tmp_path / "data"), NAMES)
    good = {"image_id": 13, "category_id": 7, "bbox": [5, 7, 20, 12], "score": 0.9}
    path = tmp_path / "r.json"
    path.write_text(json.dumps([good, {**good, **change}]))
    with pytest.raises(UserError) as caught:
        CocoEvaluator.for_dataset(dataset).add_results(load_results(path, dataset), path)
    assert str(caught.value).startswith(str(path)) and message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.update(height=None), "a.jpg: not as infer.py writes it: height is None"),
        (lambda e: e.update(height=0), "height is 0"),
        (lambda e: e.update(predictions=[None]), "predictions.0 is None"),
        (lambda e: e["predictions"][0].update(score=float("nan")), "predictions.0.score is nan"),
        (lambda e: e["predictions"][0]["bbox"].update(x_min="1"), "predictions.0.bbox.x_min is '1'"),
        (lambda e: e["predictions"][0]["class"].update(label=float("inf")), "predictions.0.class.label is inf"),
        (lambda e: e["predictions"][0].update({"class": "cat"}), "predictions.0.class is 'cat'"),
    ],
)
def test_predictions(tmp_path, change, message):
    found = {"bbox": {"x_min": 1, "y_min": 2, "width": 3, "height": 4},
             "class": {"label": 0, "category_id": 7, "name": "cat"}, "score": 0.5}  # fmt: skip
    entry = {"height": 40, "width": 60, "predictions": [found]}
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"a.jpg": entry}))
    assert load_predictions(path)
    change(entry)
    path.write_text(json.dumps({"a.jpg": entry}))
    with pytest.raises(UserError) as caught:
        load_predictions(path)
    assert str(caught.value).startswith(f"{path}: a.jpg: ") and message in str(caught.value)
    path.write_text(json.dumps({"a\0.jpg": {}}))
    with pytest.raises(UserError, match=r"p\.json"):
        load_predictions(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(inputs=[]), "inputs is []"),
        (lambda c: c["inputs"][0].update(shape=[]), "the first input must be image"),
        (lambda c: c["inputs"][0].update(shape=[0, 3, 64, 96]), "the first input must be image"),
        (lambda c: c.update(outputs=[None]), "outputs.0 is None"),
        (lambda c: c["outputs"][0].update(shape=[1]), "boxes must be [batch, anchors, 4]"),
        (lambda c: c["preprocessing"].update(img_std=[0, 1, 1]), "preprocessing.img_std.0 is 0"),
        (lambda c: c["preprocessing"].update(img_mean=[1]), "preprocessing.img_mean is [1]"),
        (lambda c: c["preprocessing"].update(img_height=10**9), "preprocessing.img_height is 1000000000"),
        (lambda c: c.update(class_names=[]), "class_names is []"),
        (lambda c: c.update(category_ids=[1]), "category_ids has 1 ids for 3 class_names"),
        (lambda c: c.update(selection=None), "selection belongs to the form raw"),
        (lambda c: c["selection"].update(kind="other"), "kind"),
        (lambda c: c["selection"].pop("kind"), "kind"),
        (lambda c: c["selection"].update(level_sizes=[1]), "level_sizes add up to 1, boxes has 9 anchors"),
        (lambda c: c["selection"].update(nms_pre="many"), "nms_pre"),
        (lambda c: c["selection"].update(nonsense=1), "nonsense"),
        (lambda c: c.update(mask_threshold=float("nan")), "mask_threshold"),
    ],
)
def test_cards(tmp_path, change, message):
    network = tmp_path / "a.mindir"
    write_card(network, NAMES, [6, 3])
    edited(card_path(network), change)
    with pytest.raises(UserError) as caught:
        load_card(network)
    assert str(caught.value).startswith(f"{card_path(network)}: ") and message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["outputs"].reverse(), "the outputs of detections are boxes, scores, labels, valid and masks"),
        (lambda c: c["outputs"][1].update(shape=[1, 9, 1]), "boxes must be [batch, rows, 4], scores, labels and valid"),
        (lambda c: c["outputs"][4].update(shape=[1, 8, 28, 28]), "masks [batch, rows, S, S]"),
        (lambda c: c["outputs"][0].update(shape=[]), "boxes must be [batch, rows, 4]"),
        (lambda c: c.update(mask_threshold=None), "masks need a mask_threshold"),
    ],
)
def test_cards_of_detections(tmp_path, change, message):
    network = tmp_path / "a.mindir"
    write_card(network, NAMES, [6, 3], form="detections", mask_threshold=0.5)
    edited(card_path(network), change)
    with pytest.raises(UserError) as caught:
        load_card(network)
    assert str(caught.value).startswith(f"{card_path(network)}: ") and message in str(caught.value)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ("[]", "its meta_json is [], not an object"),
        ("5", "its meta_json is 5, not an object"),
        ("{", "its meta_json is not JSON"),
        ('{"step": 1, "unknown": 2}', "unknown is 2"),
        ('{"step": "1"}', "step is '1'"),
        ('{"step": -1}', "step is -1"),
        ('{"step": 1, "loss_scale": 0}', "loss_scale is 0"),
        ('{"step": 1, "loss_sum": NaN}', "loss_sum is nan"),
        ('{"step": 1, "config": []}', "config is []"),
    ],
)
def test_checkpoints(tmp_path, meta, message):
    import mindspore as ms

    from src.weights.checkpoint import checkpoint_config, load_training_state
    from tests.engine.toy_detector import ToyDetector

    path, net = tmp_path / "last.ckpt", ToyDetector()
    parameters = [{"name": name, "data": p} for name, p in net.parameters_dict().items()]
    ms.save_checkpoint(parameters, str(path), append_dict={"meta_json": meta}, crc_check=True)
    with pytest.raises(UserError) as caught:
        load_training_state(path, net, ms.nn.SGD(net.trainable_params()))
    assert str(caught.value).startswith(f"checkpoint {path}: ") and message in str(caught.value)
    if "config" in meta:
        with pytest.raises(UserError, match="config"):
            checkpoint_config(path)


def test_a_type_that_numpy_does_not_have(tmp_path):
    """The bytes of three floats under the name of an 8-bit type, with a checksum that fits."""
    import binascii

    import mindspore as ms
    import numpy as np

    from src.weights import load_checkpoint_weights

    path = tmp_path / "a.ckpt"
    ms.save_checkpoint([{"name": "w", "data": ms.Tensor(np.ones(4, np.int8))}], str(path), crc_check=True)
    body = path.read_bytes().split(b"crc_num")[0]
    entry = body.replace(b"\x12\x04Int8", b"\x12\x0aFloat8E5M2")
    entry = bytes([entry[0], entry[1] + 6, *entry[2:6], entry[6] + 6, *entry[7:]])
    path.write_bytes(entry + b"crc_num" + binascii.crc32(entry).to_bytes(10, "big"))
    with pytest.raises(UserError, match=r"checkpoint .*a\.ckpt"):
        load_checkpoint_weights(path)


def test_resume_of_a_list_is_one_line_and_exit_code_2():
    words = [
        "train.py",
        "--config_path",
        "configs/demo/spinenet_retinanet.yaml",
        "--train_dataset",
        "/x",
        "--resume",
        "[]",
    ]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
