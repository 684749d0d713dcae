# One model as a service: its weights are in the image, and it needs no network and no registry.
# Put the model folder (config.json, model.safetensors) at model/ of the build context:
#   docker build -f docker/serving.Dockerfile --build-context weights=PATH/TO/MODEL -t cxr:1 .
FROM python:3.11.14-slim-bookworm

# torch without CUDA: a third of the size, and no driver to attack.
ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false \
    MLFLOW_DISABLE_TELEMETRY=true \
    MPLCONFIGDIR=/tmp/matplotlib \
    HOME=/tmp

WORKDIR /opt/medprior
# Dependencies first: a change of medprior leaves this layer as it is. Every package has a hash in its list but torch
# without CUDA, of which PyPI has no file: it has an exact version.
COPY docker/locks/build.lock docker/locks/serving.lock ./locks/
RUN pip install --require-hashes -r locks/build.lock \
    && pip install --no-deps torch==2.14.1+cpu torchvision==0.29.1+cpu \
    && pip install --require-hashes --no-deps --no-build-isolation -r locks/serving.lock \
    && useradd --no-create-home --uid 10001 medprior
COPY pyproject.toml setup.py README.md LICENSE ./
COPY medprior ./medprior
COPY data_manifests ./data_manifests
COPY bundles ./bundles
RUN pip install --no-deps --no-build-isolation .

COPY --from=weights config.json model.safetensors /model/
# A damaged or foreign model fails the build, not the service.
RUN python -c "from medprior.deploy import load_model; load_model('/model')"

USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=90s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=4)"]
ENTRYPOINT ["medprior", "serve"]
CMD ["--model", "/model", "--host", "0.0.0.0", "--port", "8080", "--token-file", "/run/secrets/service_token"]
