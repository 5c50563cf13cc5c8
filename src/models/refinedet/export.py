"""The raw form of exported RefineDets: decoded boxes and scores of all anchors."""

from mindspore import Tensor, nn

from src.models.refinedet.detector import RefineDet


class RefineDetDecoded(nn.Cell):
    """Boxes and scores of all anchors of a RefineDet; attributes as of `RetinaNetDecoded`."""

    input_names = ("image",)

    def __init__(self, net: RefineDet) -> None:
        super().__init__(auto_prefix=False)
        self.net = net
        self.level_sizes = [net.targets.anchors.shape[0]]

    def construct(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes [B,N,4], x1 y1 x2 y2 in network pixels, not clipped, and scores [B,N,K] of image float32 [B,3,H,W]."""
        return self.net.decoded_outputs(image)
