# The image of `selvedge`: one executable on top of a base. Two steps:
#   npm run build:binary
#   docker build -t selvedge .
#   docker run -v ./gateway.yaml:/etc/selvedge/gateway.yaml:ro -p 8080:8080 selvedge proxy -f /etc/selvedge/gateway.yaml
# The base needs glibc and nothing else. One without a shell: --build-arg BASE_IMAGE=<it> --build-arg BUILD_IMAGE=debian:bookworm-slim
ARG BASE_IMAGE=debian:bookworm-slim
ARG BUILD_IMAGE=${BASE_IMAGE}

# Everything that the image adds, as files: the base is not asked to run anything.
FROM ${BUILD_IMAGE} AS build
COPY dist/selvedge /image/usr/local/bin/selvedge
RUN chmod 0755 /image/usr/local/bin/selvedge \
 && mkdir -p /image/etc /image/var/lib/selvedge \
 && grep -v '^selvedge:' /etc/passwd > /image/etc/passwd \
 && grep -v '^selvedge:' /etc/group > /image/etc/group \
 && echo 'selvedge:x:10001:10001:selvedge:/var/lib/selvedge:/usr/sbin/nologin' >> /image/etc/passwd \
 && echo 'selvedge:x:10001:' >> /image/etc/group \
 && chown -R 10001:10001 /image/var/lib/selvedge

FROM ${BASE_IMAGE}
COPY --from=build /image/ /
# By number: Kubernetes' runAsNonRoot can check it.
USER 10001:10001
WORKDIR /var/lib/selvedge
# The defaults of the ports; privileged ones are not needed.
EXPOSE 8080 8443
STOPSIGNAL SIGTERM
# Address space for the memories of 100 filter instances; see src/runtime/process.ts.
ENV BUN_JSC_maxNumWasmFastMemories=100
# Asks the admin address and the control API, whichever this container runs.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["/usr/local/bin/selvedge", "health"]
ENTRYPOINT ["selvedge"]
CMD ["help"]
