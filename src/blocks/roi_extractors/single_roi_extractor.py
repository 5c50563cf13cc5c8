"""Features of RoIs from the level that fits each."""

from collections.abc import Sequence

from mindspore import Tensor, nn

from src.ops.roi_align.roi_align import RoIAlign


class SingleRoIExtractor(nn.Cell):
    """Pool every RoI from a single level of a feature pyramid (mmdetection's name and arguments).

    Args:
        out_size: bins along each side, o.
        sampling_ratio: samples along each side of a bin; 0: adaptive.
        featmap_strides: strides of the levels that are used, finest first; further levels of the pyramid are not.
        finest_scale: RoIs smaller than twice this many pixels (square root of area) belong to the first level.
        aligned: see RoIAlign.
    """

    def __init__(
        self,
        out_size: int = 7,
        sampling_ratio: int = 0,
        featmap_strides: Sequence[float] = (4, 8, 16, 32),
        finest_scale: float = 56,
        aligned: bool = True,
    ) -> None:
        super().__init__()
        self.levels = len(featmap_strides)
        self.roi_align = RoIAlign(out_size, featmap_strides, sampling_ratio, aligned, finest_scale)

    def construct(self, levels: tuple[Tensor, ...], rois: Tensor) -> Tensor:
        """levels: at least as many [B,C,H,W] as strides; rois [R,5] -> [R,C,o,o]; see RoIAlign."""
        return self.roi_align(levels[: self.levels], rois)

    def use_standard_operators(self) -> None:
        """Compute by MindSpore's own operators from now on; see RoIAlign."""
        self.roi_align.use_standard_operators()
