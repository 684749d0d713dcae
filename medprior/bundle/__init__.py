"""Classes and functions that the configs of `bundles/` refer to: engines, trainers, key checks."""
