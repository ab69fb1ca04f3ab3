# docker build -t vocoder . && docker run --rm -p 8000:8000 vocoder
# The wheel, with its engine compiled.
FROM python:3.12-slim AS wheel
RUN apt-get update && apt-get install --yes --no-install-recommends g++ make && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.12-slim
# torch's CPU build; torchaudio computes mels of recordings, which the page at / wants.
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu "torch==2.11.*" "torchaudio==2.11.*"
RUN --mount=from=wheel,source=/wheels,target=/wheels pip install --no-cache-dir "$(ls /wheels/vocoder-*.whl)[serve]"
RUN useradd --create-home vocoder
USER vocoder
EXPOSE 8000
HEALTHCHECK --start-period=30s --interval=10s --timeout=4s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=3)"]
ENTRYPOINT ["vocoder", "serve", "--host", "0.0.0.0"]
