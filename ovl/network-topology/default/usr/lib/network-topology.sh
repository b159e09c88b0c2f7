# shellcheck shell=sh disable=SC2034,SC2154 # set for, and by, other files
# Functions that set up nets; source it after /etc/profile.
#
#   i                       this node's number, 1 for vm-001
#   role                    vm (1-200), router (201-220), tester (221-240) or
#                           empty
#   PREFIX                  what comes before the IPv4 address in an IPv6 one
#   ifsetup DEV NET [WIRE [HOST]]
#                           addresses 192.168.NET.i/24 and PREFIX:192.168.NET.i/120,
#                           mtu from mtuWIRE= on the kernel's command line; HOST
#                           instead of i
#   xlansetup DEV NET A/N/H     another address: A masked to N bits, plus NET
#                           subnets of H bits, plus i
#   brsetup BR DEV1 DEV2 NET    bridge two interfaces, address the bridge
#   netroute DEST HOP...    route, in both families. DEST is default, NET or
#                           NET.HOST; a HOP is NET.HOST, or NET.router for all
#                           routers; several make it ECMP
#   linkroute DEST DEV      route to neighbours on DEV
#   boundroute DEV TABLE DEST HOP...    route for sockets bound to DEV
#   hostroutes ROLE NET VIA     to each node of the role on NET, over its address
#                           on net VIA
#   ecmp NET                default route over all routers on NET
#   fwsetup                 forward packets
#   extroute                IPv4 default route to the host, on net 0
#   masquerade NET...       NAT what comes from these nets and leaves on eth0
#   netdev NET              sets nt_dev to this node's interface on NET
#   neighbours              sets nt_neighbours to the others on nets 1 and 2, as
#                           NET.HOST, each once
#   nt_queue                collect ip commands from here on ...
#   nt_flush                ... and run them, all in one ip process
#   nt_load                 read the file of the topology
#
# What fails is reported and sets nt_failed to 1; the rest is done all the same.
# Processes are expensive in an emulated guest: stay with builtins.

