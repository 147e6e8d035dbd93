# jobd's image, to which an application is added: see docs/deployment.md. Build it in a clone:
#   docker build -t jobd .
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
# The dashboard (web) belongs to it; another choice: --build-arg EXTRAS=web,speed
ARG EXTRAS=web
# Without an index: put all wheels into the directory wheels, and set this to 1.
ARG PIP_NO_INDEX
ARG PIP_DISABLE_PIP_VERSION_CHECK=1
COPY . /src
# pip of a second environment: the one of the image holds only what runs.
RUN python3 -m venv /pip && python3 -m venv --without-pip /opt/jobd \
    && /pip/bin/python -m pip --python /opt/jobd/bin/python install --no-cache-dir \
        --find-links /src/wheels "/src[${EXTRAS}]"

FROM ${BASE}
COPY --from=build /opt/jobd /opt/jobd
# A user without a name in other images: orchestrators see from the number that it is not root.
# Its pidfile directory is where jobd and jobctl look for it by default.
RUN echo 'jobd:x:10001:10001::/app:/usr/sbin/nologin' >>/etc/passwd \
    && echo 'jobd:x:10001:' >>/etc/group \
    && install -d -o 10001 -g 10001 -m 0750 /run/jobd \
    && install -d /app
ENV PATH=/opt/jobd/bin:$PATH PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
# Asks the master over its socket, and not Redis: an outage of Redis is no reason for a restart.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["jobctl", "status"]
# The master is process 1: it handles the signals and reaps orphans, so no init is needed.
ENTRYPOINT ["jobd"]
CMD ["run"]
