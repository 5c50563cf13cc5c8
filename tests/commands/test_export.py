"""Small detectors of every kind, exported, run and compared."""

import json
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from src.commands import export as exporter
from src.common.errors import UserError
from src.data.synthetic import main as write_synthetic
from src.deploy.difference import Difference, raw_difference
from src.deploy.export_card import ExportCard, load_card, refuse_other_config
from src.deploy.exported_model import ExportedModel, open_exported, open_model
from src.deploy.onnx_precision import convert_precision
from src.deploy.onnx_scan import network_of_one
from src.deploy.raw_selection import build_selection
from src.model_utils.device_adapter import Device
from src.predictor import Detector
from src.predictor.trained_detector import in_frame_of_file
from src.schema import Config
from src.weights.checkpoint import load_checkpoint_weights, save_weights
from tests.deploy.small_models import small_model


def exported(config: Config, folder: Path, **settings) -> Path:
    settings = {"file_name": str(folder / "model with a space"), **settings}
    return exporter.export(config.model_copy(update=settings))


@pytest.fixture(scope="module", autouse=True)
def device_is_set():
    """MindSpore takes its device once a process, which other tests may have had it do."""
    ms.set_context(mode=ms.GRAPH_MODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "setup_device", lambda config: Device("CPU"))
        yield


@pytest.fixture(scope="module")
def retinanet(tmp_path_factory) -> Config:
    return small_model("retinanet", tmp_path_factory.mktemp("retinanet"))


@pytest.fixture(scope="module")
def onnx_file(retinanet, tmp_path_factory) -> Path:
    return exported(retinanet, tmp_path_factory.mktemp("onnx"), file_format="ONNX", export_dynamic_batch=True)


def no_value_feeds_two_convolutions(path: Path) -> bool:
    """Weights and biases, also of the network inside a Scan; some are shared, by names of their own."""
    import onnx

    model = onnx.load(path)
    graph = (network_of_one(model) or model).graph
    read = [name for n in graph.node if n.op_type in ("Conv", "ConvTranspose") for name in n.input[1:]]
    shared = {node.input[0] for node in graph.node if node.op_type == "Identity"}
    return len(read) == len(set(read)) > 10 and not shared.isdisjoint(tensor.name for tensor in graph.initializer)


def has_masks(card: ExportCard, printed: str) -> bool:
    assert [port.name for port in card.outputs] == ["boxes", "scores", "labels", "valid", "masks"]
    assert card.outputs[4].shape == [1, 8, 28, 28] and card.mask_threshold == 0.5
    return "largest difference from the checkpoint" in printed


def test_a_mask_model_with_nms_inside(tmp_path, capsys):
    path = exported(small_model("cascade_mask_rcnn", tmp_path), tmp_path, file_format="ONNX")
    assert has_masks(load_card(path), capsys.readouterr().out)
    assert no_value_feeds_two_convolutions(path)


def rounded_for_a_moment(path: Path) -> list[str]:
    """Values that the network inside a Scan casts to float16 and at once back: boxes and scores would lose digits."""
    import onnx

    graph = network_of_one(onnx.load(path)).graph
    makers = {name: node for node in graph.node for name in node.output}
    casts = [node for node in graph.node if node.op_type == "Cast" and node.attribute[0].i == onnx.TensorProto.FLOAT]
    made_by = [makers.get(node.input[0]) for node in casts]
    half = onnx.TensorProto.FLOAT16
    return [node.name for node in made_by if node and node.op_type == "Cast" and node.attribute[0].i == half]


