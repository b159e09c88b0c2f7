#!/bin/sh
# test.sh test [CASE...]: start a cluster, look at it with the functions of xctest, stop it.
#
# --no-stop leaves the cluster; --no-start takes the running one; --xterm opens its consoles.

dir=$(dirname "$(readlink -f "$0")")

die() {
	echo "ERROR: $*" >&2
	exit 1
}
[ -n "${XCLUSTER:-}" ] || XCLUSTER=$(readlink -f "$dir/../../xc")
[ -x "$XCLUSTER" ] || die "not a program: $XCLUSTER"
export XCLUSTER

cmd_test() {
	: "${__nvm:=2}" "${__nrouters:=1}" "${__ntesters:=1}"
	# shellcheck disable=SC1091
	. "$("$XCLUSTER" ovld test)/default/usr/lib/xctest"
	[ $# -gt 0 ] || set -- basic
	for xctest_todo; do
		tlog "=== test: $xctest_todo"
		"test_$xctest_todo" || tdie "$xctest_todo"
	done
	tlog "=== test: passed"
}

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

cmd=${1:-}
[ $# -eq 0 ] || shift
case $cmd in
test) ;;
*) die "usage: $0 test [--no-start] [--no-stop] [--xterm] [CASE...]" ;;
esac
while [ $# -gt 0 ]; do
	case $1 in
	--no-start) __no_start=yes ;;
	--no-stop) __no_stop=yes ;;
	--xterm) __xterm=yes ;;
	-*) die "unknown option $1" ;;
	*) break ;;
	esac
	shift
done
"cmd_$cmd" "$@"
