"""Picking rows of batched tables."""

from mindspore import Tensor, ops


def flat_index(index: Tensor, count: int) -> Tensor:
    """Index int32 [B,P] into `count` rows of each image -> the same into the rows of all images in a row."""
    first = (ops.arange(index.shape[0]) * count).astype("int32").expand_dims(1)
    return index + first


def take_rows(rows: Tensor, index: Tensor) -> Tensor:
    """`rows` [B,N,D] at index int32 [B,P] -> [B,P,D]."""
    batch, count, width = rows.shape
    return ops.gather(rows.reshape(batch * count, width), flat_index(index, count), 0)
