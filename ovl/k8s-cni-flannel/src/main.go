// flanneld, of flannel's own packages: the part that Kubernetes needs, with the backends vxlan, host-gw, wireguard.
//
//	flanneld INTERFACE KUBECONFIG NODE SUBNET...
//
// /etc/kube-flannel/net-conf.json says the network and the backend. A node that has no ranges of pod addresses
// yet gets the given ones. When packets can flow, the container runtime is told how to connect pods.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/flannel-io/flannel/pkg/backend"
	_ "github.com/flannel-io/flannel/pkg/backend/hostgw"
	_ "github.com/flannel-io/flannel/pkg/backend/vxlan"
	_ "github.com/flannel-io/flannel/pkg/backend/wireguard"
	"github.com/flannel-io/flannel/pkg/ipmatch"
	"github.com/flannel-io/flannel/pkg/subnet"
	"github.com/flannel-io/flannel/pkg/subnet/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	netConf = "/etc/kube-flannel/net-conf.json"
	cniConf = "/etc/cni/net.d/10-flannel.conflist"
	prefix  = "flannel.alpha.coreos.com"
)

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: flanneld INTERFACE KUBECONFIG NODE SUBNET...")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, "flanneld:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, device, kubeconfig, node string, subnets []string) error {
	if err := assign(ctx, kubeconfig, node, subnets); err != nil {
		return fmt.Errorf("ranges of node %s: %w", node, err)
	}
	if err := os.Setenv("NODE_NAME", node); err != nil {
		return err
	}
	manager, err := kube.NewSubnetManager(ctx, "", kubeconfig, prefix, netConf, false)
	if err != nil {
		return err
	}
	config, err := manager.GetNetworkConfig(ctx)
	if err != nil {
		return err
	}
	family, err := ipmatch.GetIPFamily(config.EnableIPv4, config.EnableIPv6)
	if err != nil {
		return err
	}
	outside, err := ipmatch.LookupExtIface(device, "", "", family, ipmatch.PublicIPOpts{})
	if err != nil {
		return fmt.Errorf("interface %s: %w", device, err)
	}
	return serve(ctx, manager, config, outside)
}

// serve joins the network, and follows what other nodes say of themselves until it is told to end.
func serve(ctx context.Context, manager subnet.Manager, config *subnet.Config, out *backend.ExternalInterface) error {
	kind, err := backend.NewManager(ctx, manager, out).GetBackend(config.BackendType)
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	network, err := kind.RegisterNetwork(ctx, &running, config)
	if err != nil {
		return err
	}
	if err := connect(config, network); err != nil {
		return err
	}
	network.Run(ctx)
	running.Wait()
	return nil
}

// connect writes what the container runtime reads: pods of this node are on a bridge, with addresses of the lease.
// flannel's own plugin would make the same at each pod.
func connect(config *subnet.Config, network backend.Network) error {
	type block map[string]any
	var ranges [][]block
	if config.EnableIPv4 {
		ranges = append(ranges, []block{{"subnet": network.Lease().Subnet.String()}})
	}
	if config.EnableIPv6 {
		ranges = append(ranges, []block{{"subnet": network.Lease().IPv6Subnet.String()}})
	}
	content, err := json.MarshalIndent(block{
		"cniVersion": "1.0.0",
		"name":       "pods",
		"plugins": []block{
			{
				"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "hairpinMode": true,
				"mtu":  network.MTU(),
				"ipam": block{"type": "host-local", "dataDir": "/run/cni/networks", "ranges": ranges},
			},
			{"type": "portmap", "capabilities": block{"portMappings": true}, "snat": true},
		},
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(cniConf+".new", content, 0o644); err != nil {
		return err
	}
	return os.Rename(cniConf+".new", cniConf)
}

// assign waits for the node, and gives it its ranges, unless it has some.
func assign(ctx context.Context, kubeconfig, name string, subnets []string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	nodes := client.CoreV1().Nodes()
	for {
		node, err := nodes.Get(ctx, name, metav1.GetOptions{})
		if err == nil && node.Spec.PodCIDR != "" {
			return nil
		}
		if err == nil {
			patch, failed := json.Marshal(map[string]any{
				"spec": map[string]any{"podCIDR": subnets[0], "podCIDRs": subnets},
			})
			if failed != nil {
				return failed
			}
			_, err = nodes.Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			if err == nil || apierrors.IsInvalid(err) {
				return err
			}
		}
		if !apierrors.IsNotFound(err) {
			fmt.Fprintln(os.Stderr, "flanneld: node:", err)
		}
		select {
		case <-ctx.Done():
			return errors.New("told to end")
		case <-time.After(2 * time.Second):
		}
	}
}
