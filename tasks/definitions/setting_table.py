"""The settings as rows: tasks/cli/reference.py writes them from settings.py. Do not edit."""

Row = tuple[str, str, str, tuple[str, ...]]  # name, default, help, choices
# fmt: off
ROWS: tuple[Row, ...] = (
    ('nvm', '4', 'cluster nodes, vm-001 and up', ()),  # noqa: E501
    ('nrouters', '2', 'routers, vm-201 and up', ()),  # noqa: E501
    ('ntesters', '0', 'testers, vm-221 and up', ()),  # noqa: E501
    ('mem', '128', 'memory of a node: MiB, or a size as 512M or 1.5G', ()),  # noqa: E501
    ('smp', '2', 'CPUs of a node', ()),  # noqa: E501
    ('node', 'vm', "what a node is: a virtual machine, or a container with the host's kernel", ('vm', 'container')),  # noqa: E501
    ('cgroups', 'no', 'containers have cgroups of their own, as Kubernetes needs; an image may set this', ('yes', 'no')),  # noqa: E501
    ('topology', 'xnet', 'nets, routers and routes; it sets nets, counts and memory (see xc graph)', ()),  # noqa: E501
    ('nets_vm', '0,1', 'nets of a cluster node: eth0 on the first, and so on', ()),  # noqa: E501
    ('nets_router', '0,1,2', 'nets of a router', ()),  # noqa: E501
    ('nets_tester', '0,2', 'nets of a tester', ()),  # noqa: E501
    ('mtu', '1500', 'MTU of every net in bytes, at least 1280 as IPv6 needs', ()),  # noqa: E501
    ('kernel', 'debian', 'kernel/<name>.yaml', ()),  # noqa: E501
    ('image', 'base', 'images/<name>/', ()),  # noqa: E501
    ('k8sver', '', 'version of Kubernetes; default: first in ovl/kubernetes/versions.yaml', ()),  # noqa: E501
    ('ovls', 'env network-topology', 'overlays of a cluster before the first mkcdrom', ()),  # noqa: E501
    ('append', '', 'added to the kernel command line', ()),  # noqa: E501
    ('machine', 'pc', "QEMU's machine type", ()),  # noqa: E501
    ('kvm_opt', '', "added to QEMU's command line", ()),  # noqa: E501
    ('accel', 'auto', 'auto boots a tiny guest to try KVM', ('auto', 'kvm', 'tcg')),  # noqa: E501
    ('net', 'auto', 'network backend; auto takes bridge where it works, else userspace', ('auto', 'userspace', 'bridge', 'custom')),  # noqa: E501
    ('net_setup', '', 'program that sets up each NIC: called with NODE NET', ()),  # noqa: E501
    ('dns', 'auto', 'DNS server on the host, port 10053; auto: none if it cannot be started', ('auto', 'on', 'off')),  # noqa: E501
    ('dns_server', 'auto', 'program of that server; auto: coredns if it is there', ('auto', 'coredns', 'dnsmasq')),  # noqa: E501
    ('dns_hosts', '', 'file of more names for the DNS server, as in /etc/hosts', ()),  # noqa: E501
    ('name', 'xcluster', 'name of the cluster; several run side by side', ()),  # noqa: E501
    ('timeout', '120', 'how long to wait for the nodes, and then for Kubernetes: seconds, or as 5m or 1h30m', ()),  # noqa: E501
    ('kubernetes', 'no', 'nodes run Kubernetes; an image may set this itself', ('yes', 'no')),  # noqa: E501
    ('k8s_family', 'dual', 'address families of Kubernetes; SETUP=ipv4 or SETUP=ipv6 sets it too', ('dual', 'ipv4', 'ipv6')),  # noqa: E501
    ('k8s_proxy_mode', 'iptables', 'mode of kube-proxy; the variable K8S_PROXY_MODE sets it too', ('iptables', 'ipvs', 'nftables')),  # noqa: E501
    ('wait', 'nodes', 'wait until the nodes answer, or until Kubernetes is ready too', ('nodes', 'ready')),  # noqa: E501
    ('api_base', '7443', 'first port to try for the Kubernetes API', ()),  # noqa: E501
    ('fakenet', 'no', 'pretend an internet: every name resolves, and answers http', ('yes', 'no')),  # noqa: E501
    ('cold', 'no', 'boot every node; do not clone the golden snapshot', ('yes', 'no')),  # noqa: E501
    ('keep', 'no', 'keep a cluster that did not come up, to look at it', ('yes', 'no')),  # noqa: E501
    ('xterm', 'yes', 'start opens consoles in xterm windows where there is a display', ('yes', 'no')),  # noqa: E501
    ('telnet', 'no', 'telnet without password, forwarded at 127.0.0.1:12000+N', ('yes', 'no')),  # noqa: E501
    ('blank_password', 'no', 'root logs in by ssh with an empty password', ('yes', 'no')),  # noqa: E501
    ('ssh_base', '12300', 'ssh to node N is at 127.0.0.1 port base+N', ()),  # noqa: E501
    ('telnet_base', '12000', 'telnet to node N, as ssh_base', ()),  # noqa: E501
    ('prefix', 'fd00:', 'IPv6 prefix: addresses are <prefix>:192.168.<net>.<N>', ()),  # noqa: E501
    ('suite', 'bookworm', 'Debian suite of packages where a definition names none', ()),  # noqa: E501
    ('mirror', '', 'URL of a Debian archive; default: the one apt is set up with', ()),  # noqa: E501
    ('registry_mirrors', '', 'container registries to ask first: PREFIX=[http://]HOST[/PATH] ...', ()),  # noqa: E501
    ('registry_insecure', '', 'container registries without a certificate, by host', ()),  # noqa: E501
    ('download_timeout', '60', 'give up what brings <1 KiB/s so long', ()),  # noqa: E501
    ('offline', 'no', 'never use the network: what is not in the cache is an error', ('yes', 'no')),  # noqa: E501
)
