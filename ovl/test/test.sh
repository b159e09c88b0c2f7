#!/bin/sh
# test.sh test: start a cluster, look at it with the functions of xctest, stop it.

dir=$(dirname "$(readlink -f "$0")")
[ -n "${XCLUSTER:-}" ] || XCLUSTER=$(readlink -f "$dir/../../xc")
[ -x "$XCLUSTER" ] || {
	echo "ERROR: not a program: $XCLUSTER" >&2
	exit 1
}
export XCLUSTER
: "${__nvm:=2}" "${__nrouters:=1}" "${__ntesters:=1}"
# shellcheck disable=SC1091
. "$("$XCLUSTER" ovld test)/default/usr/lib/xctest" || exit 1

test_basic() {
	xcluster_start network-topology
	otcwp release
	otc 1 "name 1" ssh_server
	otcr "name 201"
	otct "name 221"
	otcw "address ${xcluster_PREFIX:-fd00:}"
	tcase "Programs in /sbin are found by rsh"
	rsh 1 "echo \$PATH" | ogrep -q /sbin || tdie
	tcase "Files come back with rcp"
	tmp=$(mktemp -d)
	rcp 1 /etc/hostname "$tmp/hostname" && [ "$(cat "$tmp/hostname")" = vm-001 ] || tdie
	rm -r "$tmp"
	otc 1 "ping 192.168.1.201"
	xcluster_stop
}

run_tests "$@"
