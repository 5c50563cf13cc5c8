"""Every line of the four published READMEs that starts a script, and what it starts."""

from typing import NamedTuple


class Line(NamedTuple):
    """A line of a published README, and what it starts.

    Attributes:
        documents: those that have it.
        text: the line as it stands.
        starts: program and arguments; {here} is the folder of the caller, {root} the project, {home} the place of the
            published absolute paths, {optional} where `optional` goes.
        optional: the arguments that the optional placeholders lead to.
    """

    documents: str
    text: str
    starts: str
    optional: str = ""


PRE_TRAINED = "--pre_trained {here}/x.ckpt --pre_trained_epoch_size 3 "
WITH_CONFIG = (
    "--config_path {here}/my.yaml --train_dataset {here}/train --val_dataset {here}/val --train_outputs {here}/out "
    "--brief first"
)
NAS_CONFIG = "--config_path {root}/configs/nas_fpn/retinanet_r50_nasfpn_640.yaml"
NAS_RUN = "--train_outputs {here} --brief ckpt --save_checkpoint_path {here}/ckpt"
NAS_EVALUATION = (
    "eval.py --device_target Ascend --device_id 0 " + NAS_CONFIG + " --dataset coco"
    " --mindrecord_dir {home}/home/DataSet/MindRecord_COCO --val_dataset ''"
    " --instance_set '{home}/home/DataSet/cocodataset/annotations/instances_{{}}.json'"
    " --checkpoint_path {home}/home/model/nasfpn/ckpt/retinanet_nasfpn_300-916.ckpt"
)


def several(target: str, number: int, arguments: str) -> str:
    return f"train.py --device_target {target} --run_distribute 1 --device_num {number} {arguments}"


def refinedet_run(folder: str) -> str:
    return f"--train_outputs {{here}}/{folder} --brief ckpt --save_checkpoint_path {{here}}/{folder}/ckpt"


def refinedet_training(target: str, device: int, epochs: int, rate: str, optional: str = "") -> str:
    run = refinedet_run(f"LOG{device}")
    return (
        f"train.py --device_target {target} --device_id {device} --epoch_size {epochs} --lr {rate} --dataset coco "
        f"{optional}{run}"
    )


