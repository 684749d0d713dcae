"""The file MLflow runs to make the served model; it holds no state and reads no pickle."""

from mlflow.models import set_model

from medprior.deploy.registry.pyfunc import RadiographModel

set_model(RadiographModel())
