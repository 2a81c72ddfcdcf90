package cuda

import (
	"errors"
	"fmt"
	"sync"

	"github.com/ringgrad/ringgrad/ops/internal/device"
)

// lanes keeps streams, events, and host memory that copies may use, for whoever needs some for a while.
type lanes struct {
	dev     device.Device
	mu      sync.Mutex
	streams []device.Stream
	events  []device.Event
	pinned  map[int][][]byte // by size class
}

func newLanes(dev device.Device) *lanes { return &lanes{dev: dev, pinned: map[int][][]byte{}} }

func (l *lanes) stream() (device.Stream, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.streams); n > 0 {
		s := l.streams[n-1]
		l.streams = l.streams[:n-1]
		return s, nil
	}
	s, err := l.dev.NewStream()
	if err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	return s, nil
}

func (l *lanes) giveStream(s device.Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams = append(l.streams, s)
}

// memory is pinned memory of so many bytes.
func (l *lanes) memory(bytes int) ([]byte, error) {
	size := class(bytes)
	l.mu.Lock()
	defer l.mu.Unlock()
	if list := l.pinned[size]; len(list) > 0 {
		l.pinned[size] = list[:len(list)-1]
		return list[len(list)-1][:bytes], nil
	}
	b, err := l.dev.Pinned(size)
	if err != nil {
		return nil, fmt.Errorf("cuda: %d bytes of pinned memory: %w", size, err)
	}
	return b[:bytes], nil
}

// giveMemory takes what memory gave.
func (l *lanes) giveMemory(pieces ...[]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range pieces {
		size := class(len(b))
		l.pinned[size] = append(l.pinned[size], b[:size])
	}
}

func (l *lanes) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, s := range l.streams {
		errs = append(errs, s.Destroy())
	}
	for _, e := range l.events {
		errs = append(errs, e.Destroy())
	}
	for _, list := range l.pinned {
		for _, b := range list {
			errs = append(errs, l.dev.FreePinned(b))
		}
	}
	l.streams, l.events = nil, nil
	clear(l.pinned)
	return errors.Join(errs...)
}
