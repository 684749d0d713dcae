"""Classifiers on frozen features: linear, pooled and k-nearest-neighbour probes."""
