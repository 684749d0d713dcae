"""Models in the MLflow registry: packaging, registration, download and checked loading."""
