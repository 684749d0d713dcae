"""MLflow tracking of a stage: the store, the run, and the files and numbers of its result."""
