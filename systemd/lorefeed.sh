#!/bin/sh
# `lorefeed` for an administrator: the command as the service's own user, on the service's own state, with the service's keys.
set -eu
if [ "$(id -un)" = lorefeed ]; then
    exec env LOREFEED_HOME=/var/lib/lorefeed /opt/lorefeed/current/bin/lorefeed "$@"
fi
if [ "$(id -u)" != 0 ]; then
    echo "Error: the state of the service is its own; nobody else reads it." >&2
    echo "Try: sudo lorefeed $*" >&2
    exit 1
fi
for key in /etc/lorefeed/credentials/*; do
    [ -f "$key" ] || continue
    name="LOREFEED_$(basename "$key" | tr '[:lower:]' '[:upper:]')"
    export "$name=$(cat "$key")"
done
exec runuser -u lorefeed -- env LOREFEED_HOME=/var/lib/lorefeed HOME=/var/lib/lorefeed /opt/lorefeed/current/bin/lorefeed "$@"
