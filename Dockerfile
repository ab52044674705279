# One process, one port: signalling and the web app; `baton` for a keeper beside it.
#
#   docker build -t baton . && docker run --rm -p 8080:8080 baton
#
# The base images can be replaced where only local ones exist: --build-arg BUILD_IMAGE=… --build-arg RUN_IMAGE=…
ARG BUILD_IMAGE=docker.io/library/rust:1.95-bookworm
ARG NODE_IMAGE=docker.io/library/node:22-bookworm-slim
ARG RUN_IMAGE=docker.io/library/debian:bookworm-slim

FROM ${NODE_IMAGE} AS node

FROM ${BUILD_IMAGE} AS build
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules /usr/local/lib/node_modules
RUN ln -sf ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
 && ln -sf ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx
WORKDIR /baton
COPY . .
RUN cargo xtask build --release

FROM ${RUN_IMAGE}
COPY --from=build /baton/target/dist/baton-server /baton/target/dist/baton /usr/local/bin/
# Where a keeper keeps what it has (`baton keep`, deploy/compose.yaml): a new volume takes over whom it belongs to.
RUN install -d -o 65534 -g 65534 /var/lib/baton
USER 65534:65534
ENV BATON_LISTEN=0.0.0.0:8080 BATON_KEEP_DIR=/var/lib/baton
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=3s CMD ["baton-server", "--check-health"]
ENTRYPOINT ["baton-server"]
