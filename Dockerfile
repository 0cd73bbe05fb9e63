# One image for every process of the Procfile; the command chooses which.
ARG PYTHON_IMAGE=python:3.11-slim
FROM ${PYTHON_IMAGE} AS base

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /app

# Before the code, so that a change of the code does not install everything again.
COPY requirements.txt .
# The deleted file serves linkers only, and has 31 MB.
RUN pip install --require-hashes -r requirements.txt \
    && find / -xdev -name libc2pa_c.rlib -delete

# A fixed number, so that volumes keep their owner from one image to the next.
RUN useradd --system --uid 10001 --no-create-home rendio \
    && install --directory --owner=rendio --group=rendio /media
ENV MEDIA_ROOT=/media

# What stands for everything outside, for docker compose with its profile `sandbox`.
FROM base AS sandbox
COPY requirements-local.txt .
RUN pip install --require-hashes -r requirements-local.txt
COPY sandbox sandbox
USER rendio
EXPOSE 9000
CMD ["python", "-m", "sandbox", "--host=0.0.0.0", "--url=http://sandbox:9000"]

FROM base
COPY . .
# The settings of production insist on all that production needs. To gather files, none of it is
# used, and none of it stays in the image.
RUN word=only-to-collect-the-static-files-of-this-image url=https://invalid.example \
    && ENVIRONMENT=production ALLOWED_HOSTS=invalid.example PUBLIC_URL=$url TRUSTED_PROXIES=1 \
        SECRET_KEY=$word SESSION_SIGNING_KEYS=build:$word APPLE_TOKEN_KEYS=$word \
        INSTALLATION_KEYS=build:$word \
        DATABASE_URL=postgresql://invalid.example/none REDIS_URL=redis://invalid.example/0 \
        FAL_KEY=none FAL_USER_ID=none APPLE_TEAM_ID=none APPLE_CLIENT_IDS=none \
        DEVICECHECK_KEY_ID=none DEVICECHECK_PRIVATE_KEY=bm9uZQ== \
        SIGN_IN_KEY_ID=none SIGN_IN_PRIVATE_KEY=bm9uZQ== \
        APPSTORE_APP_ID=1 APPSTORE_ISSUER_ID=none APPSTORE_KEY_ID=none APPSTORE_PRIVATE_KEY=bm9uZQ== \
        python manage.py collectstatic --no-input --verbosity 0 \
    && rm -r sandbox requirements-*.txt

USER rendio
EXPOSE 8000 8001

# Of the web process; the compose file turns it off for the others, which answer no HTTP.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '8000') + '/healthz', timeout=4)"]

CMD ["python", "-m", "gunicorn", "--config=python:rendio.gunicorn_conf", "rendio.wsgi"]
