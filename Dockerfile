# CPU image of vae-loc with the shipped model inside. It contacts nothing at run time; see docs/docker.md.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
# Only read while building. The CPU build of torch is a tenth of the default one; empty: the registry's default.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python3 -m venv /opt/vae-loc \
 && /opt/vae-loc/bin/pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url ${TORCH_INDEX}} "torch>=2.9,<2.14"
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY vae_loc vae_loc
COPY models models
# bytecode is kept: the root may be read-only later, and without it every start compiles torch anew
RUN /opt/vae-loc/bin/pip install --no-cache-dir . \
 && /opt/vae-loc/bin/vae-loc info t1 \
 && /opt/vae-loc/bin/python -m compileall -q /opt/vae-loc/lib/python3*/site-packages/vae_loc \
 && /opt/vae-loc/bin/pip uninstall -qy pip

FROM ${BASE}
LABEL org.opencontainers.image.title="vae-loc" \
      org.opencontainers.image.description="Anomaly localization in brain MRI with a VAE; research use only, not a medical device" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/vae-loc /opt/vae-loc
# any uid may run it and owns nothing: whatever wants a home or a cache finds /tmp
ENV PATH=/opt/vae-loc/bin:$PATH \
    HOME=/tmp \
    USER=vae-loc \
    MPLCONFIGDIR=/tmp/matplotlib \
    XDG_CACHE_HOME=/tmp/cache \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /data
USER 1000:1000
ENTRYPOINT ["vae-loc"]
CMD ["--help"]
