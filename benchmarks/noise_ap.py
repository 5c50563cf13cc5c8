r"""What tools/noise_checkpoint.py costs in AP: one checkpoint evaluated at several levels of noise.

    python benchmarks/noise_ap.py --config_path configs/refinedet/refinedet_r18_bccd_320.yaml \
        --checkpoint_path best.ckpt --val_dataset bccd/annotations/instances_val.json

Prints the AP of each level and seed, and the mean of each level with what it is of the AP without noise.
"""

import argparse
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def main() -> None:
    """Evaluate all levels, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config_path", required=True)
    parser.add_argument("--checkpoint_path", required=True)
    parser.add_argument("--val_dataset", required=True)
    parser.add_argument("--levels", type=float, nargs="+", default=[0.0, 0.02, 0.05, 0.1])
    parser.add_argument("--seeds", type=int, default=3, help="draws of each level (3)")
    arguments = parser.parse_args()

    from src.config import load_config
    from src.data.builders import build_eval_loader
    from src.engine.evaluation_loop import EvaluationOptions, evaluate_detector
    from src.evaluation.coco_evaluator import CocoEvaluator
    from src.predictor.trained_detector import trained_detector
    from src.weights import load_checkpoint_weights, load_weights
    from src.weights.noise import noised_weights

    values = {name: getattr(arguments, name) for name in ("checkpoint_path", "val_dataset")}
    config = load_config(arguments.config_path, {**values, "device_target": "CPU"})
    net, device = trained_detector(config)
    weights = load_checkpoint_weights(config.checkpoint_path)
    loader = build_eval_loader(config)
    options = EvaluationOptions(config.mask_threshold, config.progress_bar)

    def ap(level: float, seed: int) -> float:
        load_weights(net, noised_weights(weights, level, seed))
        evaluator = CocoEvaluator.for_dataset(loader.dataset, config.iou_types)
        stats = evaluate_detector(net, loader, evaluator, device, options).stats
        return stats[f"{config.iou_types[-1]}_mAP"]

    reference = ap(0.0, 0)
    print(f"{'level':>6}{'AP':>9}{'of all':>9}  each seed")
    for level in arguments.levels:
        found = [ap(level, seed) for seed in range(arguments.seeds)] if level else [reference]
        mean = statistics.mean(found)
        print(f"{level:>6g}{mean:>9.4f}{mean / reference:>9.1%}  {', '.join(f'{x:.4f}' for x in found)}", flush=True)
    loader.close()


if __name__ == "__main__":
    main()
