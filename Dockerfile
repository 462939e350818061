# CPU images of vae-loc with the shipped models inside. They contact nothing at run time; see docs/how-to/docker.md.
#   docker build -t vae-loc .                                everything, training too
#   docker build -t vae-loc:score --target score .           scoring by onnxruntime alone, without PyTorch
# python:3.11-slim-bookworm of 19 September 2026 (Python 3.11.16; x86-64, Arm and others), by Docker's repo-info;
# docs/release.md has the command that names a newer one
ARG BASE=docker.io/library/python@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM ${BASE} AS build-score
# DICOM comes with it; empty leaves it out
ARG EXTRAS=[dicom]
WORKDIR /src
COPY pyproject.toml README.md LICENSE docker/requirements.py docker/requirements.lock ./
# the image needs no pip: the base's own installs into the environment; of the lock it checks each file's SHA-256
RUN python3 -m venv --without-pip /opt/vae-loc \
 && if [ "${EXTRAS}" = "[dicom]" ] && python3 -c "import sys; sys.exit(sys.version_info[:2] != (3, 11))"; \
    then cp requirements.lock requirements.txt; \
    else python3 requirements.py "${EXTRAS}" > requirements.txt; fi \
 && python3 -m pip --python /opt/vae-loc/bin/python install --no-cache-dir -r requirements.txt
COPY vae_loc vae_loc
COPY models models
RUN python3 -m pip --python /opt/vae-loc/bin/python install --no-cache-dir --no-deps . \
 && /opt/vae-loc/bin/vae-loc info t1

FROM build-score AS build
# Only read while building. The CPU build of torch is a tenth of the default one; empty: the registry's default.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=[dicom]
# headers are for compiling extensions of torch, which nothing here does
RUN python3 -m pip --python /opt/vae-loc/bin/python install --no-cache-dir \
      ${TORCH_INDEX:+--extra-index-url ${TORCH_INDEX}} ".${EXTRAS}" \
 && rm -rf /opt/vae-loc/lib/python3*/site-packages/torch/include

FROM ${BASE} AS runtime
LABEL org.opencontainers.image.title="vae-loc" \
      org.opencontainers.image.description="Anomaly localization in brain MRI with a VAE; research use only, not a medical device" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.documentation="docs/how-to/docker.md"
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

FROM runtime AS score
COPY --from=build-score /opt/vae-loc /opt/vae-loc

FROM runtime AS full
COPY --from=build /opt/vae-loc /opt/vae-loc
