# CPU image of vae-loc with the shipped model; no network is used at run time.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE} AS build
# The CPU build of torch keeps the image small; a GPU image is one build argument.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY vae_loc vae_loc
COPY models models
RUN python3 -m venv /opt/vae-loc \
 && /opt/vae-loc/bin/pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url ${TORCH_INDEX}} "torch>=2.9,<2.14" \
 && /opt/vae-loc/bin/pip install --no-cache-dir . \
 && find /opt/vae-loc -name __pycache__ -prune -exec rm -rf {} +

ARG BASE
FROM ${BASE}
LABEL org.opencontainers.image.title="vae-loc" \
      org.opencontainers.image.description="Anomaly localization in brain MRI with a VAE; research use only" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/vae-loc /opt/vae-loc
ENV PATH=/opt/vae-loc/bin:$PATH HOME=/tmp MPLCONFIGDIR=/tmp PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
WORKDIR /data
ENTRYPOINT ["vae-loc"]
