# For the CPU:         docker build -t issbench .
# For NVIDIA GPUs:     docker build -t issbench:cuda --build-arg TORCH=cuda .
# Then:                docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/workspace" issbench doctor
# On a GPU, beside it: --gpus all --ipc=host (readers of images hand them over in shared memory)
FROM python:3.12-slim

# `cpu` leaves out what only GPUs need, several GB.
ARG TORCH=cpu
COPY . /opt/issbench
RUN if [ "$TORCH" = cpu ]; then \
        pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu; \
    fi \
    && pip install --no-cache-dir '/opt/issbench[pretrained,tensorboard]'

# What can be made again is kept beside the runs, so that the next container finds it, whoever the user is.
ENV ISSBENCH_CACHE=/workspace/.cache/issbench HF_HOME=/workspace/.cache/huggingface MPLCONFIGDIR=/workspace/.cache/matplotlib
WORKDIR /workspace
ENTRYPOINT ["bench"]
CMD ["--help"]
