# The image: Python, Nginx, whalefall and nothing that builds. `whalefall serve` is PID 1; it needs no tini.
#
#   docker build -t whalefall .
#   docker run --rm -p 80:8080 -v whalefall:/var/lib/whalefall whalefall
#
# Runs as any user, also one that /etc/passwd does not know, as long as its group is 0 (Docker's default for an unknown
# user, OpenShift's rule for all); with a read-only root, given a tmpfs each for /tmp and /run/whalefall.

FROM debian:trixie-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv
# pip lives in a tool environment of its own and installs into the other, so the image carries no pip.
RUN python3 -m venv /opt/tool && python3 -m venv --without-pip /opt/whalefall
WORKDIR /src
COPY . .
ARG EXTRAS=postgres,redis
RUN /opt/tool/bin/pip wheel --no-cache-dir --no-deps --wheel-dir /opt/wheel . \
 && /opt/tool/bin/pip --python /opt/whalefall/bin/python install --no-cache-dir "$(ls /opt/wheel/*.whl)[$EXTRAS]"

FROM debian:trixie-slim
# /run/whalefall is 1777 like /tmp: whoever runs the container makes a private directory in there.
# /var/lib/whalefall is open to group 0, so that a volume filled from here serves any user.
RUN apt-get update \
 && apt-get install -y --no-install-recommends nginx-light python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* \
 && useradd --uid 10001 --gid 0 --no-create-home --home-dir /nonexistent whalefall \
 && install -d -m 1777 /run/whalefall \
 && install -d -m 770 -o whalefall -g 0 /var/lib/whalefall \
 && install -d /app
COPY --from=build /opt/whalefall /opt/whalefall
# MALLOC_ARENA_MAX: glibc gives each thread an arena of its own and seldom gives it back; two of them save 15 MB
# under load.
# RUN_DIR stays open: whalefall makes a private directory in XDG_RUNTIME_DIR, or in /tmp where that cannot be written.
ENV PATH=/opt/whalefall/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    XDG_RUNTIME_DIR=/run/whalefall \
    DATA_DIR=/var/lib/whalefall \
    PORT=8080
# Your Procfile and application, if you have any; without, the built-in ones run.
WORKDIR /app
USER 10001:0
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 CMD ["whalefall", "health"]
ENTRYPOINT ["whalefall"]
CMD ["serve"]
