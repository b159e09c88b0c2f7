"""Overlays as upstream's users have them, with names that ours have too; none has a definition in YAML.

Their test library starts clusters by itself, uses ssh by itself, and exports all its variables.
"""

from pathlib import Path

CONTAINERD = """#! /bin/sh
ar=$ARCHIVE/containerd-static.tar.gz
echo "ERROR: Not readable [$ar]" >&2
exit 1
"""

ENV = """#! /bin/sh
dir=$(dirname $0); dir=$(readlink -f $dir)
tmp=/tmp/$USER/env_$$
mkdir -p $tmp/etc
cp -R $dir/default/* $tmp
for n in nvm nrouters ntesters; do
	v=$(eval echo "\\$__$n")
	test -n "$v" && export xcluster___$n=$v
done
env | grep '^xcluster_' | sed -e "s,^xcluster_\\([^=]*\\)=\\(.*\\),\\1='\\2'," | sort > $tmp/etc/xcluster_env
test -s $tmp/etc/xcluster_env || rm $tmp/etc/xcluster_env
cd $tmp
if test "$1" = "-"; then
	tar c *
else
	tar cf "$1" *
fi
rm -rf $tmp
"""
ENV_RC = """#! /bin/sh
test -r /etc/xcluster_env || exit 0
cat /etc/xcluster_env >> /etc/profile
"""

NETWORK = """#! /bin/sh
dir=$(dirname $0); dir=$(readlink -f $dir)
tmp=/tmp/$USER/network-topology_$$
die() {
	echo "ERROR: $*" >&2
	rm -rf $tmp
	exit 1
}
test -n "$TOPOLOGY" || TOPOLOGY=default
test -d $dir/$TOPOLOGY || die "Not a directory [$dir/$TOPOLOGY]"
mkdir -p $tmp
for n in default $TOPOLOGY; do
	cp -R $dir/$n/* $tmp
done
rm -f $tmp/Envsettings
mkdir -p $tmp/etc
echo $TOPOLOGY > $tmp/etc/topology
cd $tmp
if test "$1" = "-"; then
	tar c *
else
	tar cf "$1" *
fi
rm -rf $tmp
"""
NETWORK_LIBRARY = """
test -n "$PREFIX" || PREFIX=1000::1
i=$(hostname | cut -d- -f2 | sed -e 's,^0*,,')
ifsetup() {
	ip link show dev $1 > /dev/null 2>&1 || return 0
	ip link set up dev $1
	ip addr add 192.168.$2.$i/24 dev $1
	ip -6 addr add $PREFIX:192.168.$2.$i/120 dev $1 nodad
}
"""
DNS_RC = """#! /bin/sh
i=$(hostname | cut -d- -f2 | sed -e 's,^0*,,')
echo "nameserver 192.168.0.$i" > /etc/resolv.conf
echo "options use-vc" >> /etc/resolv.conf
pidof dnsmasq > /dev/null || dnsmasq --server=192.168.0.250#10053 --no-resolv > /var/log/dns.log 2>&1 &
"""
DIAMOND_ENVSETTINGS = """
export TOPOLOGY=diamond
export __nrouters=4
export __nets201=0,1,3,4 __nets202=0,2,5,6 __nets203=0,3,5 __nets204=0,4,6
for n in 201 202 203 204; do
	test -n "$(eval echo \\$__mem$n)" || export __mem$n=128
done
test "0$__ntesters" -gt 0 || export __ntesters=1
"""
# One that only these files define: nodes and a router on net 3.
LINE_ENVSETTINGS = """
export TOPOLOGY=line
export __nrouters=1
export __nets_vm=0,3 __nets_router=0,3
test -n "$__mem201" || export __mem201=128
"""
LINE_RC = """#! /bin/sh
. /etc/profile
. /usr/lib/network-topology.sh
ifsetup eth1 3
ip route add default via 192.168.0.250
"""

