"""A network together with what goes before and after it: from images to the entries of the inference JSON."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from src.data.image import ImageRules
from src.data.network_input import EvalTransform
from src.deploy.export_card import load_card_of_converted
from src.deploy.exported_model import ExportedDetector
from src.model_utils.device_adapter import setup_device
from src.models.api import Predictor
from src.predictor.detect_images import InferenceOptions, Outcome, Prepared, detect_stream, detect_views
from src.predictor.sources import ImageSource, pixels_of
from src.predictor.trained_detector import in_frame_of_file, trained_detector
from src.predictor.views import ONE_VIEW, ViewOptions
from src.schema import Config

Source = TypeVar("Source", bound=ImageSource)


@dataclass(frozen=True)
class Pipeline:
    """A network, what makes its input of an image, and how its output is told.

    Attributes:
        net: what predicts.
        prepare: from pixels to the network's input.
        rules: which images are read.
        options: classes, masks, and sizes.
        views: which views of each picture the network sees.
    """

    net: Predictor
    prepare: EvalTransform
    rules: ImageRules
    options: InferenceOptions
    views: ViewOptions = ONE_VIEW

    @classmethod
    def of_config(cls, config: Config) -> "Pipeline":
        """That of `checkpoint_path` under its configuration.

        Raises:
            UserError: see `trained_detector`.
        """
        config = in_frame_of_file(config)
        return cls.of_net(trained_detector(config)[0], config)

    @classmethod
    def of_net(cls, net: Predictor, config: Config) -> "Pipeline":
        """That of a network under its configuration."""
        options = InferenceOptions(
            config.class_names,
            config.category_ids,
            config.test_batch_size,
            config.num_parallel_workers,
            config.mask_threshold,
        )
        views = ViewOptions.of(config, config.img_mean, config.to_rgb)
        return cls(net, EvalTransform.from_config(config), ImageRules.of(config), options, views)

    @classmethod
    def of_file(cls, path: str | Path, settings: Config) -> "Pipeline":
        """That of an exported file that has no configuration: its card says all.

        Args:
            path: .mindir, .onnx or .ms file.
            settings: where and how to run it; what it says of networks, classes and images is not read.

        Raises:
            UserError: the file or its card is missing or damaged, or it gives no detections.
        """
        card = load_card_of_converted(path)
        setup_device(settings)
        options = InferenceOptions(
            card.class_names,
            card.category_ids,
            settings.test_batch_size,
            settings.num_parallel_workers,
            card.mask_threshold,
        )
        net = ExportedDetector(path, None, settings.runtime, settings.providers, settings.precision)
        views = ViewOptions.of(settings, card.preprocessing.img_mean, card.preprocessing.to_rgb)
        return cls(net, card.preprocessing.transform(), ImageRules.of(settings), options, views)

    def load(self, source: ImageSource) -> Prepared:
        """The network's input of an image, and its sizes.

        Raises:
            ImageError: it cannot be read.
        """
        return self.prepare(self.pixels(source))

    def pixels(self, source: ImageSource) -> np.ndarray:
        """The pixels of an image, see `pixels_of`."""
        return pixels_of(source, self.rules)

    def detect(self, sources: Iterable[Source]) -> Iterator[Outcome[Source]]:
        """Predict images as they come; see `detect_stream` and `detect_views`."""
        if self.views.several:
            return detect_views(self.net.predict, self.pixels, self.prepare, sources, self.options, self.views)
        return detect_stream(self.net.predict, self.load, sources, self.options)

    def detect_listed(self, sources: Sequence[Source]) -> Iterator[Outcome[Source]]:
        """Predict the images of a list, with no batch larger than that where each has one view."""
        if self.views.several:
            return self.detect(sources)
        options = replace(self.options, batch_size=min(self.options.batch_size, len(sources)))
        return replace(self, options=options).detect(sources)
