package sim

import (
	"sync"
	"testing"
	"time"
)

// TestDevicesWorkAtTheSameTime: work of two devices, each waited for by its goroutine, runs outside the lock. Each work here goes on only
// when the other has begun.
func TestDevicesWorkAtTheSameTime(t *testing.T) {
	devices, err := New(Config{Devices: 2})
	if err != nil {
		t.Fatal(err)
	}
	begun := make(chan struct{}, 2)
	both := make(chan struct{})
	go func() {
		<-begun
		<-begun
		close(both)
	}()
	var group sync.WaitGroup
	for _, d := range devices {
		unbind, err := d.Bind()
		if err != nil {
			t.Fatal(err)
		}
		defer unbind()
		stream, err := d.NewStream()
		if err != nil {
			t.Fatal(err)
		}
		s := stream.(*Stream)
		meeting := func() (moment, error) {
			begun <- struct{}{}
			select {
			case <-both:
			case <-time.After(10 * time.Second):
				t.Error("the work of the other device waits for this one's")
			}
			return 0, nil
		}
		err = s.locked(func() error {
			s.queue = append(s.queue, &operation{what: "meeting", run: meeting})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			if err := s.Synchronize(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}
