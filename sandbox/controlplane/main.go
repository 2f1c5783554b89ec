// Command controlplane is the genuine Kubernetes control plane in one binary: the upstream entry points of
// etcd, kube-apiserver, kube-controller-manager and kube-scheduler, chosen by the first argument.
//
// One binary instead of four because they share nearly all of their code: it halves the build time and the
// disk space, and a sandbox that starts in seconds needs no images and no download of release archives.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json, as in the upstream commands
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics, as in the upstream commands
	_ "k8s.io/component-base/metrics/prometheus/version"  // build information metric
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// run shifts the arguments so that the component sees itself as argv[0], and exits with its status.
func run(command *cobra.Command) {
	os.Exit(cli.Run(command))
}

func main() {
	self := filepath.Base(os.Args[0])
	if len(os.Args) < 2 {
		usage(self, "")
	}
	component := os.Args[1]
	os.Args = os.Args[1:]
	switch component {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		run(apiserver.NewAPIServerCommand())
	case "kube-controller-manager":
		run(controllermanager.NewControllerManagerCommand())
	case "kube-scheduler":
		run(scheduler.NewSchedulerCommand())
	default:
		usage(self, component)
	}
}

func usage(self, given string) {
	if given != "" {
		fmt.Fprintf(os.Stderr, "%s: unknown component %q\n", self, given)
	}
	fmt.Fprintf(os.Stderr, "usage: %s etcd|kube-apiserver|kube-controller-manager|kube-scheduler [flags]\n", self)
	os.Exit(2)
}