LINES = [
    Line(
        "SpineNet-RetinaNet, InstaBoost",
        "bash scripts/run_distribute_train_gpu.sh [CONFIG_PATH] [DEVICE_NUM] [TRAIN_DATA] [VAL_DATA] [TRAIN_OUT] "
        "[BRIEF] (OPTIONAL)[PRETRAINED_PATH]",
        several("GPU", 2, WITH_CONFIG + "{optional}"),
        " --pre_trained {here}/x.ckpt",
    ),
    Line(
        "SpineNet-RetinaNet, InstaBoost",
        "bash scripts/run_standalone_train_gpu.sh [CONFIG_PATH] [TRAIN_DATA] [VAL_DATA] [TRAIN_OUT] [BRIEF] "
        "(OPTIONAL)[PRETRAINED_PATH]",
        "train.py --device_target GPU " + WITH_CONFIG + "{optional}",
        " --pre_trained {here}/x.ckpt",
    ),
    Line(
        "SpineNet-RetinaNet, InstaBoost",
        "bash scripts/run_eval_gpu.sh [CONFIG_PATH] [VAL_DATA] [CHECKPOINT_PATH] (Optional)[PREDICTION_PATH]",
        "eval.py --device_target GPU --config_path {here}/my.yaml --val_dataset {here}/val --checkpoint_path "
        "{here}/x.ckpt{optional}",
        " --prediction_path {here}/found.json",
    ),
    Line(
        "SpineNet-RetinaNet, InstaBoost",
        "bash scripts/run_infer_gpu.sh [CONFIG_PATH] [CHECKPOINT_PATH] [PRED_INPUT] [PRED_OUTPUT]",
        "infer.py --device_target GPU --config_path {here}/my.yaml --checkpoint_path {here}/x.ckpt --pred_input "
        "{here}/images --pred_output {here}/boxes.json",
    ),
    Line(
        "NAS-FPN",
        "bash scripts/run_distribute_train.sh DEVICE_NUM RANK_TABLE_FILE MINDRECORD_DIR PRE_TRAINED(optional) "
        "PRE_TRAINED_EPOCH_SIZE(optional)",
        several("Ascend", 2, NAS_CONFIG + " --mindrecord_dir {here}/mindrecord {optional}" + NAS_RUN),
        PRE_TRAINED,
    ),
    Line(
        "NAS-FPN",
        "bash scripts/run_distribute_train.sh [DEVICE_NUM] [RANK_TABLE_FILE] [MINDRECORD_DIR] [PRE_TRAINED(optional)] "
        "[PRE_TRAINED_EPOCH_SIZE(optional)]",
        several("Ascend", 2, NAS_CONFIG + " --mindrecord_dir {here}/mindrecord {optional}" + NAS_RUN),
        PRE_TRAINED,
    ),
    Line(
        "NAS-FPN",
        "bash scripts/run_distribute_train.sh 8 ~/rank_table_8pcs.json /home/DataSet/MindRecord_COCO/",
        several("Ascend", 8, NAS_CONFIG + " --mindrecord_dir {home}/home/DataSet/MindRecord_COCO " + NAS_RUN),
    ),
    Line(
        "NAS-FPN",
        "bash scripts/run_single_train.sh DEVICE_ID MINDRECORD_DIR PRE_TRAINED(optional) "
        "PRE_TRAINED_EPOCH_SIZE(optional)",
        "train.py --device_target Ascend --device_id 1 " + NAS_CONFIG + " --mindrecord_dir {here}/mindrecord {optional}"
        + NAS_RUN,
        PRE_TRAINED,
    ),
    Line(
        "NAS-FPN",
        "bash scripts/run_single_train.sh [DEVICE_ID] [MINDRECORD_DIR]",
        "train.py --device_target Ascend --device_id 1 " + NAS_CONFIG + " --mindrecord_dir {here}/mindrecord "
        + NAS_RUN,
    ),
    Line(
        "NAS-FPN",
        "bash scripts/run_single_train.sh 0 /home/DataSet/MindRecord_COCO/",
        "train.py --device_target Ascend --device_id 0 " + NAS_CONFIG
        + " --mindrecord_dir {home}/home/DataSet/MindRecord_COCO " + NAS_RUN,
    ),
    Line(
        "NAS-FPN",
        "bash scripts/run_eval.sh [DEVICE_ID] [DATASET] [MINDRECORD_DIR] [CHECKPOINT_PATH] [ANN_FILE PATH]",
        "eval.py --device_target Ascend --device_id 1 " + NAS_CONFIG + " --dataset coco --mindrecord_dir "
        "{here}/mindrecord --val_dataset '' --instance_set {here}/annotations.json --checkpoint_path {here}/x.ckpt",
    ),
    Line(
        "NAS-FPN",
        "bash scripts/run_eval.sh 0 coco /home/DataSet/MindRecord_COCO/ "
        "/home/model/nasfpn/ckpt/retinanet_nasfpn_300-916.ckpt /home/DataSet/cocodataset/annotations/instances_{}.json",
        NAS_EVALUATION,
    ),
    Line(
        "RefineDet",
        "bash run_standardalone_train.sh [DEVICE_ID] [EPOCH_SIZE] [LR] [DATASET]",
        refinedet_training("Ascend", 1, 5, "0.02"),
    ),
    Line(
        "RefineDet",
        "bash run_standardalone_train.sh 0 500 0.05 coco",
        refinedet_training("Ascend", 0, 500, "0.05"),
    ),
    Line(
        "RefineDet",
        "bash run_distribute_train.sh [DEVICE_NUM] [EPOCH_SIZE] [LR] [DATASET] [RANK_TABLE_FILE]",
        several("Ascend", 2, "--epoch_size 5 --lr 0.02 --dataset coco " + refinedet_run("LOG_2p")),
    ),
    Line(
        "RefineDet",
        "bash run_distribute_train.sh 8 500 0.05 coco ./hccl_rank_tabel_8p.json",
        several("Ascend", 8, "--epoch_size 500 --lr 0.05 --dataset coco " + refinedet_run("LOG_8p")),
    ),
    Line(
        "RefineDet",
        "bash run_distribute_train.sh [DEVICE_NUM] [EPOCH_SIZE] [LR] [DATASET] [RANK_TABLE_FILE] "
        "[PRE_TRAINED](optional) [PRE_TRAINED_EPOCH_SIZE](optional)",
        several("Ascend", 2, "--epoch_size 5 --lr 0.02 --dataset coco {optional}" + refinedet_run("LOG_2p")),
        PRE_TRAINED,
    ),
    Line(
        "RefineDet",
        "bash run_eval.sh [DATASET] [CHECKPOINT_PATH] [DEVICE_ID]",
        "eval.py --device_target Ascend --device_id 1 --dataset coco --checkpoint_path {here}/x.ckpt",
    ),
    Line(
        "RefineDet",
        "bash run_eval.sh coco  ./ckpt/refinedet.ckpt 0",
        "eval.py --device_target Ascend --device_id 0 --dataset coco --checkpoint_path {here}/ckpt/refinedet.ckpt",
    ),
    Line(
        "RefineDet",
        "bash run_standardalone_train_gpu.sh [DEVICE_ID] [EPOCH_SIZE] [LR] [DATASET]",
        refinedet_training("GPU", 1, 5, "0.02"),
    ),
    Line(
        "RefineDet",
        "bash ./run_standardalone_train_gpu.sh 0 5 0.02 coco",
        refinedet_training("GPU", 0, 5, "0.02"),
    ),
    Line(
        "RefineDet",
        "bash run_distribute_train_gpu.sh [DEVICE_NUM] [EPOCH_SIZE] [LR] [DATASET]",
        several("GPU", 2, "--epoch_size 5 --lr 0.02 --dataset coco " + refinedet_run("LOG_2p")),
    ),
    Line(
        "RefineDet",
        "bash ./run_distribute_train_gpu.sh 8 500 0.05 coco",
        several("GPU", 8, "--epoch_size 500 --lr 0.05 --dataset coco " + refinedet_run("LOG_8p")),
    ),
    Line(
        "RefineDet",
        "bash run_distribute_train_gpu.sh [DEVICE_NUM] [EPOCH_SIZE] [LR] [DATASET] [PRE_TRAINED](optional) "
        "[PRE_TRAINED_EPOCH_SIZE](optional)",
        several("GPU", 2, "--epoch_size 5 --lr 0.02 --dataset coco {optional}" + refinedet_run("LOG_2p")),
        PRE_TRAINED,
    ),
    Line(
        "RefineDet",
        "bash run_eval_gpu.sh [DATASET] [CHECKPOINT_PATH] [DEVICE_ID]",
        "eval.py --device_target GPU --device_id 1 --dataset coco --checkpoint_path {here}/x.ckpt",
    ),
    Line(
        "RefineDet",
        "bash run_eval_gpu.sh coco ../ckpt/ckpt_0/refinedet-500_458.ckpt 0",
        "eval.py --device_target GPU --device_id 0 --dataset coco --checkpoint_path "
        "{above}/ckpt/ckpt_0/refinedet-500_458.ckpt",
    ),
]  # fmt: skip

