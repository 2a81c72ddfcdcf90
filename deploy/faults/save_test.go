//go:build mpi

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringgrad/ringgrad/trainer/checkpoint"
)

func TestAKillWhileACheckpointIsWrittenLeavesThePreviousOneInUse(t *testing.T) {
	r := newTraining(t)
	j := r.lab.start(t, r.supervised(hostCount))
	j.inStep(r, 6)
	before := j.killSaving(r)
	j.restarted(1)
	if !strings.Contains(j.said(), fmt.Sprintf("at step %d; restart 1", before.Step)) {
		t.Errorf("the supervisor does not see the checkpoint of step %d as the newest", before.Step)
	}
	if err := checkpoint.Verify(before.Path); err != nil {
		t.Error(err)
	}
	if status, _ := j.ends(slow); status != 0 {
		t.Fatalf("status %d", status)
	}
	if r.outcome(t).weights != r.undisturbed(t).weights {
		t.Error("the weights differ from an undisturbed run's")
	}
	if left := r.unfinished(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	t.Logf("kill -9 of rank 0 while it wrote a checkpoint: resumed from that of step %d, which was whole; same bits", before.Step)
}

// killSaving kills rank 0 in the middle of a save, and returns the newest checkpoint then. A save takes milliseconds: it is stopped
// first, and goes on if it was over.
func (j *job) killSaving(r training) checkpoint.Entry {
	j.t.Helper()
	var newest checkpoint.Entry
	j.until("a save could be killed", func() bool {
		if len(r.unfinished()) == 0 {
			return false
		}
		for _, p := range r.lab.processes(func(p process) bool { return p.host == 1 && isRank(p) }) {
			p.send(syscall.SIGSTOP)
			time.Sleep(5 * time.Millisecond) // until it stands still
			if newest, _ = checkpoint.Latest(r.out); len(r.unfinished()) > 0 && newest.Step > 0 {
				p.send(syscall.SIGKILL)
				return true
			}
			p.send(syscall.SIGCONT)
		}
		return false
	})
	return newest
}

// onHost is a command of ranks that does something on one host before it becomes the rank; there, mounts are the rank's own.
func (r training) onHost(i int, script string, rank []string) []string {
	text := fmt.Sprintf("set -e; if [ $(hostname) = %s ]; then %s; fi; exec \"$0\" \"$@\"", host(i), script)
	return append([]string{"bash", "-c", text}, rank...)
}

// Of two rings the second one's first rank, on host 3, writes its share of the optimizer's state into the checkpoint. There, all that is
// written to output_dir goes to a disk of 48 KiB.
func TestADiskThatIsFullOnOneHostEndsTheRunWithTheReason(t *testing.T) {
	r := newTraining(t, "data_parallel_size=2", "context_parallel_size=2", "zero_stage=1", "max_steps=20")
	j := r.lab.start(t, r.mpirun())
	j.inStep(r, 6)
	j.send(syscall.SIGTERM) // which saves
	j.ends(slow)
	last := r.lastStep(t)
	small, rank := r.ownDisk(t, "48k"), r.command("--resume", "latest")
	began := time.Now()
	said := r.lab.must(t, 1, r.mpirun(r.onHost(3, small, rank)...))
	took := time.Since(began)
	r.refusedSave(t, said, "on "+host(3)+":", last)
	r.lab.must(t, 0, r.mpirun(rank...))
	if r.outcome(t).weights != r.undisturbed(t).weights {
		t.Error("the weights differ from an undisturbed run's")
	}
	t.Logf("disk full on the host of one share: exit 1 after %.1f s, the reason once; checkpoint %d is whole, and resumed gives the same bits", took.Seconds(), last)
}

// ownDisk mounts a disk, and makes all that the host writes to output_dir go there, where no other host sees it.
func (r training) ownDisk(t *testing.T, size string) (script string) {
	t.Helper()
	disk := filepath.Join(filepath.Dir(r.out), "disk")
	if err := os.MkdirAll(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	script = fmt.Sprintf("mount -t tmpfs -o size=%s none %s && mkdir %[2]s/up %[2]s/work && mount -t overlay overlay -o lowerdir=%[3]s,upperdir=%[2]s/up,workdir=%[2]s/work %[3]s", size, disk, r.out)
	if text, err := r.lab.script("netns/on", host(3), script); err != nil {
		t.Skipf("SKIPPED: a disk of one host takes overlay mounts: %v %s", err, text)
	}
	return script
}

// Nothing fails on that host, but its share is not where the others are.
func TestAShareThatIsElsewhereEndsTheRunBeforeTheCheckpointAppears(t *testing.T) {
	r := newTraining(t, "data_parallel_size=2", "context_parallel_size=2", "zero_stage=1", "max_steps=20")
	if err := os.Mkdir(r.out, 0o755); err != nil {
		t.Fatal(err)
	}
	said := r.lab.must(t, 1, r.mpirun(r.onHost(3, r.ownDisk(t, "8m"), r.command())...))
	if strings.Count(said, "train: ") != 1 || !strings.Contains(said, "optimizer-00002-of-00002.safetensors, which another process has written, is not to be seen here") {
		t.Errorf("the share is not named, or more than once:\n%s", said)
	}
	if list, err := checkpoint.List(r.out); err != nil || len(list) > 0 || len(r.unfinished()) > 0 {
		t.Errorf("checkpoints %v (%v), unfinished %v", list, err, r.unfinished())
	}
	t.Log("output_dir of one host is not the others': exit 1 at the first checkpoint, the reason once, nothing left")
}

// refusedSave checks a run that could not save: the reason is told once, and the checkpoint before is whole and the newest.
func (r training) refusedSave(t *testing.T, said, reason string, step int) {
	t.Helper()
	if n := strings.Count(said, "train: "); n != 1 || !strings.Contains(said, "no space left on device") || !strings.Contains(said, reason) {
		t.Errorf("%d errors are told, want one with %q and the full disk:\n%s", n, reason, said)
	}
	list := r.wholeCheckpoints(t)
	if len(list) == 0 || list[len(list)-1].Step != step {
		t.Errorf("checkpoints %v, want that of step %d as the newest", list, step)
	}
	if left := r.unfinished(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The disk of output_dir takes one checkpoint and a half.
func TestAFullDiskEndsTheRunWithTheReason(t *testing.T) {
	r := newTraining(t)
	if err := os.Mkdir(r.out, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", r.out, "tmpfs", 0, "size=1700k"); err != nil {
		t.Skipf("SKIPPED: a small disk takes the right to mount: %v", err)
	}
	defer func() { _ = syscall.Unmount(r.out, syscall.MNT_DETACH) }()
	said := r.lab.must(t, 1, r.mpirun())
	r.refusedSave(t, said, "checkpoint-5 is whole", 5)
	if err := syscall.Mount("none", r.out, "tmpfs", syscall.MS_REMOUNT, "size=20m"); err != nil {
		t.Fatal(err)
	}
	r.lab.must(t, 0, r.mpirun(r.command("--resume", "latest")...))
	if r.outcome(t).weights != r.undisturbed(t).weights {
		t.Error("the weights differ from an undisturbed run's")
	}
	t.Log("disk full: exit 1, the reason once, the checkpoint before it whole and resumed with room: same bits")
}
