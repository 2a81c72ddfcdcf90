//go:build mpi && cgo

package mpi

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ringgrad/ringgrad/dist"
)

// computing keeps all of GOMAXPROCS busy until the function it gives is called.
func computing() (stop func()) {
	var done atomic.Bool
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for x := 1.0; !done.Load(); x = x*1.0001 + 1/x {
			}
		})
	}
	return func() { done.Store(true); all.Wait() }
}

// The sender of a big message computes on all processors, and sends a small one when it has finished: that one must come second.
func TestBigMessagesMoveWhileTheirSenderComputes(t *testing.T) {
	const n = 16 << 20
	e := inside(t, 2)
	if e.Rank() == 0 {
		meet(t, e)
		big := e.Isend(bytes.Repeat([]byte{7}, n), 1, 1)
		stop := computing()
		time.Sleep(2 * time.Second)
		wait(t, e.Isend([]byte{1}, 1, 2))
		stop()
		wait(t, big)
		return
	}
	big, finished := e.Irecv(make([]byte, n), 0, 1), e.Irecv(make([]byte, 1), 0, 2).(*transfer)
	meet(t, e)
	wait(t, big)
	select {
	case <-finished.done:
		t.Error("the big message came after the sender had finished to compute: MPI does not move data meanwhile")
	default:
	}
	wait(t, finished)
}

// Buffers are Go's, nobody but MPI holds them, and the collector runs all the time.
func TestBuffersAreSafeFromTheCollector(t *testing.T) {
	const rounds, n = 50, 200_000
	e := inside(t, 2)
	done := make(chan struct{})
	var collector sync.WaitGroup
	collector.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				runtime.GC()
			}
		}
	})
	peer := 1 - e.Rank()
	for round := range rounds {
		b := make([]byte, n)
		in := e.Irecv(b, peer, 1)
		out := e.Isend(bytes.Repeat([]byte{byte(round)}, n), peer, 1)
		garbage := make([][]byte, 20)
		for i := range garbage {
			garbage[i] = bytes.Repeat([]byte{255}, n)
		}
		wait(t, in, out)
		if want := bytes.Repeat([]byte{byte(round)}, n); !bytes.Equal(b, want) {
			t.Fatalf("round %d: bytes were changed", round)
		}
		runtime.KeepAlive(garbage)
	}
	close(done)
	collector.Wait()
}

// processor is the time that this process has had on processors.
func processor(t testing.TB) time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		t.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func TestWaitingForALatePeerLeavesTheProcessorToOthers(t *testing.T) {
	const late = 2 * time.Second
	e := inside(t, 2)
	if e.Rank() == 1 {
		meet(t, e)
		time.Sleep(late)
		wait(t, e.Isend(nil, 0, 1))
		return
	}
	h := e.Irecv(nil, 1, 1)
	meet(t, e)
	before := processor(t)
	wait(t, h)
	if used := processor(t) - before; used > late/4 {
		t.Errorf("%v of processor time to wait for %v", used, late)
	} else {
		t.Logf("%v of processor time to wait for %v", used, late)
	}
}

// hugeVariable says that there is time and memory for the test of more bytes than an int of C counts.
const hugeVariable = "RINGGRAD_MPI_HUGE"

func TestMoreBytesThanAnIntCounts(t *testing.T) {
	const n = 1<<31 + 1<<20 + 1
	e := inside(t, 2)
	if os.Getenv(hugeVariable) != "1" {
		t.Skipf("SKIPPED: moves %d bytes; set %s=1 to run it", n, hugeVariable)
	}
	if free := available(); free < 3*n {
		t.Skipf("SKIPPED: %d MiB of memory are available, %d are needed", free>>20, 3*n>>20)
	}
	b := make([]byte, n)
	if e.Rank() == 0 {
		for i := range b {
			b[i] = byte(i % 251)
		}
		wait(t, e.Isend(b, 1, 1))
		return
	}
	start := time.Now()
	wait(t, e.Irecv(b, 0, 1))
	t.Logf("%d bytes in %v", n, time.Since(start))
	for i := range b {
		if b[i] != byte(i%251) {
			t.Fatalf("byte %d is %d", i, b[i])
		}
	}
}

// available is MemAvailable in bytes, 0 where the system does not say.
func available() int {
	text, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "MemAvailable:" {
			kib, _ := strconv.Atoi(fields[1])
			return kib << 10
		}
	}
	return 0
}

// BenchmarkExchange is one hop between two processes, both directions at once. Both must do the same number of hops.
func BenchmarkExchange(b *testing.B) {
	if job != nil && !strings.HasSuffix(flag.Lookup("test.benchtime").Value.String(), "x") {
		b.Skip("SKIPPED: give the number of hops, as -test.benchtime=200x")
	}
	for _, n := range []int{0, 1 << 10, 64 << 10, 1 << 20, 16 << 20} {
		b.Run(fmt.Sprintf("bytes=%d", n), func(b *testing.B) {
			e := inside(b, 2)
			out, in := make([]byte, n), make([]byte, n)
			peer := 1 - e.Rank()
			b.SetBytes(int64(n))
			for range b.N {
				hs := []dist.Handle{e.Irecv(in, peer, 1), e.Isend(out, peer, 1)}
				wait(b, hs...)
			}
		})
	}
}
