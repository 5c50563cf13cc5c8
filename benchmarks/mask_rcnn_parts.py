"""Parts of a Mask R-CNN as cells of their own, on the inputs that they get in a training step (mask_rcnn_speed.py)."""

from collections.abc import Callable

import mindspore as ms
from mindspore import Tensor, nn, ops

from src.models.mask_rcnn.detector import MaskRCNN
from src.models.prediction import Compiled


class Gradient(nn.Cell):
    """Gradients of a function's outputs with respect to its inputs and to parameters, weighted by the outputs."""

    def __init__(self, function: Callable, parameters: list[ms.Parameter], inputs: bool) -> None:
        super().__init__(auto_prefix=False)
        self.function = Compiled(function)
        self.parameters = ms.ParameterTuple(parameters)
        self.grad = ops.GradOperation(get_all=inputs, get_by_list=bool(parameters), sens_param=True)

    def construct(self, sens, *inputs):
        if len(self.parameters):
            return self.grad(self.function, self.parameters)(*inputs, sens)
        return self.grad(self.function)(*inputs, sens)


class Parts:
    """Inputs and calls of the parts.

    Args:
        net: the detector.
        batch: a batch as tensors.
        mask_rows: regions for the mask head.
    """

    def __init__(self, net: MaskRCNN, batch: dict[str, Tensor], mask_rows: int) -> None:
        self.net, self.batch = net, batch
        net.set_train(True)
        info, self.seed = batch["image_info"], Tensor(0, ms.int32)
        self.maps = Compiled(net.backbone)(batch["image"])
        self.levels = Compiled(net.neck)(self.maps)
        self.logits, self.deltas = Compiled(net.rpn_head)(self.levels)
        self.train_call = Compiled(net.train_proposals[0])
        self.test_call = Compiled(net.test_proposals[0])
        self.proposals, _, self.proposal_valid = self.train_call(self.logits, self.deltas, info)
        self.tested, _, self.test_valid = self.test_call(self.logits, self.deltas, info)
        self.roi_targets = Compiled(net.roi_head.targets[0])
        objects = batch["boxes"], batch["labels"], batch["valid"]
        self.target_inputs = (self.proposals, self.proposal_valid, *objects, self.seed)
        targets = self.roi_targets(*self.target_inputs)
        self.rois, self.weights, self.positive = targets[0], targets[2], targets[4]
        self.few, self.few_labels, self.few_matched = (targets[i][:mask_rows] for i in (0, 1, 5))

    def counts(self) -> dict:
        """Proposals of prediction and of training, and the regions that train."""
        return {
            "test proposals": int(self.test_valid.asnumpy().sum()),
            "training proposals": int(self.proposal_valid.asnumpy().sum()),
            "regions": int(self.weights.asnumpy().sum()),
            "positives": int(self.positive.asnumpy().sum()),
        }

    def tasks(self) -> dict[str, tuple[Callable | None, ...]]:
        """Calls for `sides.time_parts`: forward, and forward with gradient where there is one."""
        net, head, batch = self.net, self.net.roi_head, self.batch
        test_rois = ops.concat((ops.zeros((self.tested.shape[1], 1)), self.tested[0]), 1)
        pooled = Compiled(head.bbox_extractor)(self.levels, self.rois)
        mask_pooled = Compiled(head.mask_extractor)(self.levels, self.few)
        labels = ops.clamp(self.few_labels, 0, head.num_classes - 1)
        rois, few = self.rois, self.few

        def box_pool(*levels):
            return head.bbox_extractor(levels, rois)

        def test_pool(*levels):
            return head.bbox_extractor(levels, test_rois)

        def mask_pool(*levels):
            return head.mask_extractor(levels, few)

        def masks(x):
            return head.mask_head.class_logits(x, labels)

        def neck(*maps):
            return net.neck(maps)

        def rpn(*levels):
            return net.rpn_head(levels)

        layers = {
            "backbone": (net.backbone, (batch["image"],), net.backbone),
            "FPN": (neck, self.maps, net.neck),
            "RPN head": (rpn, self.levels, net.rpn_head),
            "RoIAlign 7x7": (box_pool, self.levels, None),
            "RoIAlign 7x7, prediction": (test_pool, self.levels, None),
            "box head": (head.bbox_head, (pooled,), head.bbox_head),
            "RoIAlign 14x14": (mask_pool, self.levels, None),
            "mask head": (masks, (mask_pooled,), head.mask_head),
        }
        tasks = {name: self._layer(name, *layer) for name, layer in layers.items()}
        info, raw = batch["image_info"], (self.logits, self.deltas)
        plain = {
            "proposals": (self.train_call, (*raw, info)),
            "proposals, prediction": (self.test_call, (*raw, info)),
            "RPN targets": (Compiled(net.rpn_targets[0]), (batch["boxes"], batch["valid"], info, self.seed)),
            "RoI targets": (self.roi_targets, self.target_inputs),
            "mask targets": (Compiled(head.mask_targets), (batch["masks"], batch["boxes"], few, self.few_matched)),
        }
        for name, (cell, inputs) in plain.items():
            tasks[name] = (lambda c=cell, i=inputs: finish(c(*i)), None)
        return tasks

    def _layer(self, name: str, function: Callable, inputs: tuple, cell: nn.Cell | None) -> tuple[Callable, Callable]:
        forward = Compiled(function)
        parameters = [] if cell is None else cell.trainable_params()
        gradient = Gradient(function, parameters, name != "backbone")
        sens = forward(*inputs)
        return lambda: finish(forward(*inputs)), lambda: finish(gradient(sens, *inputs))


def finish(result: object) -> None:
    """Wait for tensors, however nested: MindSpore computes while Python goes on."""
    if isinstance(result, Tensor):
        result.asnumpy()
    elif isinstance(result, tuple | list):
        for part in result:
            finish(part)