@pytest.mark.slow
def test_a_mask_model_of_any_batch_in_every_precision(tmp_path):
    """Images of a batch get what they get alone, and the same from OpenVINO."""
    pytest.importorskip("openvino")
    config = small_model("mask_rcnn", tmp_path)
    path = exported(config, tmp_path / "out", file_format="ONNX", export_dynamic_batch=True)
    assert load_card(path).batch_size is None and no_value_feeds_two_convolutions(path)
    images, info = exporter.check_inputs(config.model_copy(update={"export_dynamic_batch": True})).values()
    images, info = np.concatenate((images, -images[:1])), np.concatenate((info, info[:1]))
    files = {"float32": path, "float16": tmp_path / "16.onnx", "int8": tmp_path / "8.onnx"}
    exact = open_model(path).run(images, info)
    for precision, most in {"float32": 0, "float16": 0.05, "int8": 0.4}.items():
        if precision != "float32":
            convert_precision(path, files[precision], precision, [[images[:1], info[:1]], [images[1:2], info[1:2]]])
        model = open_model(files[precision])
        many = model.run(images, info)
        assert [len(values) for values in many] == [3] * 5
        assert np.abs(many[1] - exact[1]).max() <= most
        assert not rounded_for_a_moment(files[precision])
        for number in range(3):
            for values, one in zip(many, model.run(images[number, None], info[number, None]), strict=True):
                np.testing.assert_allclose(values[number, None], one, atol=1e-5)
    for ours, theirs in zip(open_model(path, "openvino").run(images, info), exact, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_a_mask_model_in_the_turned_frame(tmp_path, capsys):
    config = small_model("mask_rcnn", tmp_path).model_copy(update={"img_width": 128})
    path = exporter.export(config.model_copy(update={"export_turned": True}))
    card = load_card(path)
    assert has_masks(card, capsys.readouterr().out)
    assert path.name == "mask_rcnn_turned.mindir" and card.inputs[0].shape == [1, 3, 128, 64]
    frame = card.preprocessing
    assert (frame.img_height, frame.img_width, frame.input_height, frame.input_width) == (128, 64, 128, 64)
    fixed = in_frame_of_file(config.model_copy(update={"checkpoint_path": str(path)}))
    assert (fixed.img_height, fixed.img_width, fixed.turn_frame) == (128, 64, False)
    assert "takes one frame: all images are resized into 64 x 128" in capsys.readouterr().out
    refuse_other_config(path, card, fixed)
    with pytest.raises(UserError, match="was exported with img_height 128, but .* has 64"):
        refuse_other_config(path, card, config.in_fixed_frame())
    assert in_frame_of_file(config) is config  # a checkpoint takes either frame


def test_raw_boxes_of_mask_models_give_the_checkpoints_boxes(tmp_path):
    config = small_model("mask_rcnn", tmp_path)
    path = exported(config, tmp_path, file_format="ONNX", export_form="raw")
    model = open_exported(path)
    inputs = exporter.check_inputs(config)
    detector_itself = exporter.detector_of(config, exporter.load_checkpoint_weights(config.checkpoint_path))
    expected = detector_itself.predict(inputs["image"], inputs["image_info"])
    found = build_selection(model.card.selection)(*model.run(*inputs.values()), inputs["image_info"])
    assert expected.valid.all()
    for ours, theirs in zip(found, expected, strict=False):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    regions_may_change_places(model, config, inputs)


def regions_may_change_places(model, config, inputs):
    """Which of two regions comes first is rounding's matter; a box that is off counts."""
    card, info = model.card, inputs["image_info"]
    boxes, scores = model.run(*inputs.values())
    other = [boxes[:, ::-1], scores[:, ::-1]]
    assert exporter.compare(other, [boxes, scores], card, config, info).size < 1e-6
    assert raw_difference(other, [boxes, scores], 128).size > 0.01
    assert exporter.compare([boxes + 12.8, scores], [boxes, scores], card, config, info).size > 0.01


def test_rows_of_anchors_keep_their_places(retinanet, onnx_file):
    assert no_value_feeds_two_convolutions(onnx_file)
    card = load_card(onnx_file)
    outputs = open_exported(onnx_file).run(np.random.default_rng(0).standard_normal((1, 3, 128, 128), np.float32))
    info = np.float32([[128, 128, 128, 128, 1, 1]])
    other = [values[:, ::-1] for values in outputs]
    assert exporter.compare(other, outputs, card, retinanet, info).size > 0.01


def test_mindir_of_any_batch(retinanet, tmp_path):
    path = exported(retinanet, tmp_path, export_dynamic_batch=True)
    assert path.name == "model with a space.mindir" and load_card(path).inputs[0].shape == [-1, 3, 128, 128]
    model = open_exported(path)
    images = np.random.default_rng(0).standard_normal((3, 3, 128, 128), np.float32)
    boxes, scores = model.run(images)
    alone = model.run(images[2:])
    assert scores.shape == (3, 3069, 4) and scores.std() > 0.01
    np.testing.assert_allclose(boxes[2:], alone[0], atol=1e-3)
    np.testing.assert_allclose(scores[2:], alone[1], atol=1e-5)


@pytest.mark.parametrize(
    ("detector", "form", "opset"),
    [
        ("retinanet", "raw", 16),
        ("retinanet", "detections", 21),
        ("refinedet", "raw", 17),
        ("refinedet", "detections", 17),
        pytest.param("mask_rcnn", "raw", 21, marks=pytest.mark.slow),
        pytest.param("mask_rcnn", "detections", 16, marks=pytest.mark.slow),
        pytest.param("cascade_mask_rcnn", "raw", 17, marks=pytest.mark.slow),
        pytest.param("cascade_mask_rcnn", "detections", 17, marks=pytest.mark.slow),
    ],
)
def test_onnx_of_any_batch(tmp_path, detector, form, opset):
    """Images of a batch get what they get alone, in old and new versions of the operators."""
    import onnx

    config = small_model(detector, tmp_path)
    path = exported(config, tmp_path, file_format="ONNX", export_form=form, export_dynamic_batch=True, opset=opset)
    model = open_exported(path)
    assert model.card.batch_size is None and model.card.form == form and model.card.difference < 1e-3
    assert [one.version for one in onnx.load(path).opset_import if one.domain == ""] == [opset]
    inputs = exporter.check_inputs(config.model_copy(update={"export_dynamic_batch": True}))
    inputs["image"] = np.concatenate((inputs["image"], -inputs["image"][:1]))
    inputs["image_info"] = np.concatenate((inputs["image_info"], inputs["image_info"][:1]))
    values = [inputs[port.name] for port in model.card.inputs]
    many = model.run(*values)
    assert [len(found) for found in many] == [3] * len(many) and np.ptp(many[1]) > 0.01
    for number in range(3):
        for found, alone in zip(many, model.run(*(value[number, None] for value in values)), strict=True):
            np.testing.assert_allclose(found[number, None], alone, atol=1e-3)


def test_integers_of_another_opset(retinanet, tmp_path, capsys):
    """Calibrated and measured on a synthetic set; layers are quantized per channel, all but those of the outputs."""
    import onnx

    write_synthetic(["--output_dir", str(tmp_path / "data"), "--train", "2", "--val", "3", "--image_size", "128"])
    data = {"calibration_images": str(tmp_path / "data/train"), "val_dataset": str(tmp_path / "data/validation")}
    path = exported(retinanet, tmp_path, file_format="ONNX", precision="int8", opset=18, **data)
    printed = capsys.readouterr().out
    assert f"int8: calibrated on 2 images of {tmp_path}/data/train" in printed and "AP on " in printed
    card, model = load_card(path), onnx.load(path)
    assert card.precision == "int8" and set(card.ap) == {"float32", "int8"} and 0 < card.difference < 0.5
    assert [one.version for one in model.opset_import if one.domain == ""] == [18]
    makers = {name: node for node in model.graph.node for name in node.output}
    layers = [node for node in model.graph.node if node.op_type == "Conv"]
    quantized = [
        node for node in layers if node.input[1] in makers and makers[node.input[1]].op_type == "DequantizeLinear"
    ]
    assert len(layers) - len(quantized) == 5  # a box layer for each of five levels
    limits = [node for node in model.graph.node if "unlimited" in node.output[0]]
    assert not limits  # each is one of a layer's integers
    quantized_values = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    scales = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert all(scales[makers[node.input[1]].input[1]].size > 1 for node in quantized)
    assert "Relu" not in {node.op_type for node in model.graph.node}  # each is a limit of the integers before it
    sums = [node for node in model.graph.node if node.op_type == "Add" and node.output[0] in quantized_values]
    assert sums and all(makers[name].op_type == "DequantizeLinear" for node in sums for name in node.input)
    (tmp_path / "model with a space.onnx.json").unlink()
    assert load_card(path).precision == "int8" and load_card(path).ap == card.ap  # as its metadata says
    images = np.random.default_rng(0).standard_normal((1, 3, 128, 128), np.float32)
    assert np.isfinite(open_exported(path).run(images)[1]).all()


def test_integers_of_a_mask_model(tmp_path):
    """The card keeps AP of masks, as ever, and that of boxes beside it."""
    write_synthetic(["--output_dir", str(tmp_path / "data"), "--train", "2", "--val", "2", "--image_size", "64"])
    data = {"calibration_images": str(tmp_path / "data/train"), "val_dataset": str(tmp_path / "data/validation")}
    config = small_model("mask_rcnn", tmp_path)
    card = load_card(exported(config, tmp_path, file_format="ONNX", precision="int8", **data))
    assert set(card.ap) == set(card.bbox_ap) == {"float32", "int8"} and card.float32_layers == []


def poisoned(config: Config, folder: Path) -> Config:
    """The same detector with one channel 1e4 times larger before the layer of scores, whose weights make up for it."""
    arrays = load_checkpoint_weights(config.checkpoint_path)
    for name in arrays:
        if ".cls_convs." in name and name.endswith(("gamma", "beta")):
            arrays[name][3] *= 1e4
    arrays["bbox_head.retina_cls.weight"][:, 3] /= 1e4
    changed = config.model_copy(update={"checkpoint_path": str(folder / "poisoned.ckpt")})
    save_weights(changed.checkpoint_path, arrays, changed)
    return changed


def label_with_finds(folder: Path, detector: Detector) -> None:
    """Make what a detector finds the objects of a data set."""
    path = folder / "labels.json"
    labels = json.loads(path.read_text())
    images = {image["id"]: folder / "data" / Path(image["file_name"]).name for image in labels["images"]}
    found = zip(images, detector.predict(list(images.values())), strict=True)
    objects = [one for image, detections in found for one in detections.to_coco(image)]
    for number, one in enumerate(objects, 1):
        one |= {"id": number, "area": one["bbox"][2] * one["bbox"][3], "iscrowd": 0}
    path.write_text(json.dumps(labels | {"annotations": objects}))


def test_sensitive_layers_stay_float32(retinanet, onnx_file, tmp_path, capsys):
    """Until little AP is lost; with its own finds as objects, the detector in float32 has 1.0."""
    write_synthetic(["--output_dir", str(tmp_path / "data"), "--train", "2", "--val", "3", "--image_size", "128"])
    label_with_finds(tmp_path / "data/validation", Detector(onnx_file))
    data = {"calibration_images": str(tmp_path / "data/train"), "val_dataset": str(tmp_path / "data/validation")}
    settings = {"file_format": "ONNX", "precision": "int8", "int8_max_ap_loss": 0.2, **data}
    path = exported(poisoned(retinanet, tmp_path), tmp_path, **settings)
    printed, card = capsys.readouterr().out, load_card(path)
    assert "AP lost, allowed: 0.2; the most sensitive layers, 1, stay float32" in printed
    assert "bbox_head.retina_cls" in card.float32_layers and len(card.float32_layers) < 6
    assert card.ap["float32"] > 0.95 and card.ap["int8"] >= card.ap["float32"] - 0.2 and card.bbox_ap is None


def test_half_precision(onnx_file, tmp_path):
    """Layers take half the bytes; what they are compared with is in float32."""
    path = tmp_path / "half.onnx"
    convert_precision(onnx_file, path, "float16")
    assert path.stat().st_size < 0.75 * onnx_file.stat().st_size
    images = np.random.default_rng(0).standard_normal((3, 3, 128, 128), np.float32)
    half = ExportedModel(path, load_card(onnx_file)).run(images)
    whole = open_exported(onnx_file).run(images)
    assert all(values.dtype == np.float32 for values in half)
    assert 0 < raw_difference(half, whole, 128).size < 0.02


def test_detections_of_a_dense_detector_in_fixed_batches(retinanet, tmp_path):
    path = exported(retinanet, tmp_path, file_format="ONNX", export_form="detections", export_batch_size=2)
    model = open_exported(path)
    assert model.card.batch_size == 2 and model.card.selection is None
    images = np.random.default_rng(0).standard_normal((3, 3, 128, 128), np.float32)
    info = np.tile(np.float32([128, 128, 128, 128, 1, 1]), (3, 1))
    boxes, scores, labels, valid = model.run(images, info)  # two calls, the second filled up
    again = model.run(images[2:], info[2:])
    assert boxes.shape == (3, 4, 4) and valid.all()
    for ours, theirs in zip((boxes, scores, labels, valid), again, strict=True):
        np.testing.assert_allclose(ours[2:], theirs, atol=1e-4)


def test_refinedet(tmp_path):
    config = small_model("refinedet", tmp_path)
    card = load_card(exported(config, tmp_path, file_format="ONNX"))
    assert card.selection["kind"] == "classes" and card.selection["score_thr"] == 0.2


def test_a_file_that_differs_is_not_kept(retinanet, tmp_path, monkeypatch):
    monkeypatch.setattr(exporter, "ExportedModel", lambda path, card: Fake())
    monkeypatch.setattr(exporter, "_write", lambda net, config, path: Fake())
    monkeypatch.setattr(exporter, "expected_outputs", lambda net, config, inputs: [])
    monkeypatch.setattr(exporter, "compare", lambda *_: Difference(float("nan"), "scores[0, 1, 2]"))
    with pytest.raises(UserError, match=r"not kept: it differs .* nan \(at scores\[0, 1, 2\]\)"):
        exported(retinanet, tmp_path)
    assert list(tmp_path.iterdir()) == []


class Fake:
    """A card without inputs, and a model that runs on nothing."""

    format, form, inputs = "MINDIR", "raw", ()

    def run(self) -> list:
        return []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"file_format": "AIR"}, "AIR can be written on Ascend only, this is CPU"),
        ({"file_name": "model.onnx"}, r"model\.onnx has another suffix than --file_format MINDIR"),
        ({"export_dynamic_batch": True, "export_form": "detections"}, "MINDIR takes any number of images in the raw"),
        ({"precision": "float16"}, "--precision float16 is for --file_format ONNX"),
        ({"precision": "bfloat16"}, "--precision bfloat16 is no precision of files"),
        ({"precision": "int8", "file_format": "ONNX"}, "calibration_images is missing"),
        (
            {"precision": "int8", "file_format": "ONNX", "calibration_images": "none"},
            "calibration_images none does not exist",
        ),
        ({"checkpoint_path": ""}, "checkpoint_path is missing"),
        ({"checkpoint_path": "none.ckpt"}, "none.ckpt does not exist"),
    ],
)
def test_mistakes(retinanet, tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        exported(retinanet, tmp_path, **settings)
    assert list(tmp_path.iterdir()) == []
