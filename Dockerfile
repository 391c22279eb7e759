# Thumbtune in a container; docs/docker.md shows how to build and run it.
#
#   BASE_IMAGE    an image with Python 3.11 or newer and pip
#   TORCH_INDEX   the address of an index with builds of torch, such as those for a CPU; empty: PyPI, which has CUDA's
#   EXTRAS        extras of pyproject.toml, such as "video" or "video,8bit"
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src ./src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${BASE_IMAGE}
ARG TORCH_INDEX=""
ARG EXTRAS=""
ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY constraints.txt /install/
# torch first, in a layer of its own: gigabytes that a change of Thumbtune does not move. With TORCH_INDEX torch alone
# comes from there; then it fits the constraint (2.13.0+cpu is a 2.13.0), and the second line adds what it needs: from
# PyPI, which has the versions of constraints.txt, and from TORCH_INDEX what only that has
RUN torch="$(grep '^torch==' /install/constraints.txt)" \
    && if [ -n "$TORCH_INDEX" ]; then pip install --no-deps --index-url "$TORCH_INDEX" "$torch"; fi \
    && pip install -c /install/constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} "$torch"
COPY --from=wheel /wheels /install/wheels
RUN pip install -c /install/constraints.txt "$(ls /install/wheels/*.whl)${EXTRAS:+[$EXTRAS]}"

# open to any user, so that `docker run --user` may name the owner of a mounted folder
RUN useradd --uid 1000 --create-home thumbtune \
    && mkdir -p /data /home/thumbtune/.cache \
    && chmod 1777 /data /home/thumbtune /home/thumbtune/.cache
# the names of home and user are told, since another user of `docker run --user` has no line in /etc/passwd
ENV HOME=/home/thumbtune USER=thumbtune
USER thumbtune
# likes, runs and images; models of the hub and published scorers
VOLUME ["/data", "/home/thumbtune/.cache"]
WORKDIR /data
ENTRYPOINT ["thumbtune"]
CMD ["--help"]
