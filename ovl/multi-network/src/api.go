package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"sigs.k8s.io/yaml"
)

// selection is an entry of the annotation: NAMESPACE/NAME@INTERFACE, or the same as an object.
type selection struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Device    string `json:"interface"`
}

// additional asks the API for the networks that the pod's annotation names.
func additional(set *settings, args *skel.CmdArgs) ([]network, error) {
	words := map[string]string{}
	for _, pair := range strings.Split(args.Args, ";") {
		name, value, _ := strings.Cut(pair, "=")
		words[name] = value
	}
	namespace, pod := words["K8S_POD_NAMESPACE"], words["K8S_POD_NAME"]
	if pod == "" {
		return nil, nil // no pod of Kubernetes
	}
	var object struct {
		Metadata struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
	}
	if err := get(set, fmt.Sprintf("/api/v1/namespaces/%s/pods/%s", namespace, pod), &object); err != nil {
		return nil, err
	}
	selections, err := selected(object.Metadata.Annotations[annotation])
	if err != nil {
		return nil, fmt.Errorf("annotation %s of pod %s/%s: %w", annotation, namespace, pod, err)
	}
	var networks []network
	for number, each := range selections {
		if each.Namespace == "" {
			each.Namespace = namespace
		}
		if each.Device == "" {
			each.Device = fmt.Sprintf("net%d", number+1)
		}
		var definition struct {
			Spec struct {
				Config string `json:"config"`
			} `json:"spec"`
		}
		path := fmt.Sprintf(
			"/apis/k8s.cni.cncf.io/v1/namespaces/%s/network-attachment-definitions/%s", each.Namespace, each.Name,
		)
		if err := get(set, path, &definition); err != nil {
			return nil, err
		}
		list, err := configuration(each.Name, []byte(definition.Spec.Config))
		if err != nil {
			return nil, fmt.Errorf("network %s/%s: %w", each.Namespace, each.Name, err)
		}
		networks = append(networks, network{list, each.Device})
	}
	return networks, nil
}

func selected(text string) ([]selection, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "[") {
		var selections []selection
		err := json.Unmarshal([]byte(text), &selections)
		return selections, err
	}
	var selections []selection
	for _, word := range strings.Split(text, ",") {
		word = strings.TrimSpace(word)
		if word == "" {
			continue
		}
		var each selection
		name, device, _ := strings.Cut(word, "@")
		each.Device = device
		if namespace, rest, found := strings.Cut(name, "/"); found {
			each.Namespace, name = namespace, rest
		}
		if each.Name = name; name == "" {
			return nil, fmt.Errorf("'%s' has no name", word)
		}
		selections = append(selections, each)
	}
	return selections, nil
}

// kubeconfig is what counts here of such a file, which has one of each.
type kubeconfig struct {
	Clusters []struct {
		Cluster struct {
			Server    string `json:"server"`
			Authority []byte `json:"certificate-authority-data"`
		} `json:"cluster"`
	} `json:"clusters"`
	Users []struct {
		User struct {
			Certificate     []byte `json:"client-certificate-data"`
			Key             []byte `json:"client-key-data"`
			CertificateFile string `json:"client-certificate"` // kubelet's own, which it renews
			KeyFile         string `json:"client-key"`
		} `json:"user"`
	} `json:"users"`
}

// client is one for the API that a kubeconfig names; and the URL of that.
func client(path string) (*http.Client, string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, "", err
	}
	var config kubeconfig
	if err := yaml.Unmarshal(content, &config); err != nil {
		return nil, "", fmt.Errorf("%s: %w", path, err)
	}
	if len(config.Clusters) == 0 || len(config.Users) == 0 {
		return nil, "", fmt.Errorf("%s names no cluster or no user", path)
	}
	cluster, user := config.Clusters[0].Cluster, config.Users[0].User
	var pair tls.Certificate
	if user.CertificateFile != "" {
		pair, err = tls.LoadX509KeyPair(user.CertificateFile, user.KeyFile)
	} else {
		pair, err = tls.X509KeyPair(user.Certificate, user.Key)
	}
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", path, err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(cluster.Authority)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: trusted, Certificates: []tls.Certificate{pair}},
	}
	return &http.Client{Timeout: time.Minute, Transport: transport}, cluster.Server, nil
}

// get reads an object of the API.
func get(set *settings, path string, into any) error {
	ask, server, err := client(set.Kubeconfig)
	if err != nil {
		return err
	}
	answer, err := ask.Get(server + path)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: the API answered %s", path, answer.Status)
	}
	return json.Unmarshal(content, into)
}
