"""Activations by name."""

from mindspore import Tensor, nn, ops


class Swish(nn.Cell):
    """x * sigmoid(x)."""

    def construct(self, x: Tensor) -> Tensor:
        """Activate x of any shape."""
        return x * ops.sigmoid(x)


ACTIVATIONS = {"relu": nn.ReLU, "swish": Swish}


def build_activation(name: str) -> nn.Cell | None:
    """A new activation cell: `relu` or `swish`; None for `none`."""
    return None if name == "none" else ACTIVATIONS[name]()


# Lower bounds of what the activations give (swish: -0.27846 at -1.2785).
ACTIVATION_FLOORS = {"relu": 0.0, "swish": -0.2785}
