"""Hard negative mining (SSD, Liu et al. 2016, arXiv:1512.02325, section 2.2)."""

from mindspore import Tensor, ops


def hard_negatives(losses: Tensor, candidates: Tensor, counts: Tensor) -> Tensor:
    """Mark the candidates of greatest loss, image by image; of equal losses the first.

    Args:
        losses: float32 [B,P], not negative.
        candidates: bool [B,P].
        counts: float32 [B,1], how many to take of an image; all candidates where it has fewer.

    Returns:
        bool [B,P].
    """
    size = losses.shape[1]
    # A candidate without loss comes before what is no candidate.
    values = ops.where(candidates, losses, -ops.ones_like(losses))
    best, _ = ops.topk(values, size)
    last = ops.clamp(counts - 1, 0.0, float(size - 1)).astype("int32")
    threshold = ops.gather_elements(best, 1, last)
    above = (values > threshold).astype("float32")
    equal = ops.logical_and(values == threshold, candidates).astype("float32")
    room = ops.clamp(counts, None, float(size)) - above.sum(axis=1, keepdims=True)
    chosen = ops.logical_or(above > 0, ops.logical_and(equal > 0, ops.cumsum(equal, 1) <= room))
    return ops.logical_and(chosen, counts > 0)
