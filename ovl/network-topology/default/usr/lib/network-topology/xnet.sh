# shellcheck shell=sh
# xnet, the default topology: nodes and routers on net 1, routers and testers
# on net 2, a default route over all routers, and NAT to the outside.

vm() {
	ifsetup eth1 1
	ecmp 1
}

router() {
	fwsetup
	ifsetup eth1 1
	ifsetup eth2 2
	extroute
	masquerade 1 2
}

tester() {
	ifsetup eth1 2
	ecmp 2
}
