# shellcheck shell=sh disable=SC2154 # set by what sources this
# kubeadm sets up control plane and nodes; 31kubernetes.rc starts what a machine has of its own: etcd, kubelet.
control_plane() {
	keep etcd-again /usr/sbin/etcd-again
}

node() {
	modprobe -q -a overlay nf_conntrack br_netfilter
	[ "$k8s_mode" != ipvs ] || modprobe -q -a ip_vs ip_vs_rr ip_vs_wrr ip_vs_sh
	keep kubelet kubeadm-kubelet
	kubeadm-node < /dev/null >> /var/log/kubeadm.log 2>&1 &
	echo $! > "$run/kubeadm.pid"
	service_routes
	names
}
