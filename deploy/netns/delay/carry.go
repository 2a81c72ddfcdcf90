//go:build linux

package main

import (
	"io"
	"time"
)

// frame is one that waits for its time.
type frame struct {
	due  time.Time
	data []byte
}

// carry writes to out, in order, what it reads from in, each frame when wait has passed since it came. It ends with in's error.
// A frame that out refuses is lost, as on a wire: the device may be down.
func carry(in io.Reader, out io.Writer, wait time.Duration) error {
	frames := make(chan frame, queue)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for f := range frames {
			time.Sleep(time.Until(f.due))
			_, _ = out.Write(f.data)
		}
	}()
	defer func() { close(frames); <-done }()
	buffer := make([]byte, frameBytes)
	for {
		n, err := in.Read(buffer)
		if err != nil {
			return err
		}
		select {
		case frames <- frame{time.Now().Add(wait), append([]byte(nil), buffer[:n]...)}:
		default: // the queue is full
		}
	}
}
