# shellcheck shell=sh disable=SC2034,SC2154 # set for, and by, other files
# What a node of a Kubernetes cluster knows; source it after network-topology.sh.
#
#   k8s_family      dual, ipv4 or ipv6: what the cluster was started with
#   k8s_ipv4, k8s_ipv6      not empty when the cluster has addresses of the family
#   k8s_mode        of kube-proxy: iptables, ipvs, nftables
#   k8s_cni         the network of pods; an overlay k8s-cni-X writes X to /etc/kubernetes/cni
#   k8s_node        this node's addresses, the first family first
#   k8s_api         the address of the API server, as in a URL
#   k8s_services, k8s_pods  ranges of addresses
#   k8s_dns         the address of the cluster's DNS server
#   k8s_externals4, k8s_externals6  ranges of external addresses of services
#   k8s_pod_ranges  sets k8s_value to this node's ranges of pods, as host-local wants them
#   k8s_pod_routes  routes to the pods of all nodes there may be, so that one may come later
#   k8s_pod_nat     what pods send to the world outside gets this node's address

k8s_dns4=12.0.0.2 k8s_dns6=fd00:4000::2
k8s_services4=12.0.0.0/16 k8s_services6=fd00:4000::/112
k8s_pods4=11.0.0.0/16 k8s_pods6=fd00:1100::/96
k8s_externals4=10.0.0.0/24 k8s_externals6=1000::/112

xc_k8s_family= xc_k8s_proxy_mode=
[ -r /etc/xcluster_node ] && . /etc/xcluster_node
k8s_family=${xc_k8s_family:-dual}
k8s_mode=${xc_k8s_proxy_mode:-iptables}
k8s_cni=bridge
[ -s /etc/kubernetes/cni ] && read -r k8s_cni < /etc/kubernetes/cni

k8s_ipv4=yes k8s_ipv6=yes
case $k8s_family in
ipv4) k8s_ipv6= ;;
ipv6) k8s_ipv4= ;;
esac

# k8s_both IPV4 IPV6: sets k8s_value to those that the cluster has, with a comma
k8s_both() {
	k8s_value=${k8s_ipv4:+$1}
	k8s_value=$k8s_value${k8s_ipv6:+${k8s_value:+,}$2}
}
k8s_both "192.168.1.$i" "$PREFIX:192.168.1.$i" && k8s_node=$k8s_value
k8s_both $k8s_services4 $k8s_services6 && k8s_services=$k8s_value
k8s_both $k8s_pods4 $k8s_pods6 && k8s_pods=$k8s_value
k8s_both $k8s_dns4 $k8s_dns6 && k8s_dns=$k8s_value
if [ -n "$k8s_ipv4" ]; then
	k8s_api=192.168.1.1
else
	k8s_api="[$PREFIX:192.168.1.1]"
fi

# Pods of node N are 11.0.N.0/24 and fd00:1100::N:0/112, N in hex.
k8s_pod_ranges() {
	nt_hex "$i"
	k8s_word=$nt_value
	k8s_both "[{\"subnet\": \"11.0.$i.0/24\"}]" "[{\"subnet\": \"fd00:1100::$k8s_word:0/112\"}]"
}

k8s_pod_routes() {
	netdev 1 || return 0   # a tester finds pods by way of the routers
	nt_queue
	k8s_n=1
	while [ $k8s_n -le 200 ]; do
		nt_hex $k8s_n
		if [ $k8s_n -ne "$i" ]; then
			[ -z "$k8s_ipv4" ] || nt_ip "route replace 11.0.$k8s_n.0/24 via 192.168.1.$k8s_n"
			[ -z "$k8s_ipv6" ] || nt_ip "route replace fd00:1100::$nt_value:0/112 via $PREFIX:192.168.1.$k8s_n"
		fi
		k8s_n=$((k8s_n + 1))
	done
	nt_flush
}

k8s_pod_nat() {
	nft -f - << END || nt_fail "no NAT for pods"
table inet kubernetes_pods
delete table inet kubernetes_pods
table inet kubernetes_pods {
	chain postrouting {
		type nat hook postrouting priority srcnat;
		ip saddr 11.0.0.0/16 ip daddr != { 10.0.0.0/8, 11.0.0.0/16, 12.0.0.0/16, 192.168.0.0/16 } masquerade
	}
}
END
}
