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
#   k8s_externals   ranges of external addresses of services

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
