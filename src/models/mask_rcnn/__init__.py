"""mask_rcnn"""
