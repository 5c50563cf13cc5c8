"""A dense head's outputs as rows, one per anchor."""

from mindspore import Tensor, ops


def anchor_rows(levels: tuple[Tensor, ...], width: int) -> Tensor:
    """Outputs [B,A*width,H,W] of all levels -> [B,N,width], N running over levels, rows, columns and anchors."""
    rows: tuple[Tensor, ...] = ()
    for level in levels:
        rows = rows + (level.transpose(0, 2, 3, 1).reshape(level.shape[0], -1, width),)
    return ops.concat(rows, 1)
