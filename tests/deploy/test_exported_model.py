"""Exported files as detectors, with a stand-in for what runs them."""

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from src import ONEDNN_LIMIT
from src.common.errors import UserError
from src.config import load_config
from src.deploy import exported_model
from src.deploy.export_card import ExportCard, Port, Preprocessing, sha256_of
from src.deploy.exported_model import ExportedDetector, open_exported, open_model
from src.deploy.onnx_file import OnnxModel
from src.predictor import Detector
from src.predictor.trained_detector import trained_detector
from tests.end_to_end.commands import ROOT


def pooled_convolution(path):
    """An ONNX file: the sum of 8 channels, pooled."""
    import onnx
    from onnx import helper as make

    weights = onnx.numpy_helper.from_array(np.ones((1, 8, 1, 1), np.float32), "weights")
    nodes = [
        make.make_node("Conv", ["image", "weights"], ["summed"]),
        make.make_node("MaxPool", ["summed"], ["pooled"], kernel_shape=[2, 2]),
    ]
    shapes = {"image": (1, 8, 4, 4), "pooled": (1, 1, 3, 3)}
    ports = [[make.make_tensor_value_info(name, 1, shape)] for name, shape in shapes.items()]
    graph = make.make_graph(nodes, "pooled", *ports, [weights])
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8), path)
    return path


LEVELS = {"kind": "levels", "level_sizes": [2, 1]}


class CountingModel:
    """Three anchors of two classes; the first score tells the image, and calls are counted."""

    def __init__(self, path):
        self.sizes = []

    def run(self, images):
        self.sizes.append(len(images))
        boxes = np.tile(np.float32([[0, 0, 8, 8], [20, 20, 30, 40], [0, 0, 8, 9]]), (len(images), 1, 1))
        scores = np.tile(np.float32([[0.9, 0.0], [0.0, 0.5], [0.3, 0.0]]), (len(images), 1, 1))
        scores[:, 0, 0] = images[:, 0, 0, 0]
        return [boxes, scores]


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setitem(exported_model.MODELS, ".mindir", {"mindspore": CountingModel})


def card_for(config, path, batch_size=2):
    path.write_bytes(b"a network")
    ExportCard(
        format="MINDIR",
        form="raw",
        detector=config.detector,
        inputs=[Port(name="image", shape=[batch_size, 3, 128, 128])],
        outputs=[Port(name="boxes", shape=[batch_size, 3, 4]), Port(name="scores", shape=[batch_size, 3, 2])],
        preprocessing=Preprocessing.of(config),
        class_names=config.class_names,
        category_ids=[],
        selection=LEVELS,
        mask_threshold=None,
        checkpoint="best.ckpt",
        checkpoint_sha256="",
        sha256=sha256_of(path),
    ).save(path)
    return path


def images(values) -> np.ndarray:
    return np.broadcast_to(np.float32(values)[:, None, None, None], (len(values), 3, 2, 2))


@pytest.mark.parametrize(("batch_size", "calls"), [(2, [2, 2]), (1, [1, 1, 1]), (5, [5]), (-1, [3]), (3, [3])])
def test_any_number_of_images_goes_through_a_file(tmp_path, batch_size, calls):
    model = open_exported(
        card_for(load_config(ROOT / "configs/demo/refinedet.yaml"), tmp_path / "a.mindir", batch_size)
    )
    boxes, scores = model.run(images([0.7, 0.8, 0.6]))
    assert model.model.sizes == calls and boxes.shape == (3, 3, 4)
    assert scores[:, 0, 0].tolist() == pytest.approx([0.7, 0.8, 0.6])


def test_the_configuration_says_how_raw_outputs_become_detections(tmp_path):
    overrides = {"test_cfg.score_thr": 0.4, "test_cfg.max_per_img": 5, "checkpoint_path": "a.mindir"}
    config = load_config(ROOT / "configs/demo/spinenet_retinanet.yaml", overrides)
    detector = ExportedDetector(card_for(config, tmp_path / "a.mindir"), config)
    info = np.tile(np.float32([64, 64, 128, 128, 2, 2]), (2, 1))
    found = detector.predict(images([0.7, 0.3]), info)
    assert found.valid.tolist() == [[True, True, False, False, False], [True, False, False, False, False]]
    assert found.labels[0, :2].tolist() == [0, 1] and found.boxes[0, 1].tolist() == [10, 10, 15, 20]
    detector.set_train(True)
    assert detector.training is False


