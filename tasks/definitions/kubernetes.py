"""What host and guests agree on about Kubernetes."""

PORT = 6443  # of the API on vm-001
CONTROL = 1  # the node with the control plane
DOMAIN = "xcluster"
SERVICES = ("12.0.0.1", "fd00:4000::1")  # the API as a service: first addresses of the service ranges
FOLDER = "etc/kubernetes"
FEWEST = 100  # nodes get credentials at least, also where fewer are started: more may be added later
