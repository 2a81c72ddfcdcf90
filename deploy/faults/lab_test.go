//go:build mpi

package faults

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// prefix begins the names of the hosts: flt1 to flt4.
var prefix = cmp.Or(os.Getenv("RINGGRAD_NETNS"), "flt")

const (
	hostCount = 4
	network   = "10.77.0.0/24"
)

// lab is where the tests run; nil where this machine lacks what lacking says.
var (
	lab     *laboratory
	lacking string
)

// laboratory is a set of hosts and a program.
type laboratory struct {
	root     string // of the repository
	hostfile string
	folder   string // for all files of the tests, seen by all hosts
	train    string // the program, built with the tag mpi
	solo     map[string]outcome
}

func TestMain(m *testing.M) { os.Exit(tests(m)) }

func tests(m *testing.M) int {
	folder, err := os.MkdirTemp("", "ringgrad-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(folder) }()
	l, err := newLaboratory(folder)
	defer l.down()
	switch {
	case err != nil && lacking == "":
		fmt.Fprintln(os.Stderr, "faults:", err)
		return 1
	case lacking != "":
		fmt.Println("SKIPPED: faults on several hosts:", lacking)
	default:
		lab = l
	}
	return m.Run()
}

// inLab skips a test that cannot run here, and clears the hosts behind it.
func inLab(t *testing.T) *laboratory {
	t.Helper()
	if lab == nil {
		t.Skip("SKIPPED: " + lacking)
	}
	t.Cleanup(func() { lab.clear(t) })
	return lab
}

// newLaboratory sets lacking where something is missing that people may well not have.
func newLaboratory(folder string) (*laboratory, error) {
	root, err := filepath.Abs("../..")
	l := &laboratory{root: root, folder: folder, train: filepath.Join(folder, "train"), solo: map[string]outcome{}}
	if err != nil {
		return l, err
	}
	for _, name := range []string{"cc", "ping", "pkg-config", "setsid", "unshare"} {
		if _, err := exec.LookPath(name); err != nil {
			lacking = "needs " + name
			return l, nil
		}
	}
	if err := l.environment(); err != nil {
		lacking = err.Error()
		return l, nil
	}
	state, err := l.script("netns/up", fmt.Sprint(hostCount))
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 77 {
		lacking = err.Error()
		return l, nil
	}
	if err != nil {
		return l, err
	}
	l.hostfile = filepath.Join(strings.TrimSpace(state), "hostfile")
	return l, l.build(l.train, "mpi")
}

// environment makes the scripts use these hosts, with a network that counts as lost within 5 s.
func (l *laboratory) environment() error {
	mpirun, err := exec.LookPath("mpirun.openmpi")
	if err != nil {
		if mpirun, err = exec.LookPath("mpirun"); err != nil {
			return fmt.Errorf("needs Open MPI's mpirun: %w", err)
		}
	}
	if text, _ := exec.Command(mpirun, "--version").CombinedOutput(); !bytes.Contains(text, []byte("Open")) {
		return fmt.Errorf("%s is not Open MPI's", mpirun)
	}
	for _, v := range [][2]string{
		{"RINGGRAD_NETNS", prefix}, {"RINGGRAD_KEEPALIVE", "1 1 2"}, {"RINGGRAD_GRACE", "30"},
		{"RINGGRAD_MPIRUN", mpirun}, {"RINGGRAD_RSH", filepath.Join(l.root, "deploy/netns/rsh")},
		{"OMPI_ALLOW_RUN_AS_ROOT", "1"}, {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
		{"PRTE_ALLOW_RUN_AS_ROOT", "1"}, {"PRTE_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
	} {
		if err := os.Setenv(v[0], v[1]); err != nil {
			return err
		}
	}
	return os.Unsetenv("RINGGRAD_NETNS_DIR")
}

func (l *laboratory) down() {
	if l.hostfile != "" {
		_, _ = l.script("netns/down")
	}
}

// build compiles the program with tags, separated by commas.
func (l *laboratory) build(path, tags string) error {
	cmd := exec.Command("go", "build", "-tags", tags, "-o", path, "./cmd/train")
	cmd.Dir = l.root
	cgo := "0"
	if strings.Contains(tags, "mpi") {
		cgo = "1"
	}
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("the program cannot be built with the tags %q: %w\n%s", tags, err, text)
	}
	return nil
}

// script runs a script of deploy/ and returns what it prints.
func (l *laboratory) script(name string, args ...string) (string, error) {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(l.root, "deploy", name), args...)
	cmd.Stderr = &said
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(said.String()))
	}
	return string(text), nil
}

// do is script for what must succeed.
func (l *laboratory) do(t *testing.T, name string, args ...string) {
	t.Helper()
	if _, err := l.script(name, args...); err != nil {
		t.Fatal(err)
	}
}

// host is the name of host i, from 1.
func host(i int) string { return fmt.Sprint(prefix, i) }
