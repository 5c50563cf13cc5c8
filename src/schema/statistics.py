"""The numbers of an evaluation by their names, among which `main_metric` chooses."""

# name, kind, IoU threshold index (None: mean of all), area range, detection limit; in the order of the COCO table
COCO_STATISTICS = (
    ("mAP", "AP", None, "all", 100),
    ("mAP_50", "AP", 0, "all", 100),
    ("mAP_75", "AP", 5, "all", 100),
    ("mAP_s", "AP", None, "small", 100),
    ("mAP_m", "AP", None, "medium", 100),
    ("mAP_l", "AP", None, "large", 100),
    ("AR_1", "AR", None, "all", 1),
    ("AR_10", "AR", None, "all", 10),
    ("AR_100", "AR", None, "all", 100),
    ("AR_s", "AR", None, "small", 100),
    ("AR_m", "AR", None, "medium", 100),
    ("AR_l", "AR", None, "large", 100),
)
CLASS_STATISTICS = ("mAP", "mAP_50")  # those that each class has, too
VOC_STATISTICS = ("VOC07_mAP", "VOC_mAP")  # 11 points, all points

VALIDATION_PREFIX = "val_"  # before the names of the loss terms on the validation data
VALIDATION_LOSS = "val_loss"  # their sum

AUTO_METRIC = "auto"
AUTO_METRICS = ("bbox_mAP", "segm_mAP")  # `auto` is the last of them that a detector has
