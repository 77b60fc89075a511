# syntax=docker/dockerfile:1
# The server: its wheels with the console inside, on a Python without anything else. Runs as nobody
# in particular, writes to /data alone, and so on a read-only root too.
#   docker build -t baas .
#   docker run -p 127.0.0.1:8080:8080 -v baas:/data --read-only --tmpfs /tmp baas

FROM node:24-bookworm-slim AS console
WORKDIR /src/console
COPY console/package.json console/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY console/ ./
RUN npm run build

FROM python:3.11-slim-bookworm AS wheels
RUN pip install --no-cache-dir --disable-pip-version-check uv==0.13.9
ENV UV_PYTHON_DOWNLOADS=never
WORKDIR /src
# What others wrote, from the lock file and by its hashes: a layer that changes with the lock only.
COPY pyproject.toml uv.lock ./
COPY rules/pyproject.toml rules/pyproject.toml
COPY sdk/pyproject.toml sdk/pyproject.toml
RUN uv export --quiet --locked --no-dev --no-emit-workspace --output-file /requirements.txt
RUN uv venv --quiet /opt/baas
RUN uv pip install --python /opt/baas/bin/python --require-hashes --compile-bytecode -r /requirements.txt
COPY README.md LICENSE CHANGELOG.md ./
COPY baas/ baas/
COPY rules/ rules/
COPY sdk/ sdk/
COPY --from=console /src/baas/http/console/ baas/http/console/
RUN uv build --quiet --wheel --all-packages --out-dir /wheels
RUN uv pip install --python /opt/baas/bin/python --no-deps --compile-bytecode /wheels/baas-*.whl /wheels/baas_rules-*.whl

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --home-dir /data baas && install -d -o baas -g baas -m 0700 /data
COPY --from=wheels /opt/baas /opt/baas
ENV PATH=/opt/baas/bin:$PATH PYTHONUNBUFFERED=1 BAAS_DATA=/data BAAS_HOST=0.0.0.0 BAAS_PORT=8080
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=3 CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=3)"]
ENTRYPOINT ["baas"]
CMD ["serve"]
