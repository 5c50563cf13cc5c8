"""Cross-entropies of two-stage detectors (mmdetection's CrossEntropyLoss)."""

from mindspore import Tensor, ops


def sigmoid_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """-t log p - (1 - t) log(1 - p) with p = sigmoid(logits), element by element, for targets t in 0..1.

    For objectness, and for the pixels of the labelled class's mask (mmdetection's use_sigmoid and use_mask).
    As softplus(x) - x t it is exact for logits of any size.
    """
    return ops.Softplus()(logits) - logits * targets


def softmax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax(logits) at the label.

    Args:
        logits: [R,C].
        labels: int32 [R], 0..C-1.

    Returns:
        [R].
    """
    likelihood = ops.log_softmax(logits, -1)
    return -ops.gather_elements(likelihood, 1, labels.expand_dims(1)).squeeze(1)
