"""retinanet"""
