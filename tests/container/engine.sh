#!/usr/bin/env bash
# The container engine of tests/container: Docker where its daemon answers, else podman with the settings that work on a
# machine without a registry, systemd or nested mounts.
#
#   engine.sh ready           0 when an engine and the base image are there; as root it installs podman from Debian's
#                             packages and builds the base image by debootstrap if need be; 77 with the reason if not
#   engine.sh build|run|… …   podman's and Docker's own verbs
#   engine.sh compose …       Docker's, or podman-compose with this file as its podman
#   engine.sh databases       0 when the images of docker-compose.prod.yml's databases are there: the official ones where
#                             a registry answers, else Debian's programs under their names (databases/Dockerfile)
#   engine.sh clean           removes everything that it ever made
#
# podman keeps its images in a store of our own, so that nobody's containers are touched and `clean` is one line.
set -euo pipefail
base=docker.io/library/debian:trixie-slim
databases="docker.io/library/postgres:17 docker.io/library/redis:8"
store=${WHALEFALL_CONTAINER_STORE:-/var/lib/whalefall-test-containers}
here=$(cd "$(dirname "$0")" && pwd)

skip() { echo "$1" >&2; exit 77; }
has() { command -v "$1" >/dev/null; }
has_network() { compgen -G '/usr/lib*/podman/aardvark-dns' >/dev/null; }
docker_answers() { has docker && timeout 10 docker info >/dev/null 2>&1; }

if docker_answers; then
  case ${1:-} in
    ready) timeout 300 docker pull -q "$base" >/dev/null || docker image inspect "$base" >/dev/null ;;
    build) shift; exec docker build --network host "$@" ;;
    databases) for name in $databases; do timeout 300 docker pull -q "$name" >/dev/null; done ;;
    clean) ;;
    *) exec docker "$@" ;;
  esac
  exit
fi

export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot CONTAINERS_CONF=$here/containers.conf
podman=(podman --root "$store" --runroot /run/whalefall-test-containers --runtime runc --cgroup-manager cgroupfs)

install_engine() {
  has podman && has runc && has debootstrap && has_network && has iptables && return
  [ "$(id -u)" = 0 ] || skip "no Docker daemon answers, and only root can install podman (apt-get install podman runc debootstrap netavark aardvark-dns iptables)"
  has apt-get || skip "no Docker daemon answers, and there is no apt-get to install podman with"
  apt-get update -q >/dev/null &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends podman buildah runc debootstrap netavark aardvark-dns iptables >/dev/null ||
    skip "podman cannot be installed from this machine's packages"
}

base_image() {
  "${podman[@]}" image exists "$base" && return
  timeout 120 "${podman[@]}" pull -q "$base" >/dev/null 2>&1 && return
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  debootstrap --variant=minbase --include=ca-certificates trixie "$root" >/dev/null ||
    skip "no registry answers, and debootstrap cannot build the base image"
  tar -C "$root" -c . | "${podman[@]}" import - "$base" >/dev/null
}

build() {
  ca=/etc/ssl/certs/ca-certificates.crt  # the host's, where it trusts more than Debian does
  "${podman[@]}" build --format docker --layers=false --pull-never --network host --volume "$ca:$ca:ro" "$@"
}

databases() {
  missing=()
  for name in $databases; do
    "${podman[@]}" image exists "$name" || timeout 120 "${podman[@]}" pull -q "$name" >/dev/null 2>&1 ||
      missing+=(--tag "$name")
  done
  [ ${#missing[@]} = 0 ] || build "${missing[@]}" "$here/databases"
}

case ${1:-} in
  ready)
    install_engine
    [ "$(id -u)" = 0 ] || skip "no Docker daemon answers, and podman needs root here"
    base_image ;;
  build) shift; build "$@" ;;
  compose) shift; exec podman-compose --podman-path "$here/engine.sh" "$@" ;;
  databases) databases ;;
  run)
    shift
    scratch=$(mktemp -d)  # the runtime leaves files in the current directory
    trap 'rm -rf "$scratch"' EXIT
    cd "$scratch"
    "${podman[@]}" run "$@" ;;
  clean)
    "${podman[@]}" rm --all --force >/dev/null
    "${podman[@]}" rmi --all --force >/dev/null
    rm -rf "$store" ;;
  *) exec "${podman[@]}" "$@" ;;
esac
