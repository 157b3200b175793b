#!/usr/bin/env bash
# netns.sh COMMAND…   runs it in a network namespace of its own that ends with it: loopback and one veth pair, both ends
#                     inside, nothing else reachable. Works as root, and as a user where user namespaces are allowed.
#
# For Firefox, which gathers no loopback candidate, only the address of the default route, and refuses to talk to
# 127.0.0.1. TRIBUNE_TEST_ADDRESS tells the server's media socket where to listen instead, TRIBUNE_TEST_SECOND_ADDRESS is
# for what stands between.
set -eu
if [ "${1:-}" != --inside ]; then
  here=$(readlink -f "$0")
  if [ "$(id -u)" -eq 0 ]; then exec unshare --net bash "$here" --inside "$@"; fi
  exec unshare --user --map-root-user --net bash "$here" --inside "$@"
fi
shift
ip link set lo up
ip link add v0 type veth peer name v1
ip address add 10.88.0.1/24 dev v0
ip address add 10.88.0.2/24 dev v1
ip link set v0 up
ip link set v1 up
ip route add default via 10.88.0.2 dev v0
export TRIBUNE_TEST_ADDRESS=10.88.0.1 TRIBUNE_TEST_SECOND_ADDRESS=10.88.0.2
exec "$@"
