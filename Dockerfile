# The worker (and Flower) with git. Everything that is installed was checked against the hashes of the lock.
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock ./
RUN pip download --quiet --require-hashes --requirement requirements.lock --dest /wheels
COPY . .
RUN python -m venv /opt/memrepo \
 && /opt/memrepo/bin/pip install --quiet --no-index --find-links /wheels '.[worker,s3,gcs,flower]'

FROM python:3.11-slim
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home memrepo \
 && install -d -o memrepo /data
COPY --from=build /opt/memrepo /opt/memrepo
ENV PATH=/opt/memrepo/bin:$PATH \
    MEMREPO_CACHE_DIR=/data/cache
USER memrepo
VOLUME /data
STOPSIGNAL SIGTERM
CMD ["memrepo", "worker"]
