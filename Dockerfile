# docker build -t mnist-lib .            docker build --build-arg EXTRAS=[and-cuda] -t mnist-lib .
# docker run --rm -v "$PWD/runs:/runs" mnist-lib train --workdir=/runs/first
FROM python:3.12-slim

ARG EXTRAS=
WORKDIR /src
COPY setup.py pyproject.toml README.md LICENSE ./
COPY mnist_lib mnist_lib
RUN pip install --no-cache-dir ".${EXTRAS}" \
    && rm -rf build ./*.egg-info \
    && useradd --create-home --uid 1000 mnist \
    && install --directory --owner=mnist /runs

USER mnist
WORKDIR /runs
# In this form the command itself gets SIGTERM, saves, and ends with 75.
ENTRYPOINT ["mnist-lib"]
CMD ["--help"]
