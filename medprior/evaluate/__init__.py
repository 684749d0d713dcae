"""Evaluation: metrics with intervals, comparisons, figures and an offline report."""
