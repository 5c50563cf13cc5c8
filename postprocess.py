r"""From the result files of Ascend 310 inference to COCO's table.

    python postprocess.py --mindir_path retinanet.mindir --result_path result_Files \
        --anno_path instances_val2017.json --img_path val2017

Prints COCO's table (of boxes, and of masks where the network has them) and AP per class, and writes the detections to
--prediction_path, the metrics to *_metrics.json beside it. Each image is read, suppressed or, of the form detections,
its masks pasted, and forgotten before the next, so that memory does not grow with them.
"""

import argparse

from src.common.program import run_command


def main() -> None:
    """Read the arguments, then evaluate."""
    from src.data.formats.table import FORMATS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--mindir_path", required=True, help="the network, with the .json (.onnx.json) that export.py wrote beside it"
    )
    parser.add_argument("--result_path", required=True, help="folder of the result files (result_Files)")
    parser.add_argument("--anno_path", required=True, help="annotation file, or data set folder")
    parser.add_argument("--img_path", default="", help="folder of the images (default: as the annotations say)")
    parser.add_argument("--dataset", choices=tuple(FORMATS), default="coco", help="what annotates it")
    parser.add_argument("--prediction_path", default="predictions.json", help="JSON file for the detections")
    args = parser.parse_args()
    from src.commands.postprocess import postprocess

    postprocess(**vars(args))


if __name__ == "__main__":
    run_command(main)
