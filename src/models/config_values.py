"""Sections of a configuration as the values that blocks take."""

from src.blocks.layers import Norm
from src.blocks.losses import BoxLoss
from src.schema.sections import BoxLossConfig, NormConfig, Section


def norm_of(section: NormConfig) -> Norm:
    """A `norm_cfg` section."""
    return Norm(section.type, section.momentum, section.eps, section.frozen)


def box_loss_of(section: BoxLossConfig) -> BoxLoss:
    """A `loss_bbox` section, without its weight."""
    return BoxLoss(section.type, section.beta)


def options_of(section: Section, *leave_out: str) -> dict:
    """The keys of a section as keyword arguments, but for some."""
    return {name: getattr(section, name) for name in type(section).model_fields if name not in leave_out}
