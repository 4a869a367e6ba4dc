# The worker, and Flower, with git. All that is installed was checked against the hashes of the lock.
FROM python:3.13-slim-trixie AS build
WORKDIR /src
COPY requirements.lock ./
RUN pip download --quiet --require-hashes --requirement requirements.lock --dest /wheels
COPY . .
RUN python -m venv /opt/memrepo \
 && /opt/memrepo/bin/pip install --quiet --no-index --find-links /wheels '.[worker,s3,gcs,flower,otel]'

FROM python:3.13-slim-trixie
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home memrepo \
 && install --directory --owner memrepo --group memrepo /data
COPY --from=build /opt/memrepo /opt/memrepo
ENV PATH=/opt/memrepo/bin:$PATH \
    MEMREPO_CACHE_DIR=/data/cache
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
VOLUME /data
# The first process: it hands signals on from the beginning, and ends what a killed git leaves behind.
ENTRYPOINT ["tini", "--"]
# A worker's; for Flower there is one in docker-compose.yml.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["memrepo", "doctor", "--quick"]
CMD ["memrepo", "worker"]
