"""What detectors and checks know of a backbone without building it. Imports no MindSpore."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import create_model

from src.models.api import Problem, PublishedFormat, UnknownNameError, no_problems
from src.schema import Config
from src.schema.sections import BackboneConfig, key

if TYPE_CHECKING:
    from mindspore import nn

Maps = Literal["stages", "pyramid", "reduced"]
AnyConfig = TypeVar("AnyConfig", bound=Config)


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone.

    Attributes:
        section: class of its keys (the configuration's section `backbone`).
        build: section -> network, images [B,3,H,W] to a tuple of feature maps, with `out_channels`.
        channels: section -> channels of each feature map.
        strides: section -> pixels of the image per pixel of each feature map.
        maps: what its feature maps are: `stages` of a classification network, which a neck merges; a `pyramid` whose
            levels a dense head reads as they are; the `reduced` classification network of SSD (arXiv:1512.02325).
        checks: section -> contradictions between its keys, by their dotted names in the configuration.
        published_weights: formats of published weights of the backbone alone.
    """

    section: type[BackboneConfig]
    build: Callable[[Any], nn.Cell]
    channels: Callable[[Any], list[int]]
    strides: Callable[[Any], list[int]]
    maps: Maps = "stages"
    checks: Callable[[Any], Iterator[Problem]] = no_problems
    published_weights: tuple[PublishedFormat, ...] = ()


def backbone_type(
    values: Mapping[str, Any], default: str, table: Mapping[str, BackboneSpec], maps: Sequence[Maps]
) -> str:
    """The `backbone.type` of a configuration's unchecked values.

    Args:
        values: nested values of the configuration.
        default: the type where none is given.
        table: all backbones.
        maps: kinds of feature maps that the detector takes.

    Raises:
        UnknownNameError: no backbone of that name has such feature maps.
    """
    section = values.get("backbone")
    name = section.get("type", default) if isinstance(section, Mapping) else default
    known = [name for name, spec in table.items() if spec.maps in maps]
    if not isinstance(name, str) or name not in known:
        raise UnknownNameError("backbone.type", name, known)
    return name


@cache
def with_backbone(config_class: type[AnyConfig], section: type[BackboneConfig]) -> type[AnyConfig]:
    """A configuration class whose section `backbone` holds the keys of another backbone."""
    own = config_class.model_fields["backbone"].annotation
    if isinstance(own, type) and issubclass(own, section):
        return config_class
    model: Any = create_model(
        config_class.__name__,
        __base__=config_class,
        __module__=config_class.__module__,
        backbone=(section, key(section(), "backbone")),
    )
    return model
