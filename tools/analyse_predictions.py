r"""What a detector gets wrong: confusion matrix, AP of each class, and errors by kind, as pictures.

    python tools/analyse_predictions.py --config_path outputs/first/config.yaml \
        --prediction_path outputs/first/predictions.json --output_dir outputs/first/analysis

The predictions are those that eval.py or infer.py wrote for the images of `val_dataset`. Writes confusion_matrix.png,
class_ap.png, errors.png (kinds of errors as in TIDE, arXiv:2008.08115) and their numbers, analysis.json.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.common.errors import UserError
from src.common.program import run_command
from src.config import config_and_options
from src.schema import require

EXTRA = {
    "output_dir": ("", "folder for the pictures"),
    "score_thr": (0.3, "least score of a detection in the confusion matrix"),
}


def main() -> None:
    """Check the configuration, then analyse."""
    config, extra = config_and_options(__doc__, EXTRA)
    require(config, "prediction_path")
    if not extra.output_dir:
        raise UserError("--output_dir is missing; give a folder for the pictures")
    if not isinstance(extra.score_thr, int | float) or not 0 <= extra.score_thr <= 1:
        raise UserError(f"--score_thr {extra.score_thr}: must be a number from 0 to 1")
    from src.commands.analyse import analyse
    from src.commands.evaluate import evaluator_with_results

    _, evaluator = evaluator_with_results(config, Path(config.prediction_path))
    analyse(evaluator, extra.output_dir, extra.score_thr)


if __name__ == "__main__":
    run_command(main)
