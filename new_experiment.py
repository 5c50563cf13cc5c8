r"""Write the configuration of an experiment on data of your own, and say what to do next.

    python new_experiment.py --model refinedet --data my_pictures
    python new_experiment.py --model retinanet_r50_nasfpn_640 --from yolo --data my_yolo --output my.yaml

The format, classes, num_gts, image size, anchors, epochs and, where the data has no evaluation part, a part set aside
for it: all are found in the data and written into a commented YAML file. --model is a detector, which stands for a
small network that learns from scratch, or the name or path of any configuration.
"""

import argparse

from src.common.program import run_command


def main() -> None:
    """Read the arguments, then write."""
    from src.commands.open_data import add_data_arguments, check_data_arguments, data_of_arguments

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_arguments(parser)
    parser.add_argument("--model", required=True, help="detector, or name or path of a configuration")
    parser.add_argument("--output", default="", help="YAML file to write; default: MODEL_DATA.yaml")
    parser.add_argument("--overwrite", type=int, choices=(0, 1), default=0, help="1: replace the file")
    args = parser.parse_args()
    check_data_arguments(args)
    from src.commands.new_experiment import new_experiment, starting_config

    starting_config(args.model)
    data = data_of_arguments(args)
    new_experiment(args.model, data, args.data, args.output, args.overwrite == 1)


if __name__ == "__main__":
    run_command(main)
