"""RPN, box and mask heads against mmdetection's."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from src.blocks.bbox_heads import Shared2FCBBoxHead
from src.blocks.dense_heads import RPNHead
from src.blocks.mask_heads import FCNMaskHead
from src.blocks.necks import FPN
from src.models.counting import count_parameters
from tests.blocks import oracle
from tests.blocks.test_resnet import NETWORKS

EXPECTED = oracle.arrays("roi_heads")
SEED = int(EXPECTED["seed"])


def tensor(key: str) -> ms.Tensor:
    return ms.Tensor(EXPECTED[key].astype(np.float32))


def test_rpn_outputs_equal_mmdetections(mode):
    head = RPNHead()
    oracle.set_published_weights(head, "head_rpn", SEED)
    logits, deltas = head(tuple(tensor(f"levels/P{level}") for level in range(3, 8)))
    for level in range(5):
        assert oracle.relative_error(EXPECTED, f"rpn/cls_l{level}", logits[level]) < 1e-4
        assert oracle.relative_error(EXPECTED, f"rpn/reg_l{level}", deltas[level]) < 1e-4


@pytest.mark.parametrize("name, class_agnostic", [("shared2fc", False), ("cascade", True)])
def test_box_outputs_equal_mmdetections(name, class_agnostic, mode):
    head = Shared2FCBBoxHead(80, reg_class_agnostic=class_agnostic)
    oracle.set_published_weights(head, f"head_bbox_{name}", SEED)
    logits, deltas = head(tensor("bbox/roi_feats"))
    assert oracle.relative_error(EXPECTED, f"head_bbox_{name}/cls_score", logits) < 1e-4
    assert oracle.relative_error(EXPECTED, f"head_bbox_{name}/bbox_pred", deltas) < 1e-4


def test_mask_logits_equal_mmdetections(mode):
    head = FCNMaskHead()
    oracle.set_published_weights(head, "head_mask_fcn", SEED)
    features = tensor("mask/roi_feats")
    logits = head(features)
    assert oracle.relative_error(EXPECTED, "head_mask_fcn/mask_logits", logits) < 1e-4
    labels = np.array([7, 0, 79], np.int32)
    of_labels = head.class_logits(features, ms.Tensor(labels)).asnumpy()
    np.testing.assert_allclose(of_labels, logits.asnumpy()[np.arange(3), labels], rtol=1e-4, atol=1e-4)


class MaskLoss(nn.Cell):
    """A weighted sum of the labelled masks' logits, taken from all masks or computed alone."""

    def __init__(self, head: nn.Cell, alone: bool):
        super().__init__(auto_prefix=False)
        self.head = head
        self.alone = alone

    def construct(self, features, labels, weights):
        logits = (
            self.head.class_logits(features, labels) if self.alone else ops.gather(self.head(features), labels, 1, 1)
        )
        return (logits * weights).sum()


def test_gradients_of_the_labelled_masks_alone():
    rng = np.random.default_rng(0)
    head = FCNMaskHead(num_convs=1, in_channels=6, conv_out_channels=8, num_classes=5)
    features = ms.Tensor(rng.normal(size=(4, 6, 7, 7)).astype(np.float32))
    labels = ms.Tensor(np.array([4, 0, 4, 2], np.int32))
    weights = ms.Tensor(rng.normal(size=(4, 14, 14)).astype(np.float32))
    gradients = [
        ms.grad(MaskLoss(head, alone), 0, head.trainable_params())(features, labels, weights) for alone in (True, False)
    ]
    (of_features, of_weights), (wanted_features, wanted_weights) = gradients
    for actual, wanted in zip((of_features, *of_weights), (wanted_features, *wanted_weights), strict=True):
        np.testing.assert_allclose(actual.asnumpy(), wanted.asnumpy(), rtol=1e-4, atol=1e-4)


def test_sizes_follow_the_arguments(pynative):
    features = ms.Tensor(np.ones((5, 8, 3, 3), np.float32))
    logits, deltas = Shared2FCBBoxHead(4, in_channels=8, fc_out_channels=16, roi_feat_size=3)(features)
    assert logits.shape == (5, 5) and deltas.shape == (5, 16)
    assert FCNMaskHead(2, in_channels=8, conv_out_channels=6, num_classes=4)(features).shape == (5, 4, 6, 6)
    logits, deltas = RPNHead(8, feat_channels=6, num_anchors=2)((features, features))
    assert [x.shape for x in logits] == [(5, 2, 3, 3)] * 2
    assert [x.shape for x in deltas] == [(5, 8, 3, 3)] * 2


def test_weights_start_as_published():
    rpn, box, mask = RPNHead(), Shared2FCBBoxHead(80), FCNMaskHead()
    for weight, std in (
        (rpn.rpn_conv.weight, 0.01),
        (rpn.rpn_reg.weight, 0.01),
        (box.shared_fcs[0].weight, np.sqrt(2 / (12544 + 1024))),
        (box.fc_cls.weight, 0.01),
        (box.fc_reg.weight, 0.001),
        (mask.convs[0].conv.weight, np.sqrt(2 / (256 * 9))),
        (mask.upsample.weight, np.sqrt(2 / (256 * 4))),
        (mask.conv_logits.weight, np.sqrt(2 / 80)),
    ):
        np.testing.assert_allclose(weight.asnumpy().std(), std, rtol=0.05)
    biases = [p for head in (rpn, box, mask) for p in head.get_parameters() if p.name.endswith("bias")]
    assert len(biases) == 3 + 4 + 6 and not any(p.asnumpy().any() for p in biases)


def test_published_sizes_of_the_whole_networks():
    neck, rpn, mask = FPN((256, 512, 1024, 2048)), RPNHead(), FCNMaskHead()
    shared = count_parameters(neck) + count_parameters(rpn)
    per_class, agnostic = (count_parameters(Shared2FCBBoxHead(80, reg_class_agnostic=a)) for a in (False, True))
    masks = count_parameters(mask)
    backbones = {name: learned for name, (_, _, learned) in NETWORKS.items()}
    assert shared + backbones["resnet50"] + per_class + masks == 44_396_336
    assert shared + backbones["resnet101"] + per_class + masks == 63_388_464
    assert shared + backbones["resnext101_64x4d"] + per_class + masks == 102_294_576
    assert shared + backbones["resnet50"] + 3 * (agnostic + masks) == 77_324_606
