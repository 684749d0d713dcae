"""Steps of training and prediction on a CUDA device that is not there: torch's FakeTensorMode."""
