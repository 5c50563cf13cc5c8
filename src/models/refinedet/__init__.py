"""refinedet"""
