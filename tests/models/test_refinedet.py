"""RefineDet against the public PyTorch port: raw outputs, detections, matches, losses, gradients."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from src.blocks.detections import Detections
from src.engine.train_step import GradientCell
from src.models import build_detector
from src.models.counting import count_parameters
from src.models.prediction import Compiled
from src.models.refinedet.build import anchors_of
from src.weights.checkpoint import load_weights
from src.weights.convert import convert_weights
from tests.blocks import oracle
from tests.blocks.refinedet_oracle import (
    NAMES,
    config_of,
    expected_detections,
    narrow_config,
    oracle_objects,
    oracle_predictions,
)

EXPECTED = oracle.arrays("refinedet")
EVERYTHING = 20_000  # more rows than there are detections
SIZE = 128


def published_detector(size: int) -> nn.Cell:
    config = config_of(f"refinedet_vgg16_{size}_voc", test_cfg__max_per_img=EVERYTHING)
    net = build_detector(config)
    state = oracle.published_state("refinedet_vgg16_320_voc", int(EXPECTED[f"{size}/seed"]))
    load_weights(net, convert_weights(state, config))
    return net.set_train(False)


@pytest.mark.parametrize(
    ("experiment", "millions"),
    [("refinedet_vgg16_320", 36.10), ("refinedet_vgg16_320_voc", 34.44), ("refinedet_resnet101_320", 62.0)],
)
def test_parameter_counts_are_the_published_ones(experiment, millions):
    net = build_detector(config_of(experiment))
    assert count_parameters(net) / 1e6 == pytest.approx(millions, abs=0.005 if "vgg" in experiment else 0.1)


@pytest.mark.parametrize("size", [320, 512])
def test_anchors_are_the_ports(size):
    corners = anchors_of(config_of(f"refinedet_vgg16_{size}_voc"))
    found = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1) / size
    np.testing.assert_allclose(found, EXPECTED[f"{size}/priors"], atol=1e-6)


def test_the_authors_anchors_may_be_larger_than_the_image():
    corners = anchors_of(config_of("refinedet_vgg16_320_coco_paper"))
    sides = (corners[:, 2:] - corners[:, :2]).reshape(-1, 3, 2)[-1]
    np.testing.assert_allclose(
        sides, [[256, 256], [256 * 2**0.5, 256 / 2**0.5], [256 / 2**0.5, 256 * 2**0.5]], rtol=1e-5
    )


@pytest.mark.parametrize("size", [320, 512])
def test_raw_outputs_and_detections_equal_the_ports(size):
    net = published_detector(size)
    x = EXPECTED[f"{size}/x"].astype(np.float32)
    raw = Compiled(net.dense_outputs)(ms.Tensor(x))
    for name, output in zip(NAMES, raw, strict=True):
        assert oracle.relative_error(EXPECTED, f"{size}/{name}", output) < 2e-4, name
    info = np.float32([[size, size, size, size, 1, 1]])
    boxes, scores = (value.asnumpy() for value in net.decode(*raw))
    found = Detections(*net.post_processor(boxes, scores, info))
    assert (scores.max(axis=2) > 0).sum() == EXPECTED[f"{size}/n_priors_objectness_gt_0.01"]
    counts = np.bincount(found.labels[found.valid] + 1, minlength=21)
    assert np.abs(counts - EXPECTED[f"{size}/detect_count_per_class"]).max() <= 3  # of some 600 a class
    best = expected_detections(EXPECTED[f"{size}/detect_top500_rows_cls_score_x1y1x2y2"], size)
    assert oracle.matched(found, best, "best") >= 495


def test_detections_of_given_predictions_equal_the_ports(pynative):
    net = build_detector(narrow_config(320, test_cfg__max_per_img=EVERYTHING))
    boxes, scores = net.decode(*(ms.Tensor(array[:1]) for array in oracle_predictions(EXPECTED)))
    found = Detections(*net.post_processor(boxes.asnumpy(), scores.asnumpy(), np.float32([[320, 320, 320, 320, 1, 1]])))
    counts = np.bincount(found.labels[found.valid] + 1, minlength=21)
    np.testing.assert_array_equal(counts, EXPECTED["320/pred_detect_count_per_class"])
    best = expected_detections(EXPECTED["320/pred_detect_top500_rows_cls_score_x1y1x2y2"], 320)
    assert oracle.matched(found, best, "best") >= 498


def test_matches_equal_the_ports(pynative):
    net = build_detector(narrow_config(320))
    arm_loc, arm_conf = (ms.Tensor(array) for array in oracle_predictions(EXPECTED)[:2])
    boxes, labels, valid = oracle_objects(EXPECTED)
    arm = net.targets.arm(boxes, valid)
    odm = net.targets.odm(boxes, labels, valid, arm_loc, arm_conf)
    for name, targets in (("arm", arm), ("odm", odm)):
        classes, deltas = (value.asnumpy() for value in targets[:2])
        found = classes > 0
        np.testing.assert_array_equal(np.argwhere(found), EXPECTED[f"320/match/{name}_pos_idx"])
        np.testing.assert_array_equal(classes[found], EXPECTED[f"320/match/{name}_pos_conf"])
        np.testing.assert_allclose(deltas[found], EXPECTED[f"320/match/{name}_pos_loc"], atol=1e-4)
        assert np.isfinite(deltas).all()


def losses_of(net: nn.Cell, raw: list[ms.Tensor], objects: list[ms.Tensor]):
    """(ARM boxes, ARM scores, ODM boxes, ODM scores) and the gradients of their sum."""
    given = _Given(net)

    def total(*inputs):
        terms = given(*inputs, *objects)
        return terms[0] + terms[1] + terms[2] + terms[3], terms

    (_, terms), gradients = ms.value_and_grad(total, (0, 1, 2, 3), has_aux=True)(*raw)
    return np.array([float(term.asnumpy()) for term in terms]), [g.asnumpy() for g in gradients]


class _Given(nn.Cell):
    """The losses of given raw outputs."""

    def __init__(self, net: nn.Cell):
        super().__init__(auto_prefix=False)
        self.net = net

    def construct(self, arm_loc, arm_conf, odm_loc, odm_conf, boxes, labels, valid):
        terms = self.net.losses_of_outputs((arm_loc, arm_conf, odm_loc, odm_conf), boxes, labels, valid)
        return terms["arm_loc"], terms["arm_conf"], terms["odm_loc"], terms["odm_conf"]


def test_losses_and_gradients_equal_the_ports():
    net = build_detector(narrow_config(320))
    raw = [ms.Tensor(array) for array in oracle_predictions(EXPECTED)]
    terms, gradients = losses_of(net, raw, oracle_objects(EXPECTED))
    np.testing.assert_allclose(terms, EXPECTED["320/losses_arm_l_arm_c_odm_l_odm_c"], rtol=1e-5)
    for name, gradient in zip(NAMES, gradients, strict=True):
        wanted = float(EXPECTED[f"320/gradnorm/{name}"])
        assert np.linalg.norm(gradient) == pytest.approx(wanted, rel=1e-4), name
        assert oracle.relative_error(EXPECTED, f"320/grad/{name}", ms.Tensor(gradient)) < 2e-4, name
        rows = np.argwhere(np.abs(gradient).sum(2) > 0)  # the positives, and for scores the hard negatives
        np.testing.assert_array_equal(rows, EXPECTED[f"320/grad_nonzero_idx/{name}"])


def test_the_papers_filter_drops_easy_negatives_and_no_positives():
    raw = oracle_predictions(EXPECTED)
    net = build_detector(narrow_config(320, train_cfg__objectness_filter="negatives"))
    _, gradients = losses_of(net, [ms.Tensor(array) for array in raw], oracle_objects(EXPECTED))
    trained = np.abs(gradients[3]).sum(2) > 0
    matched = np.zeros_like(trained)
    matched[tuple(EXPECTED["320/match/odm_pos_idx"].T)] = True
    easy = np.exp(raw[1][..., 1]) / np.exp(raw[1]).sum(2) <= 0.01
    assert (matched & easy).sum() > 0  # else nothing would be tested
    assert (trained[matched]).all() and not (trained & easy & ~matched).any()
    # Of the others those of greatest loss, three for each match of the image.
    shifted = raw[3] - raw[3].max(2, keepdims=True)
    loss = np.log(np.exp(shifted).sum(2)) - shifted[..., 0]
    for i in range(2):
        candidates = np.flatnonzero(~matched[i] & ~easy[i])
        hardest = candidates[np.argsort(-loss[i][candidates])[: 3 * matched[i].sum()]]
        np.testing.assert_array_equal(np.flatnonzero(trained[i] & ~matched[i]), np.sort(hardest))


def batch(images: int = 2) -> list[ms.Tensor]:
    """images, image_info, boxes, labels, valid; an object for each level."""
    rng = np.random.default_rng(0)
    boxes = np.float32([[34, 32, 48, 48], [64, 64, 96, 96], [0, 0, 64, 60], [2, 0, 126, 128]])
    arrays = (
        rng.standard_normal((images, 3, SIZE, SIZE), np.float32),
        np.tile(np.float32([SIZE / 2, SIZE, SIZE / 2, SIZE, 1, 1]), (images, 1)),
        np.tile(boxes, (images, 1, 1)),
        rng.integers(0, 20, (images, len(boxes))).astype(np.int32),
        np.ones((images, len(boxes)), bool),
    )
    return [ms.Tensor(array) for array in arrays]


def test_training_step_of_the_whole_network_and_without_objects():
    net = build_detector(
        narrow_config(bbox_head__objectness_thr=0.0, bbox_head__anchor_generator__scales=[2])
    ).set_train(True)
    step = GradientCell(net, net.trainable_params(), 1.0)
    data = batch()
    terms, gradients = step(*data, None, None, None)
    assert (terms.asnumpy() > 0).all()
    silent = [p.name for p, g in zip(net.trainable_params(), gradients, strict=True) if not g.asnumpy().any()]
    assert not silent
    normalizer = net.count_positives(*data[2:])
    given, _ = step(*data, None, 2 * normalizer, None)
    np.testing.assert_allclose(given.asnumpy() / terms.asnumpy(), [0.5, 0.5, 1, 1], rtol=1e-4)
    data[4] = ms.Tensor(np.zeros(data[4].shape, bool))
    terms, gradients = step(*data, None, None, None)
    np.testing.assert_array_equal(terms.asnumpy(), 0)
    assert not any(g.asnumpy().any() for g in gradients)  # finite, too


def test_graph_and_host_detections_are_the_same_and_inside_the_image():
    ms.set_seed(1)
    net = build_detector(narrow_config(test_cfg__max_per_img=8, test_cfg__score_thr=0.04))
    images = ms.Tensor(np.random.default_rng(1).standard_normal((2, 3, SIZE, SIZE), np.float32) * 50)
    info = np.float32([[256, 200, 128, 100, 0.5, 0.5], [64, 64, 128, 128, 2, 2]])
    host = net.set_train(True).predict(images, info)
    assert net.training and host.valid.any(1).all()
    graph = [value.asnumpy() for value in net.set_train(False)(images, ms.Tensor(info))]
    for name, wanted, found in zip(("boxes", "scores", "labels", "valid"), host, graph, strict=False):
        np.testing.assert_allclose(found, wanted, atol=1e-3, err_msg=name)
    size = info[:, None, [1, 0, 1, 0]]
    assert ((host.boxes >= 0) & (host.boxes <= size)).all()


@pytest.mark.parametrize("experiment", ["refinedet_vgg16_320_voc", "refinedet_resnet101_320"])
def test_levels_of_both_backbones(experiment, pynative):
    narrow = {"backbone__base_channels": 8, "neck__out_channels": 8, "img_height": 128, "img_width": 192}
    narrow |= {"backbone__depth": 50, "backbone__stage_blocks": [1, 1, 1, 1]} if "resnet" in experiment else {}
    net = build_detector(config_of(experiment, **narrow, bbox_head__prediction_blocks="resnet" in experiment))
    net.set_train(False)
    images = ops.zeros((1, 3, 128, 192), ms.float32)
    shapes = [tuple(level.shape) for level in net.extract_features(images)]
    assert shapes == [(1, 8, 16, 24), (1, 8, 8, 12), (1, 8, 4, 6), (1, 8, 2, 3)]
    count = 3 * (16 * 24 + 8 * 12 + 4 * 6 + 2 * 3)
    assert [tuple(x.shape) for x in net.dense_outputs(images)[:2]] == [(1, count, 4), (1, count, 2)]
