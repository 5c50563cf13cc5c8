"""modelarts/customize_service.py in a model package, under a stand-in for ModelArts' base class."""

import io
import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import cv2
import numpy as np
import pytest

from src.common.errors import UserError
from src.deploy import exported_model
from tests.conftest import ROOT
from tests.deploy.cards import write_card


class BaseService:
    """What ModelArts does with a service."""

    def answer(self, data):
        return self._postprocess(self._inference(self._preprocess(data)))


class OneBox:
    """A network that finds the same box in every image."""

    def __init__(self, path):
        pass

    def run(self, images):
        return [np.float32([[[0, 0, 32, 32]]] * len(images)), np.float32([[[0.9, 0.01]]] * len(images))]


@pytest.fixture
def module(monkeypatch):
    """The service's file, imported as ModelArts imports it."""
    package, inner = ModuleType("model_service"), ModuleType("model_service.model_service")
    inner.SingleNodeService = BaseService
    monkeypatch.setitem(sys.modules, "model_service", package)
    monkeypatch.setitem(sys.modules, "model_service.model_service", inner)
    monkeypatch.setitem(exported_model.MODELS, ".mindir", {"mindspore": OneBox})
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = spec_from_file_location("customize_service", ROOT / "modelarts/customize_service.py")
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_a_request_with_images_and_a_broken_one(module, tmp_path):
    write_card(tmp_path / "model.mindir", ["cat", "dog"], [1])
    encoded = cv2.imencode(".png", np.zeros((32, 48, 3), np.uint8))[1].tobytes()
    files = {"a.png": io.BytesIO(encoded), "b.jpg": io.BytesIO(b"no image")}
    for given in (tmp_path, tmp_path / "model.mindir", tmp_path / "model.json"):
        for file in files.values():
            file.seek(0)
        service = module.DetectionService("cats", str(given))
        answer = service.answer({"images": files, "more": {"c.png": io.BytesIO(encoded)}})
        assert json.loads(json.dumps(answer)) == answer and list(answer) == ["a.png", "b.jpg", "c.png"]
        assert answer["a.png"] == answer["c.png"] == service.detector.predict(encoded).to_json()
        assert answer["a.png"]["predictions"][0]["class"]["name"] == "cat"
        assert "broken" in answer["b.jpg"]["error"]


def test_a_package_without_its_model(module, tmp_path):
    with pytest.raises(UserError, match=r"one .ckpt, .onnx, .mindir, .ms file is needed; there is none"):
        module.DetectionService("cats", str(tmp_path))
    for name in ("a.ckpt", "b.onnx"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"there is a.ckpt, b.onnx"):
        module.DetectionService("cats", str(tmp_path))
