# The README's two commands from an empty machine, on the CPU:
#   docker build -t cwrnn .        (--build-arg RUNS=2: 2 runs of each network instead of the paper's 100)
#   docker run --rm -it cwrnn .venv/bin/cwrnn --help
FROM python:3.12-slim

# git: manifests name the commit. For the tests: gcc compiles the soak's shim, g++ is torch.compile's,
# ps (procps) shows what workers are left. Training needs none of them: Numba brings its compiler.
RUN apt-get update && \
    apt-get install --yes --no-install-recommends g++ gcc git libc6-dev procps && \
    rm -rf /var/lib/apt/lists/*

WORKDIR /cwrnn
COPY . .

ARG RUNS=100
RUN bash scripts/reproduce.sh
RUN bash scripts/test.sh

CMD ["bash"]
