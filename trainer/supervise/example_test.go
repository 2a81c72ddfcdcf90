//go:build unix

package supervise_test

import (
	"context"
	"fmt"
	"os"

	"github.com/ringgrad/ringgrad/trainer/supervise"
)

func ExampleSupervisor_Run() {
	dir, err := os.MkdirTemp("", "run")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()

	// The launcher would be mpirun, and the probe the default, over ssh.
	s, err := supervise.New(supervise.Config{
		Command:   []string{"echo", "mpirun", "-n", "{hosts}", "train"},
		OutputDir: dir,
		Hosts:     []supervise.Host{{Name: "node1"}, {Name: "node2"}, {Name: "node3"}},
		MaxHosts:  2,
		Probe:     "test {host} != node1",
		Stdout:    os.Stdout,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := s.Run(context.Background())
	fmt.Println(report.Starts[0].Hosts, report.Restarts, report.Reason, err)
	// Output:
	// mpirun -n 2 train
	// [node2 node3] 0 the command ended with exit status 0 <nil>
}
