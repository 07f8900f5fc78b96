# A drop-in for ghcr.io/shopify/toxiproxy: /toxiproxy is the server, /toxiproxy-cli its command line, and the interface is on
# port 8474.
#
#     docker build -t vaurien .
#     docker run --rm -p 8474:8474 -p 26379:26379 vaurien
#
# What else is in it: docker run --rm --entrypoint vaurien vaurien --help
FROM python:3.13-slim AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python -m venv /opt/vaurien && /opt/vaurien/bin/pip install --no-cache-dir .

FROM python:3.13-slim
COPY --from=build /opt/vaurien /opt/vaurien
RUN ln -s /opt/vaurien/bin/toxiproxy-server /toxiproxy && ln -s /opt/vaurien/bin/toxiproxy-cli /toxiproxy-cli
ENV PATH=/opt/vaurien/bin:$PATH LOG_LEVEL=info
USER 65534
EXPOSE 8474
ENTRYPOINT ["/toxiproxy"]
CMD ["-host=0.0.0.0"]
