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
from src.predictor.views import ViewOptions
from src.schema import Config

if TYPE_CHECKING:
    from src.predictor.pipeline import Pipeline

# What may be said of the run of an exported file that has no configuration.
RUN_KEYS = (
    "device_target", "device_id", "test_batch_size", "num_parallel_workers", "max_image_pixels", "strict_images",
    "runtime", "providers", "precision", "tile", "overlap", "tta", "merge", "merge_iou",
)  # fmt: skip

# A configuration must name classes; where only the run of a file is configured, nothing reads them.
NO_NETWORK = {"coco_classes": ["background", "object"], "num_classes": 2}


class Detector:
    """Finds objects in images, exactly those of infer.py.

    Args:
        checkpoint: .ckpt, .onnx, .mindir or .ms file, or zoo:NAME.
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
    def predict(
        self, source: list | tuple, tile: int | None = None, overlap: float | None = None
    ) -> list[ImageDetections]: ...
    @overload
    def predict(
        self, source: ImageSource, tile: int | None = None, overlap: float | None = None
    ) -> ImageDetections | list[ImageDetections]: ...

    def predict(
        self, source: ImageSource | list | tuple, tile: int | None = None, overlap: float | None = None
    ) -> ImageDetections | list[ImageDetections]:
        """Find objects.

        Args:
            source: path of an image, its encoded bytes, its pixels (uint8 [H, W, 3] RGB, or [H, W] grey), one of
                Pillow's images; a list of these; or the path of a folder, whose images are found at any depth.
            tile: side in pixels of the tiles that larger images are seen in; 0: see them as a whole alone. None: as
                the configuration says.
            overlap: of neighbouring tiles, as a share of their side. None: as the configuration says.

        Returns:
            What was found in the image; for a list or a folder a list, in its order.

        Raises:
            UserError: an image cannot be read; no image; a tile or an overlap that cannot be.
        """
        images, several = listed(source)
        if not images:
            return []
        pipeline = replace(self.pipeline, views=_views(self.pipeline.views, tile, overlap))
        options = pipeline.options
        found: dict[int, ImageDetections] = {}
        for place, image, result in pipeline.detect_listed(images):
            if isinstance(result, ImageError):
                raise UserError(str(result))
            read = partial(pixels_of, image, pipeline.rules)
            found[place] = ImageDetections(result, options.class_names, options.category_ids, read)
        ordered = [found[place] for place in range(len(images))]
        return ordered if several else ordered[0]


def _views(views: ViewOptions, tile: int | None, overlap: float | None) -> ViewOptions:
    """The views with what a call changes."""
    given = {name: value for name, value in (("tile", tile), ("overlap", overlap)) if value is not None}
    if not given:
        return views
    checked = config_from_values(NO_NETWORK, "predict", given)
    return views._replace(**{name: getattr(checked, name) for name in given})


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
