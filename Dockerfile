# jaxqc serve in a container: docs/guide/serve.md, "In a container".
FROM python:3.12.12-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/jaxqc
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY configs ./configs
COPY jaxqc ./jaxqc
RUN /opt/jaxqc/bin/pip install --no-cache-dir -c constraints.txt '.[serve,postgres]'

FROM python:3.12.12-slim-bookworm
# A number, so that a cluster can see that it is not root. The home has the cache of compiled programs.
RUN groupadd --gid 10001 jaxqc \
    && useradd --uid 10001 --gid 10001 --no-log-init --create-home jaxqc \
    && install -d -o 10001 -g 10001 /data
COPY --from=build /opt/jaxqc /opt/jaxqc
ENV PATH=/opt/jaxqc/bin:$PATH PYTHONUNBUFFERED=1 XDG_CACHE_HOME=/data/cache
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8000
# Alive, not ready: a model that compiles for minutes is not to be killed. /readyz says more, to whoever sends it work.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["jaxqc"]
CMD ["serve", "--checkpoint", "/model", "--ledger", "/data/quality.sqlite", "--host", "0.0.0.0", "--token-file", "/run/secrets/token"]
