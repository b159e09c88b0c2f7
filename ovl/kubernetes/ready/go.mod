module kube-ready

go 1.19
