"""What the configs of `bundles/` name beside the stages: engines, trainers, checks of keys."""
