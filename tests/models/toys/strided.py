"""A backbone in one file: three maps at strides 8, 16 and 32, by convolutions of stride 2."""

from typing import TYPE_CHECKING, Literal

from src.models.backbones.spec import BackboneSpec
from src.schema.sections import BackboneConfig, PositiveInt, key

if TYPE_CHECKING:
    from mindspore import nn

STEPS = 5


class StridedConfig(BackboneConfig):
    """Keys of the toy backbone."""

    type: Literal["strided"] = key("strided", "backbone type")
    width: PositiveInt = key(16, "channels of each map of the toy backbone")


def build(section: StridedConfig) -> "nn.Cell":
    """The network; MindSpore is imported here, so that configurations are checked without it."""
    from mindspore import Tensor, nn

    from src.blocks.layers import ConvModule, Norm

    class Strided(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            norm = Norm(momentum=0.1, eps=1e-5)
            inputs = [3] + [section.width] * (STEPS - 1)
            self.convs = nn.CellList([ConvModule(channels, section.width, 3, 2, norm) for channels in inputs])
            self.out_channels = (section.width,) * 3

        def construct(self, images: Tensor) -> tuple[Tensor, ...]:
            x, maps = images, ()
            for i in range(STEPS):
                x = self.convs[i](x)
                if i >= STEPS - 3:
                    maps = maps + (x,)
            return maps

    return Strided()


STRIDED = BackboneSpec(
    section=StridedConfig,
    build=build,
    channels=lambda section: [section.width] * 3,
    strides=lambda section: [8, 16, 32],
)
