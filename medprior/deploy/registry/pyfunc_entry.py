"""Creates the pyfunc model: the file that MLflow runs, without state or pickle."""

from mlflow.models import set_model

from medprior.deploy.registry.pyfunc import RadiographModel

set_model(RadiographModel())
