"""Draw what infer.py found: one PNG per image with masks (where there are any), boxes, class names, scores.

    python draw_predictions.py --pred_json predictions.json --output_dir pictures
    python draw_predictions.py --pred_json predictions.json --output_dir pictures --annotations coco-2017/validation

With --annotations (a COCO annotation file, or a data set folder) the ground truth is drawn on the left of each picture.
"""

import argparse

from src.common.program import run_command


def main() -> None:
    """Read the arguments, then draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pred_json", required=True, help="JSON file that infer.py wrote")
    parser.add_argument("--output_dir", required=True, help="folder for the pictures")
    parser.add_argument("--score_thr", type=float, default=0.3, help="least score of a box (default: 0.3)")
    parser.add_argument("--annotations", help="COCO annotation file or data set folder, for the ground truth")
    parser.add_argument("--max_images", type=int, default=0, help="draw only the first so many images (default: all)")
    parser.add_argument("--page", type=int, choices=(0, 1), default=0, help="1: also write pages of 12 pictures")
    args = parser.parse_args()
    from src.commands.draw import draw_predictions

    with_pages = args.page == 1
    draw_predictions(args.pred_json, args.output_dir, args.score_thr, args.annotations, args.max_images, with_pages)


if __name__ == "__main__":
    run_command(main)