PREFIX=${PREFIX:-fd00:}
__nrouters=${__nrouters:-2}
nt_name=${xc_script:-$0}
nt_name=${nt_name##*/}
nt_failed=0
nt_queued=
nt_batch=
nt_nets=' '
nt_nl='
'

nt_log() {
	echo "$nt_name: $*"
}

nt_fail() {
	nt_failed=1
	nt_log "ERROR: $*"
	return 1
}

# nt_number TEXT: sets nt_value to the decimal number without leading zeros
nt_number() {
	nt_value=$1
	while [ "${nt_value#0}" != "$nt_value" ] && [ ${#nt_value} -gt 1 ]; do
		nt_value=${nt_value#0}
	done
	case $nt_value in
	'' | *[!0-9]*) return 1 ;;
	esac
}

# nt_load: read /usr/lib/network-topology/$TOPOLOGY.sh. It has nt_names, words
# FIRST-LAST:NET that say where the names of nodes lead, nt_scaleout, numbers of
# nodes beyond the counts, and a function for each role: vm, router, tester.
nt_load() {
	case $TOPOLOGY in
	'' | default) TOPOLOGY=xnet ;;
	esac
	nt_names='1-200:1 201-220:1 221-240:2' nt_scaleout=
	nt_file=/usr/lib/network-topology/$TOPOLOGY.sh
	if [ ! -r "$nt_file" ]; then
		set -- /usr/lib/network-topology/*.sh
		nt_log "ERROR: no $nt_file; here are: $*"
		return 1
	fi
	# shellcheck source=/dev/null
	. "$nt_file"
}

read -r nt_host < /proc/sys/kernel/hostname
i=
role=
if nt_number "${nt_host##*-}"; then
	i=$nt_value
	if [ "$i" -ge 1 ] && [ "$i" -le 200 ]; then
		role=vm
	elif [ "$i" -ge 201 ] && [ "$i" -le 220 ]; then
		role=router
	elif [ "$i" -ge 221 ] && [ "$i" -le 240 ]; then
		role=tester
	fi
fi

# The shell of busybox-static prefers its own ip to any in PATH, and that one
# knows neither -batch nor nexthop: call iproute2's by its path.
nt_ipprog=
# shellcheck disable=SC3013 # busybox and dash have -ef
for nt_word in /usr/sbin/ip /sbin/ip /bin/ip /usr/bin/ip; do
	if [ -x $nt_word ] && ! [ $nt_word -ef /bin/busybox ]; then
		nt_ipprog=$nt_word
		break
	fi
done

# nt_cmdline NAME: sets nt_value to what NAME= has on the kernel's command line
nt_cmdline() {
	nt_value=
	read -r nt_line < /proc/cmdline
	for nt_word in $nt_line; do
		case $nt_word in
		"$1"=*) nt_value=${nt_word#*=} ;;
		esac
	done
}

# nt_set VALUE FILE: write below /proc/sys/net
nt_set() {
	if [ ! -e "/proc/sys/net/$2" ]; then
		nt_fail "the kernel has no net/$2"
	elif ! echo "$1" > "/proc/sys/net/$2"; then
		nt_fail "could not write $1 to net/$2"
	fi
}

nt_ipv6() {
	[ -d /proc/sys/net/ipv6 ]
}

nt_queue() {
	nt_queued=yes
}

# nt_ip COMMAND: ip COMMAND, now, or at nt_flush
nt_ip() {
	nt_batch=$nt_batch$1$nt_nl
	[ -n "$nt_queued" ] || nt_run
}

nt_run() {
	[ -n "$nt_batch" ] || return 0
	if [ -z "$nt_ipprog" ]; then
		nt_fail "no ip program (iproute2)"
	else
		$nt_ipprog -force -batch - << EOF || nt_fail "ip failed"
$nt_batch
EOF
	fi
	nt_batch=
}

nt_flush() {
	nt_queued=
	nt_run
}

# nt_link DEV WIRE: the interface up, with the MTU of the net that it is on
nt_link() {
	if nt_ipv6; then
		nt_set 0 "ipv6/conf/$1/accept_dad"
	fi
	nt_cmdline "mtu$2"
	nt_ip "link set dev $1${nt_value:+ mtu $nt_value} up"
}

# nt_address DEV ADDRESS LENGTH
nt_address() {
	nt_ip "address replace $2/$3 broadcast + dev $1"
	if nt_ipv6; then
		nt_ip "address replace $PREFIX:$2/$(($3 + 96)) dev $1 nodad"
	fi
}

# nt_there DEV NET: whether the interface is there
nt_there() {
	[ ! -e "/sys/class/net/$1" ] || return 0
	nt_log "no $1, net $2 is left out"
	return 1
}

ifsetup() {
	nt_there "$1" "$2" || return 0
	nt_nets="$nt_nets$2 "
	nt_link "$1" "${3:-$2}"
	nt_address "$1" "192.168.$2.${4:-$i}" 24
}

xlansetup() {
	nt_there "$1" "$2" || return 0
	case $3 in
	*[!0-9./]* | *//* | */*/*/*) nt_word= ;;
	[0-9]*.[0-9]*.[0-9]*.[0-9]*/[0-9]*/[0-9]*) nt_word=yes ;;
	*) nt_word= ;;
	esac
	if [ -z "$nt_word" ]; then
		nt_fail "no A.B.C.D/N/H: $3"
		return 0
	fi
	nt_inner=${3##*/} nt_value=${3%/*}
	nt_outer=${nt_value##*/} nt_value=${nt_value%%/*}
	nt_a=0
	for nt_word in 1 2 3 4; do
		nt_a=$((nt_a << 8 | ${nt_value%%.*}))
		nt_value=${nt_value#*.}
	done
	nt_a=$(((nt_a >> (32 - nt_outer) << (32 - nt_outer)) + ($2 << (32 - nt_inner)) + i))
	case $nt_nets in
	*" $2 "*) ;; # it has a first address, and is up
	*) nt_link "$1" "$2" ;;
	esac
	nt_address "$1" "$((nt_a >> 24)).$((nt_a >> 16 & 255)).$((nt_a >> 8 & 255)).$((nt_a & 255))" "$nt_inner"
}

# The last bytes of a MAC address are the net and the node.
netdev() {
	for nt_dev in /sys/class/net/eth*; do
		read -r nt_mac < "$nt_dev/address" || continue
		nt_mac=${nt_mac#00:00:00:01:}
		nt_dev=${nt_dev##*/}
		[ $((0x${nt_mac%%:*})) -ne "$1" ] || return 0
	done
	nt_dev=
	return 1
}

# nt_range NET FIRST COUNT: add these nodes to nt_neighbours, but not this one
nt_range() {
	nt_number "${3:-0}" || return 0
	nt_n=$2
	nt_last=$(($2 + nt_value))
	while [ $nt_n -lt $nt_last ]; do
		[ $nt_n -eq "$i" ] || nt_neighbours="$nt_neighbours $1.$nt_n"
		nt_n=$((nt_n + 1))
	done
}

neighbours() {
	nt_neighbours=
	case $role in
	vm | router)
		nt_range 1 1 "${__nvm:-4}"
		nt_range 1 201 "$__nrouters" ;;
	tester)
		nt_range 2 201 "$__nrouters" ;;
	esac
	[ "$role" = vm ] || nt_range 2 221 "${__ntesters:-0}"
}

# The bridge is not there yet, so that ifsetup could not be asked for it.
brsetup() {
	nt_there "$2" "$4" && nt_there "$3" "$4" || return 0
	nt_hex "$4" && nt_mac=00:00:01:01:$nt_value
	nt_hex "$i" && nt_mac=$nt_mac:$nt_value
	nt_cmdline "mtu$4"
	nt_mtu=${nt_value:+ mtu $nt_value}
	[ -e "/sys/class/net/$1" ] || nt_ip "link add name $1 address $nt_mac type bridge"
	nt_ip "link set dev $2$nt_mtu master $1 up"
	nt_ip "link set dev $3$nt_mtu master $1 up"
	nt_nets="$nt_nets$4 "
	nt_ip "link set dev $1$nt_mtu up"
	nt_address "$1" "192.168.$4.$i" 24
}

# nt_hex NUMBER: sets nt_value to two hex digits
nt_hex() {
	nt_value=0123456789abcdef nt_hexed=
	for nt_n in $(($1 >> 4)) $(($1 & 15)); do
		nt_digit=$nt_value
		while [ "$nt_n" -gt 0 ]; do
			nt_digit=${nt_digit#?} nt_n=$((nt_n - 1))
		done
		nt_hexed=$nt_hexed${nt_digit%"${nt_digit#?}"}
	done
	nt_value=$nt_hexed
}

# nt_prefix DEST: sets nt_dest4 and nt_dest6
nt_prefix() {
	case $1 in
	default)
		nt_dest4=0.0.0.0/0 nt_dest6=::/0 ;;
	*.*)
		nt_dest4=192.168.$1/32 nt_dest6=$PREFIX:192.168.$1/128 ;;
	*)
		nt_dest4=192.168.$1.0/24 nt_dest6=$PREFIX:192.168.$1.0/120 ;;
	esac
}

