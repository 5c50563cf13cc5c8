"""The detectors by their names in configurations (`detector`). A new one is one folder and one line here."""

from collections.abc import Iterator

from src.models.api import Detector, DetectorSpec, PublishedFormat
from src.models.backbones.table import BACKBONES
from src.models.mask_rcnn.spec import CASCADE_MASK_RCNN, MASK_RCNN
from src.models.refinedet.spec import REFINEDET
from src.models.retinanet.spec import RETINANET
from src.schema import Config

DETECTORS: dict[str, DetectorSpec] = {
    "retinanet": RETINANET,
    "mask_rcnn": MASK_RCNN,
    "cascade_mask_rcnn": CASCADE_MASK_RCNN,
    "refinedet": REFINEDET,
}
DEFAULT_DETECTOR = "retinanet"  # of a configuration that names none


def spec_of(config: Config) -> DetectorSpec:
    """The spec of a configuration's detector."""
    return DETECTORS[config.detector]


def build_detector(config: Config) -> Detector:
    """The detector that a configuration describes, an `nn.Cell` with initial weights.

    Args:
        config: a checked `Config`.

    Raises:
        UserError: the input size does not fit the network.
    """
    return spec_of(config).build(config)


def published_formats() -> Iterator[PublishedFormat]:
    """Formats of published weights, those of whole detectors first."""
    for detector in DETECTORS.values():
        yield from detector.published_weights
    for backbone in {id(spec): spec for spec in BACKBONES.values()}.values():
        yield from backbone.published_weights
