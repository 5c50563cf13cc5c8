from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from src.blocks.anchor_generator import AnchorGenerator
from src.blocks.assigners_samplers import AssignerOptions, MaxIoUAssigner, PairwiseMatcher
from src.blocks.detections import Detections
from src.commands.count_parameters import summarise
from src.common.errors import UserError
from src.config import load_config
from src.models import build_detector

CONFIGS = Path(__file__).parents[2] / "configs" / "spinenet_retinanet"
SIZE, CLASSES = 128, 3
TINY = {
    "coco_classes": ["background", "circle", "square", "star"],
    "category_ids": [],
    "num_classes": CLASSES + 1,
    "img_width": SIZE,
    "img_height": SIZE,
    "backbone.arch": "49S",
    "backbone.width": 0.25,
    "backbone.out_channels": 16,
    "bbox_head.in_channels": 16,
    "bbox_head.feat_channels": 16,
    "bbox_head.stacked_convs": 1,
    "train_cfg.assigner.neg_iou_thr": 0.4,
}


def tiny_detector(**overrides) -> nn.Cell:
    ms.set_seed(3)
    return build_detector(load_config(CONFIGS / "retinanet_spinenet_49s_640.yaml", TINY | overrides))


def batch(images: int = 2, objects: int = 5, padded: int = 8, seed: int = 0) -> list[ms.Tensor]:
    """images, image_info, boxes, labels, valid; the second image has no objects."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(size=(images, 3, SIZE, SIZE)).astype(np.float32)
    info = np.tile(np.array([SIZE / 2, SIZE, SIZE / 2, SIZE, 1, 1], np.float32), (images, 1))
    centre, side = rng.uniform(20, 108, (images, objects, 2)), rng.uniform(10, 90, (images, objects, 2))
    boxes = np.zeros((images, padded, 4), np.float32)
    boxes[:, :objects] = np.concatenate([centre - side / 2, centre + side / 2], 2)
    valid = np.tile(np.arange(padded) < objects, (images, 1))
    valid[1::2] = False
    labels = rng.integers(0, CLASSES, (images, padded)).astype(np.int32) * valid
    return [ms.Tensor(x) for x in (pixels, info, boxes * valid[..., None].astype(np.float32), labels, valid)]


def reference_losses(logits, deltas, boxes, labels, valid) -> tuple[float, float, int]:
    """(sum of the focal loss, sum of the smooth L1 loss, positives) in float64, image by image, one-hot."""
    generator = AnchorGenerator([8, 16, 32, 64, 128], [0.5, 1.0, 2.0], 3, 3)
    anchors = np.concatenate(generator.grid_anchors(generator.feature_sizes(SIZE, SIZE)))
    assigner = MaxIoUAssigner(PairwiseMatcher(), AssignerOptions(0.5, 0.4, 1e-5, True))
    focal = smooth = positives = 0
    for i in range(len(boxes)):
        rows = [x[i].transpose(1, 2, 0).reshape(-1, CLASSES) for x in logits]
        x = np.concatenate(rows).astype(np.float64)
        predicted = np.concatenate([d[i].transpose(1, 2, 0).reshape(-1, 4) for d in deltas]).astype(np.float64)
        assigned = assigner(
            ms.Tensor(boxes[i : i + 1]), ms.Tensor(valid[i : i + 1]), ms.Tensor(anchors[None])
        ).asnumpy()[0]
        found = assigned > 0
        one_hot = np.zeros_like(x)
        one_hot[np.flatnonzero(found), labels[i][assigned[found] - 1]] = 1
        p = 1 / (1 + np.exp(-x))
        p_t, alpha = np.where(one_hot, p, 1 - p), np.where(one_hot, 0.25, 0.75)
        focal += (-alpha * (1 - p_t) ** 2 * np.log(p_t))[assigned >= 0].sum()
        a, b = anchors[found].astype(np.float64), boxes[i][assigned[found] - 1].astype(np.float64)
        sides_a, sides_b = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
        target = np.concatenate(
            [((b[:, 2:] + b[:, :2]) - (a[:, 2:] + a[:, :2])) / 2 / sides_a, np.log(sides_b / sides_a)], 1
        )
        d = np.abs(predicted[found] - target)
        smooth += np.where(d < 0.11, 0.5 * d * d / 0.11, d - 0.055).sum()
        positives += found.sum()
    return focal, smooth, positives


def test_losses_equal_a_plain_computation(mode):
    net = tiny_detector().set_train(False)
    data = batch()
    raw = [[level.asnumpy() for level in part] for part in net.dense_outputs(data[0])]
    focal, smooth, positives = reference_losses(*raw, *(x.asnumpy() for x in data[2:]))
    assert positives > 20
    np.testing.assert_allclose(float(compiled(net.count_positives, mode)(*data[2:]).asnumpy()), positives)

    def losses(*inputs):
        terms = net.losses(*inputs)
        return terms["loss_cls"], terms["loss_bbox"]  # a graph that returns a dict cannot hold custom operators

    assert net.loss_names == ("loss_cls", "loss_bbox")
    loss_cls, loss_bbox = compiled(losses, mode)(*data)
    np.testing.assert_allclose(float(loss_cls.asnumpy()), focal / positives, rtol=1e-4)
    np.testing.assert_allclose(float(loss_bbox.asnumpy()), smooth / positives, rtol=1e-4)
    given, _ = compiled(losses, mode)(*data, None, ms.Tensor(7.0, ms.float32))
    np.testing.assert_allclose(float(given.asnumpy()), focal / 7, rtol=1e-4)


def test_loss_weights_and_l1(pynative):
    net = tiny_detector(**{"bbox_head.loss_cls.loss_weight": 3.0, "bbox_head.loss_bbox.type": "l1"}).set_train(False)
    plain = tiny_detector(**{"bbox_head.loss_bbox.beta": 1e-6}).set_train(False)
    data = batch()
    weighted, expected = net.losses(*data), plain.losses(*data)
    np.testing.assert_allclose(weighted["loss_cls"].asnumpy(), 3 * expected["loss_cls"].asnumpy(), rtol=1e-5)
    np.testing.assert_allclose(weighted["loss_bbox"].asnumpy(), expected["loss_bbox"].asnumpy(), rtol=1e-4)


def test_a_batch_without_objects_has_a_finite_loss_and_gradient(pynative):
    net = tiny_detector().set_train(True)
    data = batch()
    data[2:] = [ms.Tensor(np.zeros_like(x.asnumpy())) for x in data[2:]]

    def total(*args):
        losses = net.losses(*args)
        return losses["loss_cls"] + losses["loss_bbox"]

    value, gradients = ms.value_and_grad(total, None, net.trainable_params())(*data)
    assert 0 < float(value.asnumpy()) < 1000
    assert all(np.isfinite(g.asnumpy()).all() for g in gradients)
    assert float(net.count_positives(*data[2:]).asnumpy()) == 0


def compiled(function, mode: str):
    return ms.jit(function) if mode == "graph" else function


class Step(nn.Cell):
    def __init__(self, net: nn.Cell):
        super().__init__(auto_prefix=False)
        self.net = net
        self.optimizer = nn.Momentum(net.trainable_params(), 0.02, 0.9)
        self.gradient = ms.value_and_grad(self.total, None, self.optimizer.parameters)

    def total(self, *data):
        losses = self.net.losses(*data)
        return losses["loss_cls"] + losses["loss_bbox"]

    def construct(self, *data):
        value, gradients = self.gradient(*data)
        return ops.depend(value, self.optimizer(gradients))


def test_predicting_does_not_disturb_training():
    data = batch()
    net = tiny_detector()
    step = Step(net).set_train(True)
    values = []
    for _ in range(4):
        mean = net.backbone.conv1.bn.moving_mean.asnumpy().copy()
        values.append(float(step(*data).asnumpy()))
        assert (net.backbone.conv1.bn.moving_mean.asnumpy() != mean).all()  # batch statistics, as in training
        before = {p.name: p.asnumpy().copy() for p in net.get_parameters()}
        net.predict(data[0], data[1])
        assert net.training and net.backbone.conv1.bn.training
        for parameter in net.get_parameters():
            np.testing.assert_array_equal(parameter.asnumpy(), before[parameter.name])
    assert values[-1] < values[0]


def test_predict_and_construct_agree(mode):
    net = tiny_detector(**{"test_cfg.score_thr": 0.001, "test_cfg.max_per_img": 20, "test_cfg.nms_pre": 50})
    images, info = batch()[:2]
    found = net.set_train(True).predict(images.asnumpy(), info.asnumpy())
    assert isinstance(found, Detections) and found.masks is None
    assert [x.shape for x in found[:4]] == [(2, 20, 4), (2, 20), (2, 20), (2, 20)]
    assert found.valid.any()
    assert found.boxes[..., 1::2].max() <= SIZE / 2 and found.boxes[..., 0::2].max() <= SIZE
    in_graph = net.set_train(False)(images, info)
    for ours, theirs in zip(found[:4], in_graph, strict=True):
        np.testing.assert_allclose(theirs.asnumpy(), ours, atol=1e-2)


def test_features_are_the_levels_of_the_pyramid(pynative):
    features = tiny_detector().set_train(False).extract_features(batch()[0])
    assert [f.shape for f in features] == [(2, 16, SIZE // s, SIZE // s) for s in (8, 16, 32, 64, 128)]


def test_parameter_names_are_unique_and_prefixed():
    names = [p.name for p in tiny_detector().get_parameters()]
    assert len(set(names)) == len(names)
    assert {name.split(".")[0] for name in names} == {"backbone", "bbox_head"}
    for name in (
        "backbone.endpoint_convs.7.bn.gamma",
        "bbox_head.cls_convs.4.0.bn.moving_mean",
        "bbox_head.retina_cls.bias",
    ):
        assert name in names
    assert "bbox_head.cls_convs.1.0.conv.weight" not in names  # level 0's is shared


def test_an_input_that_the_largest_stride_does_not_divide_is_an_error():
    with pytest.raises(UserError, match="img_width.*192.*128"):
        tiny_detector(img_width=192)


@pytest.mark.parametrize(
    "name, millions, published_gmacs",
    [
        ("49s_640", "11.151", 29.8),
        ("49_640", "28.313", 83.3),
        ("49_896", "28.313", 163.3),
        ("96_1024", "42.745", 260.1),
        ("143_1280", "66.729", 515.6),
        ("190_1280", "163.174", 1866),
    ],
)
def test_published_sizes(name, millions, published_gmacs, pynative):
    """Parameters to the printed digit. Published multiply-adds repeat pixels before Resample's last convolution."""
    config = load_config(CONFIGS / f"retinanet_spinenet_{name}.yaml")
    summary = summarise(config)
    assert f"{sum(summary.parameters.values()) / 1e6:.3f}" == millions
    macs = sum(summary.macs.values())
    assert macs / 1e9 < published_gmacs
    np.testing.assert_allclose((macs + summary.repeated_macs) / 1e9, published_gmacs, rtol=1e-3)