# nt_via HOP...: sets nt_hops4 and nt_hops6; 1 when there is no way
nt_via() {
	nt_words=
	for nt_hop in "$@"; do
		case $nt_hop in
		*.router) nt_all "${nt_hop%.router}" ;;
		*) nt_words="$nt_words $nt_hop" ;;
		esac
	done
	nt_hops4= nt_hops6= nt_word=
	case $nt_words in
	'') return 1 ;;
	' '*' '*) nt_word='nexthop ' ;;
	esac
	for nt_hop in $nt_words; do
		case $nt_nets in
		*" ${nt_hop%.*} "*) ;;
		*)
			nt_log "net ${nt_hop%.*} is not set up, no route to $nt_dest4"
			return 1 ;;
		esac
		nt_hops4="$nt_hops4 ${nt_word}via 192.168.$nt_hop"
		nt_hops6="$nt_hops6 ${nt_word}via $PREFIX:192.168.$nt_hop"
	done
	if [ -n "$nt_word" ]; then
		nt_hashpolicy
	fi
}

# nt_all NET: add all routers on NET to nt_words
nt_all() {
	if ! nt_number "$__nrouters" || [ "$nt_value" -gt 20 ]; then
		nt_fail "__nrouters is not a number from 0 to 20: $__nrouters"
		return 0
	fi
	nt_last=$((200 + nt_value)) nt_n=201
	while [ $nt_n -le $nt_last ]; do
		nt_words="$nt_words $1.$nt_n"
		nt_n=$((nt_n + 1))
	done
}