def test_raw_files_of_mask_models_cannot_predict(tmp_path):
    config = load_config(ROOT / "configs/demo/mask_rcnn.yaml")
    with pytest.raises(UserError, match="a.mindir is of the raw form, without masks; .* --export_form detections"):
        ExportedDetector(card_for(config, tmp_path / "a.mindir"), config)


def test_onnx_runtime_is_missing_or_the_file_is_broken(tmp_path, monkeypatch):
    (tmp_path / "a.onnx").write_bytes(b"no network")
    with pytest.raises(UserError, match="a.onnx: ONNX Runtime cannot load this file"):
        OnnxModel(tmp_path / "a.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="ONNX files need the package onnxruntime: pip install -r requirements.txt"):
        OnnxModel(tmp_path / "a.onnx")


@pytest.fixture
def doubling(tmp_path):
    """An ONNX file that doubles its input."""
    from onnx import TensorProto, helper, save

    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3]) for name in ("image", "boxes")]
    graph = helper.make_graph([helper.make_node("Add", ["image", "image"], ["boxes"])], "net", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save(model, tmp_path / "double.onnx")
    return tmp_path / "double.onnx"


@pytest.mark.parametrize("runtime", ["auto", "onnxruntime", "openvino"])
def test_runtimes_of_onnx_files(doubling, runtime):
    if runtime == "openvino":
        pytest.importorskip("openvino")
    (found,) = open_model(doubling, runtime).run(np.ones((2, 3)))
    assert found.dtype == np.float32 and (found == 2).all()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "double.onnx",
            {"runtime": "mindspore"},
            "--runtime mindspore does not run .*double.onnx; onnxruntime and open",
        ),
        ("a.mindir", {"runtime": "onnxruntime"}, "--runtime onnxruntime does not run .*a.mindir; mindspore can"),
        (
            "a.mindir",
            {"providers": ["CPU"]},
            "--providers are those of onnxruntime, but .*a.mindir is run by mindspore",
        ),
        ("a.ms", {"runtime": "mindspore"}, "--runtime mindspore does not run .*a.ms; lite can"),
        ("a.ms", {}, "MindSpore Lite is not installed \\(LITE_HOME is not set\\)"),
        ("double.onnx", {"runtime": "openvino"}, "openvino: pip install openvino"),
        (
            "double.onnx",
            {"precision": "bfloat16"},
            "--precision bfloat16 is for --runtime openvino, but .*double.onnx is run by onnxruntime",
        ),
    ],
)
def test_runtimes_that_do_not_fit(doubling, monkeypatch, name, options, message):
    monkeypatch.setitem(sys.modules, "openvino", None)
    for name_of_lite in ("LITE_HOME", "MS_LITE_HOME"):
        monkeypatch.delenv(name_of_lite, raising=False)
    with pytest.raises(UserError, match=message):
        open_model(doubling.with_name(name), **options)


@pytest.mark.parametrize("name", ["a.ms", "a.mindir"])
def test_what_lites_converter_wrote(tmp_path, monkeypatch, name):
    """It knows nothing of cards: that of the ONNX file is the card, and Lite what runs the file."""
    card = card_for(load_config(ROOT / "configs/demo/refinedet.yaml"), tmp_path / "a.onnx")
    loaded = ExportCard.model_validate_json((tmp_path / "a.onnx.json").read_text())
    loaded.model_copy(update={"format": "ONNX"}).save(card)
    (tmp_path / name).write_bytes(b"converted")
    monkeypatch.setitem(exported_model.MODELS, (tmp_path / name).suffix, {"mindspore": None, "lite": CountingModel})
    found = ExportedDetector(tmp_path / name).predict(
        np.ones((1, 3, 128, 128)), np.float32([[128, 128, 128, 128, 1, 1]])
    )
    assert found.valid.any()
    assert Detector(tmp_path / name).class_names == loaded.class_names


