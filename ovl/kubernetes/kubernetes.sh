#!/bin/sh
# kubernetes.sh test: a cluster that is ready serves what it is asked to.
# `xc k8s_test kubernetes` calls it for the image k8s; another network for pods is tested by --cni there.
# kubernetes.sh ca: other authorities, certificates and keys, for the next start of the cluster.

dir=$(dirname "$(readlink -f "$0")")
[ -n "${XCLUSTER:-}" ] || XCLUSTER=$(readlink -f "$dir/../../xc")
[ -x "$XCLUSTER" ] || {
	echo "ERROR: not a program: $XCLUSTER" >&2
	exit 1
}
export XCLUSTER

ca() {
	eval "$("$XCLUSTER" env | grep '^XCLUSTER_WORKSPACE=')"
	# Also where another variable or xcluster.yaml names the cluster.
	name=$(unset __cdrom; "$XCLUSTER" env | sed -n "s,^__cdrom='.*/\\(.*\\)\\.iso'\$,\\1,p")
	if ! "$XCLUSTER" status --quiet --name="$name" 2> /dev/null; then
		echo "ERROR: cluster $name is running, and its nodes know each other by the certificates that it has." \
			"Stop it first: xc stop --name=$name" >&2
		return 1
	fi
	rm -f "$XCLUSTER_WORKSPACE/k8s/$name/secret.json" &&
		echo "Cluster $name gets other authorities, certificates and keys at its next start."
}

case ${1:-} in
ca)
	ca
	exit ;;
esac
: "${__nvm:=2}" "${__nrouters:=1}"
# shellcheck disable=SC1091
. "$("$XCLUSTER" ovld test)/default/usr/lib/xctest" || exit 1

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

run_tests "$@"
