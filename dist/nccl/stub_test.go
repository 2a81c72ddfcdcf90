//go:build ringcuda && cgo

package nccl

import (
	"strings"
	"testing"
	"unsafe"
)

// pair makes a communicator between devices 0 and 1 in one thread, by the calls that the engine uses.
func pair(t *testing.T) (l *library, d [2]*device, s [2]stream, c [2]communicator, at [2]slot) {
	t.Helper()
	l, err := openLibrary(libraries.Path)
	id, err2 := l.uniqueID()
	errs := []error{err, err2}
	for i := range 2 {
		d[i], err = openDevice(i)
		errs = append(errs, err, d[i].bind())
		s[i], err = d[i].newStream()
		errs = append(errs, err)
		at[i], err = d[i].newSlot(64)
		errs = append(errs, err)
		c[i], err = l.begin(id, i)
		errs = append(errs, err)
	}
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for i := range 2 {
			_ = d[i].bind()
			_ = c[i].abort()
			for idle := false; !idle; idle, _ = s[i].idle() {
			}
			_ = d[i].free(at[i])
			_ = s[i].destroy()
			_ = d[i].close()
		}
		libraries.Reset(0)
	})
	return l, d, s, c, at
}

// TestTheStubSeesMisuse, else what the other tests show is worth little.
func TestTheStubSeesMisuse(t *testing.T) {
	ready := func(d *device, c communicator) {
		_ = d.bind()
		for ok := false; !ok; ok, _ = c.settled() {
		}
	}
	for want, misuse := range map[string]func(d [2]*device, s [2]stream, c [2]communicator, at [2]slot){
		"ncclSend before the call ahead of it was done": func(d [2]*device, s [2]stream, c [2]communicator, at [2]slot) {
			_ = d[1].bind()
			_ = c[1].send(&at[1], 8, s[1])
		},
		"ncclSend in a thread with another device": func(d [2]*device, s [2]stream, c [2]communicator, at [2]slot) {
			ready(d[1], c[1])
			_ = d[0].bind()
			_ = c[1].send(&at[1], 8, s[1])
		},
		"ncclCommGetAsyncError on a communicator that was aborted": func(d [2]*device, _ [2]stream, c [2]communicator, _ [2]slot) {
			_ = d[0].bind()
			_ = c[0].abort()
			_, _ = c[0].settled()
		},
		"8 bytes meet a receive of 16": func(d [2]*device, s [2]stream, c [2]communicator, at [2]slot) {
			ready(d[1], c[1])
			_ = c[1].send(&at[1], 8, s[1])
			ready(d[1], c[1])
			ready(d[0], c[0])
			_ = c[0].receive(&at[0], 16, s[0])
			ready(d[0], c[0])
			for idle := false; !idle; idle, _ = s[0].idle() {
			}
		},
		"65 bytes are not in memory of the device": func(d [2]*device, s [2]stream, c [2]communicator, at [2]slot) {
			ready(d[0], c[0])
			_ = c[0].receive(&at[0], 65, s[0])
		},
		"in memory of the host that is page-locked": func(d [2]*device, s [2]stream, _ [2]communicator, at [2]slot) {
			_ = d[0].bind()
			_ = s[0].upload(&slot{host: unsafe.Pointer(new([8]byte)), dev: at[0].dev}, 8)
		},
		"work is put into a stream before the message ahead of it has begun": func(d [2]*device, s [2]stream, c [2]communicator, at [2]slot) {
			ready(d[0], c[0])
			for range 20 { // the stub begins half of the messages at once
				_ = c[0].receive(&at[0], 8, s[0])
				_ = s[0].mark(&at[0])
				ready(d[0], c[0])
			}
		},
	} {
		t.Run(want, func(t *testing.T) {
			_, d, s, c, at := pair(t)
			misuse(d, s, c, at)
			if wrong := libraries.Reset(0); !strings.Contains(wrong, want) {
				t.Errorf("the stub saw %q", wrong)
			}
		})
	}
}