@pytest.fixture
def processor(monkeypatch):
    """A stand-in for OpenVINO's package: `able` is what its processor can do, `hint` what a model was compiled with."""
    seen = SimpleNamespace(able=["FP32", "INT8", "BF16"], hint=None, limit=None)

    class Core:
        def get_property(self, device, name):
            assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
            return seen.able

        def compile_model(self, path, device, settings):
            seen.hint = settings["INFERENCE_PRECISION_HINT"]
            seen.limit = os.environ.get("ONEDNN_MAX_CPU_ISA")

    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(Core=Core))
    return seen


@pytest.mark.parametrize(
    ("precision", "hint"), [("float32", "f32"), ("bfloat16", "bf16"), ("int8", "f32"), ("float16", "f32")]
)
def test_openvino_computes_in_the_precision_that_is_asked_for(processor, precision, hint):
    """Types that files have are OpenVINO's matter."""
    open_model("a.onnx", "openvino", precision=precision)
    assert processor.hint == hint


def test_a_processor_without_bfloat16(processor):
    processor.able = ["FP32", "INT8"]
    with pytest.raises(UserError, match=r"^--precision bfloat16: this processor does not have bfloat16; float32 and"):
        open_model("a.onnx", "openvino", precision="bfloat16")
    open_model("a.onnx", "openvino")


@pytest.mark.parametrize(("limit", "seen"), [(ONEDNN_LIMIT, None), ("SSE41", "SSE41")])
def test_openvino_may_use_all_instructions(processor, monkeypatch, limit, seen):
    """What limits MindSpore's oneDNN is not for OpenVINO's; what a user has set is."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    open_model("a.onnx", "openvino")
    assert processor.limit == seen
    assert os.environ["ONEDNN_MAX_CPU_ISA"] == limit


def test_bfloat16_really(tmp_path):
    """1 + 2**-9 has too many digits for bfloat16; as an operand it becomes 1, where the processor has bfloat16."""
    openvino = pytest.importorskip("openvino")
    path = pooled_convolution(tmp_path / "pooled.onnx")
    image = np.full((1, 8, 4, 4), 1 + 2**-9, np.float32)
    assert (open_model(path, "openvino").run(image)[0] == 8 * image[0, 0, 0, 0]).all()
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(UserError, match="this processor does not have bfloat16"):
            open_model(path, "openvino", precision="bfloat16")
        return
    (found,) = open_model(path, "openvino", precision="bfloat16").run(image)
    assert (found == 8).all()


def test_providers_and_what_runs_instead(doubling, capsys):
    (found,) = OnnxModel(doubling, ["TensorRT", "CUDA", "CPU"]).run(np.ones((1, 3)))
    assert (found == 2).all()
    line = "warning: ONNX Runtime runs on CPUExecutionProvider: TensorRT, CUDA cannot be used here\n"
    assert capsys.readouterr().out == line
    OnnxModel(doubling, ["CPU"])
    assert capsys.readouterr().out == "ONNX Runtime runs on CPUExecutionProvider\n"


def test_the_keys_reach_the_runtime(monkeypatch):
    config = load_config(ROOT / "configs/demo/refinedet.yaml", {"runtime": "onnxruntime", "providers": "CUDA, CPU"})
    assert (config.runtime, config.providers) == ("onnxruntime", ["CUDA", "CPU"])
    for overrides, key in (
        ({"runtime": "openvino"}, "--runtime openvino"),
        ({"providers": "CPU"}, "--providers"),
        ({"precision": "bfloat16"}, "--precision bfloat16"),
    ):
        config = load_config(ROOT / "configs/demo/refinedet.yaml", {"checkpoint_path": "a.ckpt", **overrides})
        with pytest.raises(UserError, match=f"{key} is for exported files; .*--file_format ONNX makes one of a.ckpt"):
            trained_detector(config)
