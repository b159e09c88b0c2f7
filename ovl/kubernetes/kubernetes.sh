#!/bin/sh
# kubernetes.sh test [--no-start] [--no-stop] [CASE...]: a cluster that is ready serves what it is asked to.
# `xc k8s_test kubernetes` calls it for the image k8s; another network for pods is tested by --cni there.

dir=$(dirname "$(readlink -f "$0")")

die() {
	echo "ERROR: $*" >&2
	exit 1
}
[ -n "${XCLUSTER:-}" ] || XCLUSTER=$(readlink -f "$dir/../../xc")
[ -x "$XCLUSTER" ] || die "not a program: $XCLUSTER"
export XCLUSTER

cmd_test() {
	: "${__nvm:=2}" "${__nrouters:=1}"
	# shellcheck disable=SC1091
	. "$("$XCLUSTER" ovld test)/default/usr/lib/xctest"
	[ $# -gt 0 ] || set -- basic
	for todo; do
		tlog "=== kubernetes: $todo"
		"test_$todo" || tdie "$todo"
	done
	tlog "=== kubernetes: passed"
}

test_basic() {
	xcluster_start network-topology
	otc 1 "nodes $__nvm" namespaces "deployment alpine" "deployment mconnect"
	otcw name "connect mconnect.default.svc.xcluster:5001"
	case ${SETUP:-} in
	ipv4) otcr "connect 10.0.0.2:5001" ;;
	ipv6) otcr "connect [1000::2]:5001" ;;
	*) otcr "connect 10.0.0.2:5001" "connect [1000::2]:5001" ;;
	esac
	xcluster_stop
}

cmd=${1:-}
[ $# -eq 0 ] || shift
case $cmd in
test) ;;
*) die "usage: $0 test [--no-start] [--no-stop] [CASE...]" ;;
esac
while [ $# -gt 0 ]; do
	case $1 in
	--list)
		sed -n 's/^test_\([a-z0-9_]*\)() .*/\1/p' "$0"
		exit ;;
	--no-start) __no_start=yes ;;
	--no-stop) __no_stop=yes ;;
	-*) die "unknown option $1" ;;
	*) break ;;
	esac
	shift
done
"cmd_$cmd" "$@"
