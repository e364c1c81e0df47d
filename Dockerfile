# Serves what is mounted at /models:
#
#   docker build -t tandem .
#   docker run --rm -p 8501:8501 -v "$PWD/models:/models:ro" tandem
#
# Compiled models are kept in /var/cache/tandem; a named volume there makes the next
# start quick. With --read-only it needs a --tmpfs /tmp. Settings are TANDEM_...
# variables, or flags after the image's name: tandem serve --workers 2

# The Python that the tests run on; your registry's copy of it: --build-arg BASE=...
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS builder
# auto is the smallest build for the machine's CPU. For NVIDIA's GPUs:
#   docker build --build-arg 'TENSORFLOW=tensorflow[and-cuda]' -t tandem:gpu .
ARG TENSORFLOW=auto
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN apt-get update && apt-get install --yes --no-install-recommends binutils
WORKDIR /src

# What Tandem stands on changes seldom, so it has a layer of its own. TensorFlow's C++
# headers, a C parser nobody imports, the packages' own tests and the symbols of
# TensorFlow's libraries are 40 % of it all. The __pycache__ folders stay: a read-only
# container could never write them, and would parse TensorFlow's sources at every start.
COPY pyproject.toml constraints.txt deploy/image/requirements.py ./
RUN python -m venv --without-pip /opt/tandem \
    && python requirements.py "${TENSORFLOW}" > requirements.txt \
    && pip --python /opt/tandem/bin/python install -c constraints.txt -r requirements.txt \
    && cd /opt/tandem/lib/python*/site-packages \
    && rm -rf tensorflow/include clang \
    && find . -type d -name tests -prune -exec rm -rf {} + \
    && find tensorflow -name '*.so*' -type f -exec strip --strip-unneeded {} +

# Built with the setuptools of constraints.txt, which TensorFlow has brought. tf_keras
# would bring TensorFlow by another name.
COPY LICENSE README.md asgi.py ./
COPY inference inference
COPY service service
RUN pip --python /opt/tandem/bin/python install -c constraints.txt \
    --no-deps --no-build-isolation . tf_keras

FROM ${BASE}
RUN groupadd --gid 10001 tandem \
    && useradd --uid 10001 --gid tandem --no-create-home --home-dir /tmp \
        --shell /usr/sbin/nologin tandem \
    && install --directory --owner tandem --group tandem /var/cache/tandem /models
COPY --from=builder /opt/tandem /opt/tandem
ENV PATH=/opt/tandem/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TANDEM_HOST=0.0.0.0 \
    TANDEM_DRAIN_DELAY=5 \
    TANDEM_MODELS=/models \
    TANDEM_CACHE_DIR=/var/cache/tandem
# A volume can be written to where the rest of the container can't.
VOLUME ["/var/cache/tandem"]
WORKDIR /
EXPOSE 8501
# By number, so that Kubernetes can tell that it isn't root.
USER 10001:10001
# It asks at TANDEM_PORT; a --port flag is unknown to it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-I", "-c", "import http.client, os, sys; server = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('TANDEM_PORT') or 8501), timeout=4); server.request('GET', '/livez'); sys.exit(server.getresponse().status != 200)"]
# The server is process 1 itself, so SIGTERM reaches it.
ENTRYPOINT ["tandem"]
CMD ["serve"]
