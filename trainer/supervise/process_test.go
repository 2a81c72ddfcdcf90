//go:build unix

package supervise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain is also every other program of these tests: `TEST play ROLE FOLDER`.
func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == "play" {
		roles[os.Args[2]](os.Args[3])
		return
	}
	os.Exit(m.Run())
}

var roles map[string]func(dir string)

func init() { // not where it is declared, since a role starts others
	roles = map[string]func(string){
		"crasher": crasher, "trainer": trainer, "deaf": deaf, "sleeper": sleeper, "launcher": launcher, "supervisor": supervisor,
	}
}

// play is the command line of a role.
func play(role, dir string) []string { return []string{os.Args[0], "play", role, dir} }

// crasher saves step 5 and crashes, leaving a process behind; the next time all is well.
func crasher(dir string) {
	if os.Mkdir(filepath.Join(dir, "checkpoint-5"), 0o755) != nil {
		fmt.Println("done")
		return
	}
	cmd := exec.Command(os.Args[0], play("sleeper", dir)[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	_ = cmd.Start()
	fmt.Fprintln(os.Stderr, "[1,0]<stderr>:train: rank 1 is lost")
	fmt.Fprintln(os.Stderr, "-----")
	os.Exit(1)
}

// trainer saves when it is asked to end, as train does.
func trainer(dir string) {
	asked := make(chan os.Signal, 2)
	signal.Notify(asked, syscall.SIGUSR1, syscall.SIGTERM)
	tell(dir, "trainer")
	<-asked
	signal.Stop(asked)
	signal.Ignore(syscall.SIGPIPE)
	time.Sleep(100 * time.Millisecond) // the step; a second signal would be the end
	_ = os.Mkdir(filepath.Join(dir, "checkpoint-7"), 0o755)
	os.Exit(130)
}

// deaf does not end when it is asked to.
func deaf(dir string) {
	signal.Ignore(syscall.SIGUSR1, syscall.SIGTERM)
	tell(dir, "deaf")
	time.Sleep(time.Minute)
}

func sleeper(dir string) {
	tell(dir, "sleeper")
	time.Sleep(time.Minute)
}

// launcher has a rank in its own group and one in another, as launchers do, which is stopped.
func launcher(dir string) {
	_ = exec.Command(os.Args[0], play("sleeper", dir)[1:]...).Start()
	rank := exec.Command(os.Args[0], play("deaf", dir)[1:]...)
	rank.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	_ = rank.Start()
	for !exists(filepath.Join(dir, "deaf.pid")) || !exists(filepath.Join(dir, "sleeper.pid")) {
		time.Sleep(time.Millisecond)
	}
	_ = rank.Process.Signal(syscall.SIGSTOP)
	trainer(dir)
}

// supervisor is a process that supervises a trainer.
func supervisor(dir string) {
	s, err := New(Config{Command: play("trainer", dir), OutputDir: dir})
	if err == nil {
		_, err = s.Run(context.Background())
	}
	fmt.Println(err)
}

// tell writes the number of a process where the test finds it.
func tell(dir, role string) {
	path := filepath.Join(dir, role+".pid")
	_ = os.WriteFile(path+".tmp", []byte(strconv.Itoa(os.Getpid())), 0o644)
	_ = os.Rename(path+".tmp", path)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// pidOf waits for a role to have begun.
func pidOf(t *testing.T, dir, role string) int {
	t.Helper()
	path := filepath.Join(dir, role+".pid")
	within(t, role+" begins", func() bool { return exists(path) })
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func within(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// gone reports whether a process has ended; one that nobody has asked about counts.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(text), ") Z ")
}

func wantGone(t *testing.T, dir string, roles ...string) {
	t.Helper()
	for _, role := range roles {
		if pid := pidOf(t, dir, role); !gone(pid) {
			t.Errorf("%s is left: process %d", role, pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func supervised(t *testing.T, c Config) (*Supervisor, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	c.Stdout = &out
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s, &out
}

func TestACommandThatCrashesIsRunAgain(t *testing.T) {
	dir := t.TempDir()
	var notes []string
	s, out := supervised(t, Config{Command: play("crasher", dir), OutputDir: dir, MaxRestarts: 1, Note: func(line string) { notes = append(notes, line) }})
	report, err := s.Run(t.Context())
	if err != nil {
		t.Fatalf("%v: %q", err, notes)
	}
	wantStarts(t, report, Start{Status: 1, ToStep: 5}, Start{FromStep: 5, ToStep: 5})
	if out.String() != "done\n" {
		t.Errorf("stdout is %q", out)
	}
	wantGone(t, dir, "sleeper")
}

func TestTheLastWordsOfACommandAreToldWhenItEnds(t *testing.T) {
	dir := t.TempDir()
	s, _ := supervised(t, Config{Command: play("crasher", dir), OutputDir: dir})
	report, err := s.Run(t.Context())
	if want := "no restarts are allowed, and the newest checkpoint is that of step 5; the command ended with exit status 1: train: rank 1 is lost"; err == nil || report.Reason != want {
		t.Errorf("%v, want %q", err, want)
	}
	wantGone(t, dir, "sleeper")
}

func TestACommandThatDoesNotExistIsRefused(t *testing.T) {
	s, _ := supervised(t, Config{Command: []string{"no-such-launcher"}, OutputDir: t.TempDir(), MaxRestarts: 5})
	report, err := s.Run(t.Context())
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "no-such-launcher") || len(report.Starts) != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestAnInterruptLetsTheCommandSaveAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s, _ := supervised(t, Config{Command: play("launcher", dir), OutputDir: dir, MaxRestarts: 5})
	go func() {
		pidOf(t, dir, "trainer")
		s.Interrupt()
	}()
	report, err := s.Run(t.Context())
	if !errors.Is(err, ErrInterrupted) {
		t.Error(err)
	}
	wantStarts(t, report, Start{Status: 130, ToStep: 7})
	wantGone(t, dir, "trainer", "sleeper")
	if runtime.GOOS == "linux" { // it left the group, and it is stopped
		wantGone(t, dir, "deaf")
	} else {
		_ = syscall.Kill(pidOf(t, dir, "deaf"), syscall.SIGKILL)
	}
}

func TestWhatDoesNotEndIsKilled(t *testing.T) {
	for name, c := range map[string]struct {
		limit   time.Duration
		signals int
	}{"after its time": {50 * time.Millisecond, 1}, "by the second signal": {time.Minute, 2}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, _ := supervised(t, Config{Command: play("deaf", dir), OutputDir: dir, MaxRestarts: 5, KillAfter: c.limit})
			go func() {
				pidOf(t, dir, "deaf")
				for range c.signals {
					s.Interrupt()
				}
			}()
			report, err := s.Run(t.Context())
			if !errors.Is(err, ErrInterrupted) {
				t.Error(err)
			}
			wantStarts(t, report, Start{Status: 137})
			wantGone(t, dir, "deaf")
		})
	}
}

func TestHostsThatHangOrRefuseAreLeftOut(t *testing.T) {
	dir := t.TempDir()
	probe := write(t, "probe", `#!/bin/sh
case $1 in
hangs) sleep 60 & echo $! > $2.tmp; mv $2.tmp $2; wait ;;
refuses) printf 'banner\nPermission denied\n' >&2; exit 255 ;;
esac
`)
	if err := os.Chmod(probe, 0o755); err != nil {
		t.Fatal(err)
	}
	s, out := supervised(t, Config{
		Command: []string{"cat", HostfilePlace}, OutputDir: dir, MinHosts: 2, ProbeTimeout: time.Second,
		Hosts: []Host{{Name: "hangs"}, {Name: "a"}, {Name: "refuses"}, {Name: "b", Slots: 3}}, Probe: probe + " {host} " + filepath.Join(dir, "sleeper.pid"),
	})
	began := time.Now()
	report, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantStarts(t, report, Start{Hosts: []string{"a", "b"}})
	if out.String() != "a\nb slots=3\n" || time.Since(began) > 10*time.Second {
		t.Errorf("%q after %v", out, time.Since(began))
	}
	pid := pidOf(t, dir, "sleeper") // the probe's own child
	within(t, "the probe's child ends", func() bool { return gone(pid) })

	s.MinHosts = 3
	_, err = s.Run(t.Context())
	for _, part := range []string{"hangs (no answer within 1s)", "refuses (exit 255: Permission denied)"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
}

func TestAKilledSupervisorTakesTheCommandWithIt(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: only Linux tells a process of its parent's death")
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], play("supervisor", dir)[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := pidOf(t, dir, "trainer")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // "signal: killed"
	within(t, "the command ends", func() bool { return gone(pid) })
}
