"""An online service of ModelArts: images in a request, the inference JSON of each in the answer.

ModelArts imports this file from the folder of the model package, makes the one `SingleNodeService` in it, and calls
`_preprocess`, `_inference` and `_postprocess` for each request. The folder has `src/` of this project and one
checkpoint with its configuration (or one exported file) beside it; see docs/deployment.md. Never run on ModelArts.
"""

import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from model_service.model_service import SingleNodeService

from src.common.errors import UserError
from src.predictor import Detector

SUFFIXES = (".ckpt", ".onnx", ".mindir", ".ms")


class DetectionService(SingleNodeService):
    """Finds objects in the images of requests.

    Args:
        model_name: of the service.
        model_path: checkpoint or exported file, or the folder that has one.
    """

    def __init__(self, model_name: str, model_path: str) -> None:
        self.model_name = model_name
        self.model_path = model_path
        self.detector = Detector(_model_file(Path(model_path)))
        self.lock = threading.Lock()  # the network takes one batch at a time

    def _preprocess(self, data: dict[str, dict[str, Any]]) -> list[tuple[str, bytes]]:
        """(name, encoded image) of each file in a request, {field: {file name: file}}."""
        return [(name, file.read()) for files in data.values() for name, file in files.items()]

    def _inference(self, data: list[tuple[str, bytes]]) -> list[tuple[str, dict[str, Any]]]:
        """(name, what was found) of each image; an image that cannot be read says why, and spoils no other."""
        return [(name, self._found(image)) for name, image in data]

    def _postprocess(self, data: list[tuple[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
        """The answer, {file name: what infer.py's JSON says of the image, or {"error": line}}."""
        return dict(data)

    def _found(self, image: bytes) -> dict[str, Any]:
        try:
            with self.lock:
                return self.detector.predict(image).to_json()
        except UserError as error:
            return {"error": str(error)}


def _model_file(path: Path) -> Path:
    """The model that a path names, or the only one in its folder."""
    if path.is_file():
        path = path if path.suffix in SUFFIXES else path.parent
    if path.is_file():
        return path
    found = sorted(one for one in path.glob("*") if one.suffix in SUFFIXES)
    if len(found) != 1:
        names = ", ".join(one.name for one in found) or "none"
        raise UserError(f"{path}: one {', '.join(SUFFIXES)} file is needed; there is {names}")
    return found[0]
