#!/usr/bin/env bash
# A real systemd without a machine of its own: PID 1 of a pid namespace, in a Debian root, with a cgroup v2 of its own.
#
#   systemd.sh ready          makes the root by debootstrap, once; 77 with the reason where it cannot be had
#   systemd.sh boot SOURCES   runs it in the foreground until its end; what it changes stays in memory and is gone with it.
#                             SOURCES are to be seen at /src inside
#   systemd.sh clean          removes the root
set -euo pipefail
store=${WHALEFALL_SYSTEMD_STORE:-/var/lib/whalefall-test-systemd}
inside=systemd,systemd-sysv,dbus,python3,python3-venv,nginx-light,ca-certificates

skip() { echo "$1" >&2; exit 77; }
cgroup2() { awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts; }

ready() {
  [ "$(id -u)" = 0 ] || skip "a systemd of our own needs root"
  [ -n "$(cgroup2)" ] && [ -w "$(cgroup2)/cgroup.procs" ] || skip "a systemd of our own needs a writable cgroup v2"
  command -v debootstrap >/dev/null || {
    command -v apt-get >/dev/null || skip "there is no debootstrap, and no apt-get to install it with"
    apt-get update -q >/dev/null && apt-get install -y -q --no-install-recommends debootstrap >/dev/null ||
      skip "debootstrap cannot be installed from this machine's packages"
  }
  [ -e "$store/.whole" ] && return
  rm -rf "$store"
  debootstrap --variant=minbase --include=$inside bookworm "$store" >/dev/null || skip "debootstrap cannot build a Debian root"
  cp /etc/ssl/certs/ca-certificates.crt "$store/etc/ssl/certs/"  # the host's, where it trusts more than Debian does
  cp /etc/pip.conf "$store/etc/" 2>/dev/null || true
  : >"$store/etc/machine-id"
  touch "$store/.whole"
}

boot() {
  group=$(cgroup2)/whalefall-test-systemd-$$
  mkdir "$group"
  echo $$ >"$group/cgroup.procs"
  exec unshare --pid --fork --kill-child --mount --uts --ipc --cgroup bash -euc '
    store=$0 sources=$1 root=/mnt
    mount --make-rprivate /
    mount -t tmpfs scratch /media
    mkdir /media/upper /media/work
    mount -t overlay -o lowerdir="$store",upperdir=/media/upper,workdir=/media/work overlay $root
    mount -t proc proc $root/proc
    for directory in run tmp dev sys; do mount -t tmpfs -o mode=755 none $root/$directory; done
    chmod 1777 $root/tmp
    for device in null zero full random urandom tty; do touch $root/dev/$device; mount --bind /dev/$device $root/dev/$device; done
    ln -s /proc/self/fd $root/dev/fd
    mkdir -p $root/dev/pts $root/dev/shm $root/sys/fs/cgroup $root/src $root/.old
    mount -t devpts devpts $root/dev/pts
    mount -t tmpfs shm $root/dev/shm
    mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
    cp --remove-destination /etc/resolv.conf $root/etc/resolv.conf
    mount --bind "$sources" $root/src
    hostname whalefall-test
    cd $root
    pivot_root . .old
    umount -l /.old
    exec env -i container=other PATH=/usr/bin:/usr/sbin:/bin:/sbin /lib/systemd/systemd --log-target=console --unit=multi-user.target
  ' "$store" "$1"
}

case ${1:-} in
  ready) ready ;;
  boot) boot "$2" ;;
  clean) rm -rf "$store" ;;
  *) echo "systemd.sh ready | boot SOURCES | clean" >&2; exit 2 ;;
esac