# Those that start something else than one of the programs.
BUILD = Line("InstaBoost", "bash scripts/build_custom.sh", "{root}/src/ops/kernel_library.py")
INFERENCE_310 = [
    Line(
        "NAS-FPN",
        "bash run_infer_310.sh [MINDIR_PATH] [DATA_PATH] [ANNO_PATH] [DEVICE_ID]",
        "{here}/x.mindir {here}/images {here}/annotations.json 1",
    ),
    Line(
        "NAS-FPN",
        "bash run_infer_310.sh ../retinanet_nasfpn.mindir /home/datasets/COCO2017/val2017 "
        "/home/datasets/COCO2017/annotations/instances_val2017.json 0",
        "{above}/retinanet_nasfpn.mindir {home}/home/datasets/COCO2017/val2017 "
        "{home}/home/datasets/COCO2017/annotations/instances_val2017.json 0",
    ),
    Line(
        "RefineDet",
        "bash run_infer_310.sh [MINDIR_PATH] [DATA_PATH] [DEVICE_ID]",
        "{here}/x.mindir {here}/images {here}/images 1",
    ),
    Line(
        "RefineDet without the argument that it calls optional",
        "bash run_infer_310.sh [MINDIR_PATH] [DATA_PATH]",
        "{here}/x.mindir {here}/images {here}/images 0",
    ),
]

# The form of this project on Ascend: any detector by its configuration.
OWN_LINES = [
    Line(
        "this project",
        "bash scripts/run_distribute_train.sh [CONFIG_PATH] [DEVICE_NUM] [RANK_TABLE_FILE] [TRAIN_DATA] [VAL_DATA] "
        "[TRAIN_OUT] [BRIEF] (OPTIONAL)[PRETRAINED_PATH]",
        several("Ascend", 2, WITH_CONFIG + "{optional}"),
        " --pre_trained {here}/x.ckpt",
    ),
    Line(
        "this project",
        "bash scripts/run_standalone_train.sh [CONFIG_PATH] [TRAIN_DATA] [VAL_DATA] [TRAIN_OUT] [BRIEF] "
        "(OPTIONAL)[PRETRAINED_PATH]",
        "train.py --device_target Ascend " + WITH_CONFIG + "{optional}",
        " --pre_trained {here}/x.ckpt",
    ),
    Line(
        "this project",
        "bash scripts/run_eval.sh [CONFIG_PATH] [VAL_DATA] [CHECKPOINT_PATH] (Optional)[PREDICTION_PATH]",
        "eval.py --device_target Ascend --config_path {here}/my.yaml --val_dataset {here}/val --checkpoint_path "
        "{here}/x.ckpt{optional}",
        " --prediction_path {here}/found.json",
    ),
]