netroute() {
	nt_prefix "$1"
	shift
	nt_via "$@" || return 0
	nt_ip "route replace $nt_dest4$nt_hops4"
	if nt_ipv6; then
		nt_ip "route replace $nt_dest6$nt_hops6"
	fi
}

linkroute() {
	nt_prefix "$1"
	nt_there "$2" "of $nt_dest4" || return 0
	nt_ip "route replace $nt_dest4 dev $2"
	if nt_ipv6; then
		nt_ip "route replace $nt_dest6 dev $2"
	fi
}

# A rule that is there would be there twice, so this is noted.
boundroute() {
	nt_dev=$1 nt_table=$2
	nt_prefix "$3"
	shift 3
	nt_via "$@" || return 0
	nt_ip "route replace $nt_dest4$nt_hops4 table $nt_table"
	if nt_ipv6; then
		nt_ip "route replace $nt_dest6$nt_hops6 table $((nt_table + 1))"
	fi
	[ ! -e "/run/network-topology.$nt_dev" ] || return 0
	: > "/run/network-topology.$nt_dev"
	nt_ip "rule add oif $nt_dev table $nt_table"
	if nt_ipv6; then
		nt_ip "-6 rule add oif $nt_dev table $((nt_table + 1))"
	fi
}

hostroutes() {
	case $1 in
	vm) nt_value=${__nvm:-4} nt_base=0 ;;
	router) nt_value=$__nrouters nt_base=200 ;;
	tester) nt_value=${__ntesters:-0} nt_base=220 ;;
	esac
	if ! nt_number "$nt_value"; then
		nt_fail "not a number of nodes: $nt_value"
		return 0
	fi
	nt_count=$nt_value nt_each=1
	while [ $nt_each -le "$nt_count" ]; do
		netroute "$2.$((nt_base + nt_each))" "$3.$((nt_base + nt_each))"
		nt_each=$((nt_each + 1))
	done
}

ecmp() {
	netroute default "$1.router"
}

# Choose the path by addresses and ports: connections spread over the paths,
# packets of one connection do not.
nt_hashpolicy() {
	nt_set 1 ipv4/fib_multipath_hash_policy
	if nt_ipv6; then
		nt_set 1 ipv6/fib_multipath_hash_policy
	fi
}

fwsetup() {
	nt_set 1 ipv4/ip_forward
	if nt_ipv6; then
		nt_set 1 ipv6/conf/all/forwarding
	fi
	nt_hashpolicy
}

extroute() {
	[ "$DHCP_eth0" = yes ] || nt_ip "route replace 0.0.0.0/0 via 192.168.0.250"
}

# One nft process, in a table of its own; a second run replaces the first.
nt_nft() {
	nt_rules=
	for nt_net in "$@"; do
		nt_rules="$nt_rules${nt_nl}oifname \"eth0\" ip saddr 192.168.$nt_net.0/24 masquerade"
	done
	nft -f - << EOF
table ip network_topology
delete table ip network_topology
table ip network_topology {
chain postrouting {
type nat hook postrouting priority 100;$nt_rules
}
}
EOF
}

nt_iptables() {
	nt_result=0
	for nt_net in "$@"; do
		set -- POSTROUTING -s "192.168.$nt_net.0/24" -o eth0 -j MASQUERADE
		iptables -t nat -C "$@" 2> /dev/null || iptables -t nat -A "$@" || nt_result=1
	done
	return $nt_result
}

masquerade() {
	[ "$DISABLE_MASQUERADE" != yes ] || return 0
	nt_tools=
	if command -v nft > /dev/null; then
		nt_nft "$@" && return 0
		nt_tools=nft
	fi
	if command -v iptables > /dev/null; then
		nt_iptables "$@" && return 0
		nt_tools="$nt_tools iptables"
	fi
	if [ -n "$nt_tools" ]; then
		nt_fail "no NAT for nets $*, tried $nt_tools"
	else
		nt_log "no nft and no iptables: no NAT for nets $* (the iptools overlay has them)"
	fi
	return 0
}
