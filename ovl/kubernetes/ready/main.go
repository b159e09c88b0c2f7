// kube-ready waits until the API server at HOST:PORT says that it is ready. To ask with kubectl
// would start a program of a hundred megabytes each time.
package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: kube-ready HOST:PORT")
		os.Exit(2)
	}
	// Nothing is sent, and what it says is not believed: daemons check certificates when they connect.
	plain := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	client := http.Client{Transport: plain, Timeout: 10 * time.Second}
	for !ready(client, "https://"+os.Args[1]+"/readyz") {
		time.Sleep(time.Second)
	}
}

func ready(client http.Client, url string) bool {
	answer, err := client.Get(url)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}
