//go:build ringcuda && cgo

package nccl

// A message is cut into chunks, as many of which are under way at a time as there are slots: while one crosses the link, the next is
// copied to the device, or the one before from it.
const (
	chunk = 4 << 20 // bytes
	depth = 2
)

// copy moves the bytes of a message.
func (p *porter) copy(t *transfer, c communicator) error {
	chunks := (len(t.b) + chunk - 1) / chunk
	part := func(i int) []byte { return t.b[i*chunk : min((i+1)*chunk, len(t.b))] }
	for i := range chunks + depth {
		at := &p.slots[i%depth]
		if i >= depth {
			if err := p.await(at, c, t.p); err != nil {
				return err
			}
			if b := part(i - depth); !t.sending {
				copy(b, at.bytes(len(b)))
			}
		}
		if i < chunks {
			if err := p.start(at, part(i), t, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// start puts the work on one chunk into the stream. What follows a call of NCCL has to wait until that call is in the stream.
func (p *porter) start(at *slot, b []byte, t *transfer, c communicator) error {
	if t.sending {
		copy(at.bytes(len(b)), b)
		if err := p.stream.upload(at, len(b)); err != nil {
			return err
		}
		if err := c.send(at, len(b), p.stream); err != nil {
			return err
		}
		if err := p.settle(c, t.p); err != nil {
			return err
		}
		return p.stream.mark(at)
	}
	if err := c.receive(at, len(b), p.stream); err != nil {
		return err
	}
	if err := p.settle(c, t.p); err != nil {
		return err
	}
	if err := p.stream.download(at, len(b)); err != nil {
		return err
	}
	return p.stream.mark(at)
}

// settle waits until the host's part of the last call on a communicator is done.
func (p *porter) settle(c communicator, with *peer) error {
	for w := (wait{}); ; w.pause() {
		if settled, err := c.settled(); settled || err != nil {
			return err
		}
		if err := p.interruption(with); err != nil {
			return err
		}
	}
}

// await waits until the work on a slot is done.
func (p *porter) await(at *slot, c communicator, with *peer) error {
	for w := (wait{}); ; w.pause() {
		if reached, err := p.stream.reached(at); reached || err != nil {
			return err
		}
		if _, err := c.settled(); err != nil {
			return err
		}
		if err := p.interruption(with); err != nil {
			return err
		}
	}
}
