"""An observer that keeps what it is told."""

from medprior.observer import NullObserver


class RecordingObserver(NullObserver):
    """Keeps the metrics it receives, by step, and the paths of its files."""

    def __init__(self):
        self.received, self.files = {}, []

    def metrics(self, values, step):
        """Keep the values of a step."""
        self.received[step] = values

    def artifact(self, path):
        """Keep the path of a file."""
        self.files.append(path)
