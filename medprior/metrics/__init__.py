"""Metrics and their intervals: arrays in, numbers out, without a file, a cohort or a network."""
