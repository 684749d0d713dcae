"""MLflow around a stage: the store, the run of a stage, and what a result leaves in it."""
