"""What a mask head should predict for each region (Mask R-CNN, section 3.1)."""

import mindspore as ms
from mindspore import Tensor, nn, ops

from src.blocks.roi_extractors import RoIAlign


class MaskTargets(nn.Cell):
    """Cuts regions out of the objects' masks and scales them to the size of the head's output.

    The mask is averaged over each output pixel (RoIAlign with as many samples as it takes) and compared with 1/2, as
    mmdetection does with bitmaps. The masks are whole bitmaps of the network's input, or canvases of fixed size that
    each cover a window around their object (`src.data.mask_canvas`); what lies outside is 0.

    Args:
        input_hw: height and width of the network's input, or of the turned one.
        mask_size: height and width of the targets.
        mask_divider: network pixels per canvas pixel, at least.
    """

    def __init__(self, input_hw: tuple[int, int], mask_size: int = 28, mask_divider: int = 1) -> None:
        super().__init__()
        self.bitmap_shapes = ((input_hw[0], input_hw[1]), (input_hw[1], input_hw[0]))
        self.mask_divider = mask_divider
        self.pool = RoIAlign(mask_size, (1,), sampling_ratio=0, aligned=True)

    def construct(self, masks: Tensor, boxes: Tensor, rois: Tensor, matched: Tensor) -> Tensor:
        """Targets without gradient.

        Args:
            masks: uint8 [B,N,S,S] canvases or [B,N,H,W] bitmaps, coverage 0..255; or 0 and 1.
            boxes: float32 [B,N,4], x1 y1 x2 y2 of the objects in network pixels.
            rois: float32 [R,5], index of the image, x1 y1 x2 y2 in network pixels.
            matched: int32 [R], each region's object as an index into all B*N objects.

        Returns:
            float32 [R,mask_size,mask_size], 0 or 1.
        """
        batch, count, height, width = masks.shape
        masks = masks.reshape(batch * count, 1, height, width).astype(ms.float32)
        places = rois[:, 1:]
        if (height, width) not in self.bitmap_shapes:
            window = self._windows(boxes.reshape(-1, 4), height, width)
            start, scale = ops.split(ops.gather(window, matched, 0), 2, 1)
            places = (places - ops.concat((start, start), 1)) * ops.concat((scale, scale), 1)
        regions = ops.concat((matched.astype(ms.float32).expand_dims(1), places), 1)
        coverage = self.pool((masks,), regions).squeeze(1)
        whole = ops.clamp(masks.max(), 1.0, None)
        return ops.stop_gradient((coverage >= 0.5 * whole).astype(ms.float32))

    def _windows(self, boxes: Tensor, height: int, width: int) -> Tensor:
        """x0, y0 of the canvases of boxes [G,4] and canvas pixels per network pixel along x and y: float32 [G,4]."""
        start = ops.clamp(ops.floor(boxes[:, :2]) - 1, 0.0, None)
        sides = ops.ceil(boxes[:, 2:]) + 1 - start
        across = ops.clamp(sides[:, :1], float(width * self.mask_divider), None)
        down = ops.clamp(sides[:, 1:], float(height * self.mask_divider), None)
        return ops.concat((start, width / across, height / down), 1)
