# docker build -t canopy .
# docker run --rm -p 127.0.0.1:8181:8181 canopy                                   software adapter (Mesa)
# docker run --rm -p 127.0.0.1:8181:8181 --gpus all canopy                        NVIDIA (container toolkit)
# docker run --rm -p 127.0.0.1:8181:8181 --device /dev/dri --group-add "$(stat -c %g /dev/dri/renderD128)" canopy    AMD, Intel
# A model of yours: -v "$PWD/models:/models:ro" canopy serve /models/model.gguf
# Stop it with `docker stop -t 40`: requests under way have 30 s to finish.

FROM node:20-trixie-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY . .
RUN npm run build && npm prune --omit=dev

FROM node:20-trixie-slim
# Loader and Mesa's drivers; the GL and X libraries are what NVIDIA's Vulkan driver, mounted by its toolkit, links to.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libvulkan1 mesa-vulkan-drivers libegl1 libgl1 libxext6 \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o node -g node /home/node/.cache

WORKDIR /app
COPY --from=build /app/package.json /app/LICENSE ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/models models
COPY --from=build /app/dist dist

# graphics: without it the toolkit mounts no Vulkan driver.
ENV NODE_ENV=production \
    HOME=/home/node \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=graphics,compute,utility \
    CANOPY_HOST=0.0.0.0 \
    CANOPY_PORT=8181

USER node
VOLUME /home/node/.cache
EXPOSE 8181
# Live as soon as it listens; /ready is 503 while the model loads. Choose the port with -p or CANOPY_PORT, which this check reads, not --port.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.CANOPY_PORT}/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/dist/server/cli.js"]
CMD ["serve"]
