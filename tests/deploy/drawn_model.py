"""An ONNX file that nobody trained: it finds objects whose places and scores follow from the image."""

from pathlib import Path

import onnx

from src.deploy.export_card import ExportCard, Port, Preprocessing
from src.deploy.onnx_metadata import write_metadata

SIDE = 32
CLASSES = ["box", "ball"]
OUTPUTS = {
    "boxes": ([1, 2, 4], "float32"),
    "scores": ([1, 2], "float32"),
    "labels": ([1, 2], "int32"),
    "valid": ([1, 2], "bool"),
    "masks": ([1, 2, 28, 28], "float32"),
}
NETWORK = """
<ir_version: 8, opset_import: ["" : 17]>
drawn (float[1,3,32,32] image, float[1,6] image_info)
=> (float[1,2,4] boxes, float[1,2] scores, int32[1,2] labels, bool[1,2] valid, float[1,2,28,28] masks)
<float[1,2,4] places = {0.25, 0.25, 0.75, 0.5, 0.5, 0.5, 1.0, 1.0}, int64[4] xyxy = {1, 0, 1, 0}, int64[1] rows = {1},
 float[1,2] base = {0.9, 0.1}, float[1,2] weight = {0.0, 0.8}, float[1] zero = {0.0}, float[1] share = {0.0009765625},
 int64[4] first = {0, 0, 0, 0}, int64[4] second = {1, 1, 1, 1}, int64[2] one = {1, 1}, int64[2] large = {1024, 1024},
 int32[1,2] both = {0, 1}, int32[1,1] least = {-1},
 float[28] row = {LEFT_HALF}, int64[4] mask_shape = {1, 2, 28, 28}>
{
    size = Gather <axis = 1> (image_info, xyxy)
    sizes = Unsqueeze (size, rows)
    boxes = Mul (places, sizes)
    pixel = Slice (image, first, second)
    red = Reshape (pixel, one)
    more = Mul (red, weight)
    bright = Add (base, more)
    small = Mul (red, share)
    matrix0 = Expand (small, large)
    SLOWLY
    mean = ReduceMean <keepdims = 0> (LAST)
    nothing = Mul (mean, zero)
    scores = Add (bright, nothing)
    labels = Identity (both)
    valid = Greater (both, least)
    masks = Expand (row, mask_shape)
}
"""


def write_drawn_model(path: Path, products: int = 0) -> Path:
    """Write the file, alone, without JSON beside it.

    In every image it finds a box with score 0.9, and a ball with score 0.1 + 0.8 * the red of its first pixel (of 1),
    each with its left half as the mask. `products` of matrices take time: some 0.02 s each.
    """
    text = NETWORK.replace("LEFT_HALF", ", ".join(["1.0"] * 14 + ["0.0"] * 14)).replace("LAST", f"matrix{products}")
    slowly = [f"matrix{i + 1} = MatMul (matrix{i}, matrix0)" for i in range(products)]
    onnx.save(onnx.parser.parse_model(text.replace("SLOWLY", "\n".join(slowly))), path)
    sizes = dict.fromkeys(("img_height", "img_width", "input_height", "input_width"), SIDE)
    card = ExportCard(
        format="ONNX",
        form="detections",
        detector="mask_rcnn",
        inputs=[Port(name="image", shape=[1, 3, SIDE, SIDE]), Port(name="image_info", shape=[1, 6])],
        outputs=[Port(name=name, shape=shape, dtype=dtype) for name, (shape, dtype) in OUTPUTS.items()],
        preprocessing=Preprocessing(
            **sizes, keep_ratio=False, to_rgb=True, img_mean=[0.0, 0.0, 0.0], img_std=[255.0, 255.0, 255.0]
        ),
        class_names=CLASSES,
        category_ids=[3, 8],
        selection=None,
        mask_threshold=0.5,
        checkpoint="none",
        checkpoint_sha256="",
    )
    write_metadata(path, card.model_dump(exclude={"sha256"}))
    return path
