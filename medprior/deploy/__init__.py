"""Deploy: MLflow runs and registry, one predictor for the command line, the registry and Python."""