LIBRARY = """
test -n "$XCLUSTER" && {
	test -n "$__nvm" || export __nvm=4
	test -n "$__nrouters" || export __nrouters=2
	test -n "$xcluster_PREFIX" || xcluster_PREFIX=$PREFIX
	export xcluster_PREFIX
	__timeout=10
	__interval=1
	__retries=3
	__log=/tmp/$USER/tests.log
	for n in $(set | grep -o '^__[a-z_0-9]*='); do
		export ${n%=}
	done
	sshopt="-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no"
}
test -n "$PREFIX" || PREFIX=1000::1
tlog() {
	echo "$*"
	echo "$*" >&2
}
tcase() {
	tlog "TEST CASE: $*"
}
tdie() {
	tlog "FAILED: $*"
	exit 1
}
rsh() {
	vm=$1
	shift
	if ip link show xcbr1 > /dev/null 2>&1; then
		ssh -q $sshopt root@192.168.0.$vm $@
	else
		ssh -q $sshopt -p $((12300+vm)) root@127.0.0.1 $@
	fi
}
otc() {
	vm=$1
	shift
	for t in "$@"; do
		rsh $vm $otcprog tcase_$t || tdie "$vm $t"
	done
}
xcluster_start() {
	$XCLUSTER mkcdrom env $BASEOVLS $@ $XOVLS test || tdie mkcdrom
	$XCLUSTER starts || tdie starts
	sleep 2
	for vm in $(seq 1 $__nvm) $(seq 201 $((200+__nrouters))); do
		test "$(rsh $vm hostname)" = "$(printf vm-%03d $vm)" || tdie "check_vm $vm"
	done
}
xcluster_stop() {
	$XCLUSTER stop
}
"""

TEST = """#! /bin/sh
dir=$(dirname $0); dir=$(readlink -f $dir)
otcprog=net_test
eval $($XCLUSTER env)
test -n "$__nvm" || export __nvm=1
export __image=$XCLUSTER_HOME/hd.img
rm -f $XCLUSTER_TMP/cdrom.iso
test -n "$TOPOLOGY" || export TOPOLOGY=line
. $($XCLUSTER ovld network-topology)/$TOPOLOGY/Envsettings
. $($XCLUSTER ovld test)/default/usr/lib/xctest
tlog "=== net test on $(basename $__image)"
xcluster_start dns network-topology .
otc 1 "prefix fd00:" "topology $TOPOLOGY" "ping 192.168.3.201" internet
otc 201 "ping 192.168.3.1" internet
xcluster_stop
tlog "=== passed"
"""
GUEST_TEST = """#! /bin/sh
. /etc/profile
. /usr/lib/xctest
tcase_prefix() {
	tcase "Prefix $1"
	test "$PREFIX" = "$1" || tdie "[$PREFIX]"
}
tcase_topology() {
	tcase "Topology $1"
	test "$(cat /etc/topology)" = "$1" || tdie
}
tcase_ping() {
	tcase "Ping $1"
	ping -c1 -W1 $1 || tdie
	ping -c1 -W1 $PREFIX:$1 || tdie
}
tcase_internet() {
	tcase "An internet"
	for n in $(seq 40); do
		nslookup www.google.se | grep Name: && break
		test $n -lt 40 || tdie nslookup
		sleep 1
	done
	wget -O /dev/null http://www.google.se || tdie wget
}
"$@"
"""

FILES = {
    "containerd/tar": CONTAINERD,
    "containerd/default/etc/containerd.conf": "theirs\n",
    "env/tar": ENV,
    "env/default/etc/init.d/08env.rc": ENV_RC,
    "network-topology/tar": NETWORK,
    "network-topology/default/usr/lib/network-topology.sh": NETWORK_LIBRARY,
    "network-topology/default/etc/init.d/11local-dns.rc": DNS_RC,
    "network-topology/diamond/Envsettings": DIAMOND_ENVSETTINGS,
    "network-topology/diamond/etc/init.d/11xnet.rc": LINE_RC,
    "network-topology/line/Envsettings": LINE_ENVSETTINGS,
    "network-topology/line/etc/init.d/11xnet.rc": LINE_RC,
    "test/tar": '#! /bin/sh\ncd $(dirname $0)/default\ntar cf "$1" *\n',
    "test/default/usr/lib/xctest": LIBRARY,
    "net/net.sh": TEST,
    "net/tar": '#! /bin/sh\ncd $(dirname $0)/default\ntar cf "$1" *\n',
    "net/default/bin/net_test": GUEST_TEST,
}


def write(folder: Path) -> Path:
    """Write the overlays below a directory, which is returned."""
    for path, text in FILES.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    return folder
