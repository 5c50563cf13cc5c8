"""Whether MindSpore works on a device at all: its version, and a few steps of a small network whose loss must fall."""

import argparse

import numpy as np
from cases import report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("GPU", "CPU"), default="GPU")
    args = parser.parse_args()

    import mindspore as ms
    from mindspore import nn, ops

    ms.set_device(args.device)
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_seed(1)
    net = nn.SequentialCell(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dense(16, 2)
    )
    net.set_train(True)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 32)
    images = rng.standard_normal((32, 3, 32, 32), np.float32) + labels[:, None, None, None]
    optimizer = nn.Momentum(net.trainable_params(), 0.1, 0.9)
    step = nn.TrainOneStepCell(nn.WithLossCell(net, ops.cross_entropy), optimizer)
    losses = [float(step(ms.Tensor(images, ms.float32), ms.Tensor(labels, ms.int32)).asnumpy()) for _ in range(20)]
    report(version=ms.__version__, first_loss=round(losses[0], 4), last_loss=round(losses[-1], 4))
    if not losses[-1] < 0.5 * losses[0]:
        raise SystemExit(f"the loss did not fall: {losses}")


if __name__ == "__main__":
    main()
