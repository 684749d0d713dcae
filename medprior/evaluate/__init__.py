"""Evidence: metrics with intervals, comparisons, figures and a report that opens offline."""
