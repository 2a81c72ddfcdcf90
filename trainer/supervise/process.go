package supervise

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"time"
)

// markName is the variable by which a job's processes are known, wherever they are in the tree.
const markName = "RINGGRAD_SUPERVISED"

// marks numbers the jobs of this process.
var marks atomic.Int64

// process is a job: a command in a process group of its own, which it leads.
type process struct {
	cmd   *exec.Cmd
	mark  string // NAME=value in the environment of all its processes
	words *words
	ended chan ending
}

// startProcess starts the command without stdin: a group in the background that reads a terminal would be stopped.
func (c Config) startProcess(command []string) (job, error) {
	p := &process{
		cmd:   exec.Command(command[0], command[1:]...),
		mark:  fmt.Sprintf("%s=%d-%d-%d", markName, os.Getpid(), time.Now().UnixNano(), marks.Add(1)),
		words: &words{to: c.Stderr},
		ended: make(chan ending, 1),
	}
	p.cmd.Env = append(os.Environ(), p.mark)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.WaitDelay = c.Stdout, p.words, drain
	ownGroup(p.cmd)
	endWithUs(p.cmd)
	started := make(chan error)
	go p.live(started)
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// live is the life of the command. It has a thread to itself, since endWithUs means the thread that started the command.
func (p *process) live(started chan<- error) {
	runtime.LockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	_ = p.cmd.Wait() // the state tells all that matters
	p.clear()
	state := p.cmd.ProcessState
	p.ended <- ending{status: statusOf(state), text: state.String(), last: p.words.last()}
}

func (p *process) done() <-chan ending { return p.ended }

func (p *process) signal(name string) { signalLeader(p.cmd.Process, name) }

func (p *process) kill() { _ = killGroup(p.cmd.Process) }

// clearing is how long killed processes are waited for; those in the middle of I/O may take longer, and nothing can be done.
const clearing = 2 * time.Second

// clear kills what is left of the job once its leader has ended, and waits until it is gone.
func (p *process) clear() {
	for limit := time.Now().Add(clearing); time.Now().Before(limit); time.Sleep(5 * time.Millisecond) {
		if !killRest(p.cmd.Process, p.mark) {
			return
		}
	}
}
