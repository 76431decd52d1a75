// Command k8s is every Kubernetes component in one binary, in the style of
// busybox: it acts as the component by whose name it is called.
//
//	ln -s k8s kube-apiserver && ./kube-apiserver --version
//	./k8s kubectl version
//
// The components share most of their code, so one binary is a quarter of the
// size of nine and links in a fraction of their time. It exists because `go
// install k8s.io/kubernetes/cmd/...@version` is refused: that module's go.mod
// carries replace directives. A module of ours that requires it may carry them.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubeapiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	kubecontrollermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	kubeproxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	kubescheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubeadm "k8s.io/kubernetes/cmd/kubeadm/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	// The plugins that kubeadm's Corefile names, and no others: CoreDNS's own
	// plugin list would link the SDK of every cloud.
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
)

// components maps the name the binary is called by to what it then does. Each
// reads os.Args itself and returns the exit status.
var components = map[string]func() int{
	"coredns":                 runCoreDNS,
	"etcd":                    runEtcd,
	"kube-apiserver":          command(kubeapiserver.NewAPIServerCommand),
	"kube-controller-manager": command(kubecontrollermanager.NewControllerManagerCommand),
	"kube-proxy":              command(kubeproxy.NewProxyCommand),
	"kube-scheduler":          command(func() *cobra.Command { return kubescheduler.NewSchedulerCommand() }),
	"kubeadm":                 runKubeadm,
	"kubectl":                 command(kubectl.NewDefaultKubectlCommand),
	"kubelet":                 command(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
}

func main() {
	if os.Getenv("K8S_EXIT_WITH_STDIN") != "" {
		go exitWithStdin()
	}
	name := filepath.Base(os.Args[0])
	if _, known := components[name]; !known && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		name = os.Args[0]
	}
	run, known := components[name]
	if !known {
		names := make([]string, 0, len(components))
		for name := range components {
			names = append(names, name)
		}
		slices.Sort(names)
		fmt.Fprintf(os.Stderr, "k8s: no component is called %q; call this binary by, or with, one of: %s\n", name, strings.Join(names, ", "))
		os.Exit(2)
	}
	os.Exit(run())
}

// exitWithStdin ends this process when its standard input does. Whoever holds
// the other end of the pipe takes its components along, even if it is killed.
func exitWithStdin() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

func command(construct func() *cobra.Command) func() int {
	return func() int { return cli.Run(construct()) }
}

func runKubeadm() int {
	if err := kubeadm.Run(); err != nil {
		return 1
	}
	return 0
}

func runCoreDNS() int {
	// The order is the order in which a query passes the plugins.
	dnsserver.Directives = []string{
		"reload", "errors", "health", "ready", "prometheus",
		"cache", "kubernetes", "loop", "forward", "loadbalance",
	}
	coremain.Run()
	return 0
}

func runEtcd() int {
	etcdmain.Main(os.Args)
	return 0
}
