"""`Detector`: a checkpoint or an exported file that takes images and gives objects."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from src.common.errors import UserError
from src.config import config_from_values, load_config
from src.data.image import ImageError
from src.predictor.image_detections import ImageDetections
from src.predictor.saved_config import config_of_checkpoint
from src.predictor.sources import ImageSource, listed, pixels_of
from src.schema import Config

if TYPE_CHECKING:
    from src.predictor.pipeline import Pipeline

# What may be said of the run of an exported file that has no configuration.
RUN_KEYS = (
    "device_target", "device_id", "test_batch_size", "num_parallel_workers", "max_image_pixels", "strict_images",
    "runtime", "providers",
)  # fmt: skip

# A configuration must name classes; where only the run of a file is configured, nothing reads them.
NO_NETWORK = {"coco_classes": ["background", "object"], "num_classes": 2}


class Detector:
    """Finds objects in images, exactly those of infer.py.

    Args:
        checkpoint: .ckpt, .onnx or .mindir file.
        config: configuration, or its path. None: that of the checkpoint's training, which lies beside it or in it; an
            exported file without one is described by its JSON.
        overrides: {"key" or "section.key": value} on top of the configuration, as of `load_config`.

    Attributes:
        class_names: K names.

    Raises:
        UserError: files that are missing, damaged, or do not belong together; a wrong key.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike,
        config: Config | str | os.PathLike | None = None,
        overrides: dict[str, Any] | None = None,
    ) -> None:
        self.pipeline = _pipeline_of(os.fspath(checkpoint), config, overrides or {})
        self.class_names = self.pipeline.options.class_names

    @overload
    def predict(self, source: list | tuple) -> list[ImageDetections]: ...
    @overload
    def predict(self, source: ImageSource) -> ImageDetections | list[ImageDetections]: ...

    def predict(self, source: ImageSource | list | tuple) -> ImageDetections | list[ImageDetections]:
        """Find objects.

        Args:
            source: path of an image, its encoded bytes, its pixels (uint8 [H, W, 3] RGB, or [H, W] grey), one of
                Pillow's images; a list of these; or the path of a folder, whose images are found at any depth.

        Returns:
            What was found in the image; for a list or a folder a list, in its order.

        Raises:
            UserError: an image cannot be read; no image.
        """
        images, several = listed(source)
        if not images:
            return []
        pipeline = self.pipeline
        options = replace(pipeline.options, batch_size=min(pipeline.options.batch_size, len(images)))
        found: dict[int, ImageDetections] = {}
        for place, image, result in pipeline.detect(images, options):
            if isinstance(result, ImageError):
                raise UserError(str(result))
            read = partial(pixels_of, image, pipeline.rules)
            found[place] = ImageDetections(result, options.class_names, options.category_ids, read)
        ordered = [found[place] for place in range(len(images))]
        return ordered if several else ordered[0]


def _pipeline_of(checkpoint: str, config: Config | str | os.PathLike | None, overrides: dict[str, Any]) -> Pipeline:
    from src.deploy.exported_model import MODELS  # not before: it imports MindSpore
    from src.predictor.pipeline import Pipeline

    arguments = {**overrides, "checkpoint_path": checkpoint}
    if isinstance(config, Config):
        full: Config | None = config_from_values(config.model_dump(), config.config_path or "config", arguments)
    elif config is not None:
        full = load_config(os.fspath(config), arguments)
    else:
        full = config_of_checkpoint(arguments)
    if full is not None:
        return Pipeline.of_config(full)
    if Path(checkpoint).suffix in MODELS:
        if beyond := sorted(set(overrides) - set(RUN_KEYS)):
            raise UserError(
                f"{checkpoint} has no configuration beside it: {beyond[0]} cannot be set, only {', '.join(RUN_KEYS)}"
            )
        return Pipeline.of_file(checkpoint, config_from_values(NO_NETWORK, "overrides", overrides))
    raise UserError(f"{checkpoint} holds no configuration, and none lies beside it; give one as config")
