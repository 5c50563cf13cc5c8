import json

import mindspore as ms
import numpy as np
import pytest

from src.blocks.bbox_coders import DeltaXYWHBBoxCoder
from tests.blocks import oracle

EXPECTED = oracle.arrays("coders")
STDS = json.loads(str(EXPECTED["stds_json"]))


@pytest.mark.parametrize("name", STDS)
class TestAgainstMMDetection:
    def test_encode(self, name, mode):
        coder = DeltaXYWHBBoxCoder(target_stds=STDS[name])
        deltas = coder.encode(ms.Tensor(EXPECTED["rois"][2:]), ms.Tensor(EXPECTED["gts"][2:]))
        assert oracle.relative_error(EXPECTED, f"{name}/encode", deltas) < 1e-5

    def test_decode(self, name, mode):
        coder = DeltaXYWHBBoxCoder(target_stds=STDS[name])
        boxes = coder.decode(ms.Tensor(EXPECTED["rois"]), ms.Tensor(EXPECTED["deltas"]))
        assert oracle.relative_error(EXPECTED, f"{name}/decode_noclip", boxes) < 1e-5

    @pytest.mark.parametrize("key, clip", [("maxshape", {}), ("whclip_0.1", {"wh_ratio_clip": 0.1})])
    def test_decode_clips_to_the_image(self, name, key, clip, mode):
        coder = DeltaXYWHBBoxCoder(target_stds=STDS[name], **clip)
        height, width = EXPECTED["max_shape_hw"]
        size = ms.Tensor([float(width), float(height)])
        boxes = coder.decode(ms.Tensor(EXPECTED["rois"]), ms.Tensor(EXPECTED["deltas"]), size)
        np.testing.assert_allclose(boxes.asnumpy(), EXPECTED[f"{name}/decode_{key}"], atol=1e-3)

    def test_decode_on_the_host(self, name):
        coder = DeltaXYWHBBoxCoder(target_stds=STDS[name])
        boxes = ms.Tensor(coder.decode_numpy(EXPECTED["rois"], EXPECTED["deltas"]))
        assert oracle.relative_error(EXPECTED, f"{name}/decode_noclip", boxes) < 1e-5


def test_decode_inverts_encode(pynative):
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 300, (2, 50, 2)).astype(np.float32)
    references, boxes = (np.concatenate([c, c + rng.uniform(5, 200, (50, 2))], 1).astype(np.float32) for c in corners)
    coder = DeltaXYWHBBoxCoder([0.1, 0.0, -0.2, 0.3], [0.1, 0.1, 0.2, 0.2])
    deltas = coder.encode(ms.Tensor(references), ms.Tensor(boxes)).asnumpy()
    np.testing.assert_allclose(coder.decode_numpy(references, deltas), boxes, atol=1e-2)
