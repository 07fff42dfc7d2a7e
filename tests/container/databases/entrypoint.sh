#!/usr/bin/env bash
# As the official images do it: Redis serves its network without a password; PostgreSQL is made once, with a server that
# listens on its Unix socket only, and asks for the password from then on.
set -euo pipefail
as() { setpriv --reuid "$1" --regid "$1" --init-groups "${@:2}"; }

if [ "$1" = redis-server ]; then
  exec setpriv --reuid redis --regid redis --init-groups "$@" --protected-mode no
fi
chown postgres:postgres "$PGDATA"
install -d -o postgres -g postgres /run/postgresql
cd /
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  install -o postgres -m 600 /dev/stdin /tmp/password <<<"$POSTGRES_PASSWORD"
  as postgres initdb -U "$POSTGRES_USER" --pwfile /tmp/password --locale C.UTF-8 --auth-local trust --auth-host scram-sha-256
  rm /tmp/password
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  as postgres pg_ctl -w -o "-c listen_addresses=''" start
  as postgres createdb -U "$POSTGRES_USER" "$POSTGRES_DB"
  as postgres pg_ctl -w -m fast stop
fi
exec setpriv --reuid postgres --regid postgres --init-groups "$@" -c "listen_addresses=*"
