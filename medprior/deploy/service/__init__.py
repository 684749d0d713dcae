"""Service: one predictor over HTTP, with a page for people and limits for everybody else."""
