// A CNI plugin that gives pods more than one network. It calls the plugins of the default network, and then those of
// each network that the pod's annotation k8s.v1.cni.cncf.io/networks names, for the interfaces net1, net2 ...
//
// A network is an object of the kind NetworkAttachmentDefinition (k8s.cni.cncf.io/v1); its spec.config is the
// configuration of CNI plugins. The default network is the first other file in the directory of configurations.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
)

const (
	annotation = "k8s.v1.cni.cncf.io/networks"
	cache      = "/run/cni/multi-network"
)

// settings are those of this plugin's own configuration.
type settings struct {
	types.NetConf
	Kubeconfig    string         `json:"kubeconfig"` // a node's: it says where the API is, and who asks
	Directory     string         `json:"directory"`  // of configurations
	Self          string         `json:"self"`       // the file there that names this plugin
	RuntimeConfig map[string]any `json:"runtimeConfig"`
}

// network is one that a pod gets, with its interface there.
type network struct {
	list   *libcni.NetworkConfigList
	device string
}

func main() {
	skel.PluginMainFuncs(
		skel.CNIFuncs{Add: add, Check: check, Del: del},
		version.All,
		"gives pods the networks that their annotation names",
	)
}

func add(args *skel.CmdArgs) error {
	set, err := parse(args)
	if err != nil {
		return err
	}
	first, err := defaultNetwork(set)
	if err != nil {
		return err
	}
	networks := []network{{first, args.IfName}}
	more, err := additional(set, args)
	if err != nil {
		return err
	}
	networks = append(networks, more...)
	if err := remember(args, networks); err != nil {
		return err
	}
	var result types.Result
	for _, each := range networks {
		got, err := cni(args).AddNetworkList(context.Background(), each.list, runtime(set, args, each.device))
		if err != nil {
			return fmt.Errorf("network %s: %w", each.list.Name, err)
		}
		if result == nil {
			result = got // Kubernetes takes the addresses of the default network
		}
	}
	return types.PrintResult(result, set.CNIVersion)
}

func check(args *skel.CmdArgs) error {
	return each(args, func(set *settings, at network) error {
		return cni(args).CheckNetworkList(context.Background(), at.list, runtime(set, args, at.device))
	})
}

// del removes all that was added, the last first, and goes on where one fails.
func del(args *skel.CmdArgs) error {
	err := each(args, func(set *settings, at network) error {
		return cni(args).DelNetworkList(context.Background(), at.list, runtime(set, args, at.device))
	})
	if err == nil {
		_ = os.Remove(memory(args))
	}
	return err
}

func each(args *skel.CmdArgs, do func(*settings, network) error) error {
	set, err := parse(args)
	if err != nil {
		return err
	}
	networks, err := remembered(args)
	if err != nil {
		return err
	}
	slices.Reverse(networks)
	var failed []error
	for _, at := range networks {
		failed = append(failed, do(set, at))
	}
	return errors.Join(failed...)
}

func parse(args *skel.CmdArgs) (*settings, error) {
	set := &settings{Directory: "/etc/cni/net.d"}
	if err := json.Unmarshal(args.StdinData, set); err != nil {
		return nil, fmt.Errorf("configuration of multi-network: %w", err)
	}
	return set, nil
}

func cni(args *skel.CmdArgs) *libcni.CNIConfig {
	return libcni.NewCNIConfigWithCacheDir(filepath.SplitList(args.Path), cache, nil)
}

func runtime(set *settings, args *skel.CmdArgs, device string) *libcni.RuntimeConf {
	run := &libcni.RuntimeConf{ContainerID: args.ContainerID, NetNS: args.Netns, IfName: device}
	for _, pair := range strings.Split(args.Args, ";") {
		if name, value, found := strings.Cut(pair, "="); found {
			run.Args = append(run.Args, [2]string{name, value})
		}
	}
	if device == args.IfName {
		run.CapabilityArgs = set.RuntimeConfig // ports and so on are of the default network
	}
	return run
}

func defaultNetwork(set *settings) (*libcni.NetworkConfigList, error) {
	files, err := libcni.ConfFiles(set.Directory, []string{".conf", ".conflist"})
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	for _, file := range files {
		if filepath.Base(file) != set.Self {
			return read(file)
		}
	}
	return nil, fmt.Errorf("%s has no network besides %s", set.Directory, set.Self)
}

func read(file string) (*libcni.NetworkConfigList, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return configuration("", content)
}

// configuration is a list of plugins, also where the text is a single one; NAME is for one that has no name.
func configuration(name string, content []byte) (*libcni.NetworkConfigList, error) {
	var fields map[string]any
	if err := json.Unmarshal(content, &fields); err != nil {
		return nil, err
	}
	if fields["name"] == nil {
		fields["name"] = name
	}
	content, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	if fields["plugins"] != nil {
		return libcni.ConfListFromBytes(content)
	}
	single, err := libcni.ConfFromBytes(content)
	if err != nil {
		return nil, err
	}
	return libcni.ConfListFromConf(single)
}

// What a pod has got is kept in a file for each sandbox: when the pod is removed, the API may not know it any more.

type kept struct {
	Device string          `json:"device"`
	List   json.RawMessage `json:"list"`
}

func memory(args *skel.CmdArgs) string {
	return filepath.Join(cache, args.ContainerID+".json")
}

func remember(args *skel.CmdArgs, networks []network) error {
	var all []kept
	for _, each := range networks {
		all = append(all, kept{each.device, each.list.Bytes})
	}
	content, err := json.Marshal(all)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return err
	}
	return os.WriteFile(memory(args), content, 0o600)
}

func remembered(args *skel.CmdArgs) ([]network, error) {
	content, err := os.ReadFile(memory(args))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // it was removed before
	}
	if err != nil {
		return nil, err
	}
	var all []kept
	if err := json.Unmarshal(content, &all); err != nil {
		return nil, err
	}
	var networks []network
	for _, each := range all {
		list, err := configuration("", each.List)
		if err != nil {
			return nil, err
		}
		networks = append(networks, network{list, each.Device})
	}
	return networks, nil
}
