# The page with the bundled model inside: no network, no GPU and no root needed.
#
#   docker build -t resprune .
#   docker run --rm --read-only --tmpfs /tmp --tmpfs /home/page:uid=1000,gid=1000 -p 7860:7860 resprune
#
# PyPI's PyTorch for x86-64 brings CUDA, some gigabytes. For an image without it name an index of CPU builds:
#   docker build --build-arg TORCH_ARGS="--index-url ..." -t resprune .

FROM python:3.12-slim AS installed
ARG TORCH_ARGS=""
WORKDIR /app
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.txt ./
RUN pip install $TORCH_ARGS "torch>=2.8" "torchvision>=0.23" && pip install -r requirements.txt

FROM python:3.12-slim
RUN useradd --uid 1000 --create-home page
COPY --from=installed /venv /venv
WORKDIR /app
COPY LICENSE README.md app.py ./
COPY assets assets
COPY resprune resprune
COPY app app
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 PORT=7860 HF_HUB_OFFLINE=1 GRADIO_TEMP_DIR=/tmp/gradio
USER page
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/', timeout=4)"]
CMD ["python", "app.py"]
