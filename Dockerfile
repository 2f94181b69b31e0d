# A server on a CPU: docker build -t eureka-audio . && docker run --rm -p 8000:8000 eureka-audio
# Untried: the machine this was written on has no container engine.
FROM python:3.12-slim

ENV PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /app

# torch without CUDA: a tenth of the size. With a GPU, leave this line out and run with --gpus all.
RUN pip install --index-url https://download.pytorch.org/whl/cpu torch==2.13.0

COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
RUN PIP_CONSTRAINT=constraints.txt pip install '.[server,media]'

RUN useradd --create-home --uid 1000 eureka
USER eureka
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
# SIGTERM lets requests under way end; give it longer than --drain-timeout: docker stop --time 40.
STOPSIGNAL SIGTERM
ENTRYPOINT ["eureka-audio", "serve", "--host", "0.0.0.0", "--port", "8000"]
