"""Data sets packed into MindRecord files: made by create_data.py, read by training and evaluation."""
