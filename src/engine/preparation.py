"""What a configuration asks of a network before it learns."""

from src.blocks.backbones.recompute import RecomputesBlocks
from src.common.errors import UserError
from src.models.api import Detector
from src.ops.precision import set_precision
from src.schema import Config


def prepare_for_training(net: Detector, config: Config) -> None:
    """Set a new network's precision, mark the blocks that are computed again, and switch to training mode.

    Raises:
        UserError: `recompute` is set, and the backbone does not know its blocks.
    """
    set_precision(net, config.amp_level, config.amp_dtype)
    if config.recompute:
        if not isinstance(net.backbone, RecomputesBlocks):
            raise UserError(f"recompute is 1, but the backbone {config.backbone.type} does not offer it: recompute: 0")
        net.backbone.recompute_blocks()
    net.set_train(True)
