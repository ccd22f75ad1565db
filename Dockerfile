# Image of the API: `make images`, or `docker build --build-arg VERSION=$(make -s version) -t taskapi .`
# The base is a tag, so that a rebuild gets Debian's security updates; the provenance of a published image records the digest that the
# tag had. To pin it: --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:…
# 3.11 is the Python of the test suite. Any image with python3 and its venv module works.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS packages
COPY requirements.txt /build/
# Wheels only, each with the hash of the lock file: no compiler is needed, here or in the final stage. The service never installs
# packages, so pip is removed.
RUN python3 -m venv /opt/venv \
  && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --only-binary :all: --require-hashes -r /build/requirements.txt \
  && /opt/venv/bin/pip uninstall --quiet --yes pip setuptools
COPY taskapi /srv/taskapi/taskapi
COPY migrations /srv/taskapi/migrations
COPY deploy/healthcheck.py gunicorn.conf.py wsgi.py /srv/taskapi/
# Compiled now, because Python cannot write its cache in a read-only file system. Checked by hash and not by time: the same sources give the same files.
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /srv/taskapi /opt/venv/lib

FROM ${PYTHON_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="taskapi" \
  org.opencontainers.image.description="A task service behind Better Auth" \
  org.opencontainers.image.licenses="MIT" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}"
# Owned by root: the service cannot change its own code.
COPY --from=packages /opt/venv /opt/venv
COPY --from=packages /srv/taskapi /srv/taskapi
COPY LICENSE /srv/taskapi/
ENV PATH=/opt/venv/bin:${PATH} FLASK_APP=wsgi.py PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /srv/taskapi
# A number, because Kubernetes cannot see that a name is not root (runAsNonRoot).
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "healthcheck.py"]
# Becomes gunicorn: process 1, which completes running requests at SIGTERM. `flask db upgrade` and `flask purge` are run instead of it.
CMD ["python", "-m", "taskapi"]
