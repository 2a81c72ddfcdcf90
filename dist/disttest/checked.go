package disttest

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/ringgrad/ringgrad/dist"
)

// Checked appends a checksum (CRC-32C) to every message of an engine and compares it on arrival: a changed message gives
// dist.ErrCorrupt. All ranks must be checked. Messages are copied, so it does not lend.
func Checked(e dist.Engine) dist.Engine { return &checked{Engine: e} }

var _ dist.Wrapper = (*checked)(nil)

type checked struct{ dist.Engine }

const sumSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Unwrap gives the engine inside.
func (c *checked) Unwrap() dist.Engine { return c.Engine }

// Isend sends b and its sum.
func (c *checked) Isend(b []byte, to, tag int) dist.Handle {
	framed := append(make([]byte, 0, len(b)+sumSize), b...)
	return c.Engine.Isend(binary.LittleEndian.AppendUint32(framed, crc32.Checksum(b, castagnoli)), to, tag)
}

// Irecv receives into b and compares.
func (c *checked) Irecv(b []byte, from, tag int) dist.Handle {
	framed := make([]byte, len(b)+sumSize)
	return &checkedReceive{handle: c.Engine.Irecv(framed, from, tag), framed: framed, b: b}
}

type checkedReceive struct {
	handle    dist.Handle
	framed, b []byte
}

// Wait ends when the message is there and whole.
func (r *checkedReceive) Wait(ctx context.Context) error {
	if err := r.handle.Wait(ctx); err != nil {
		return err
	}
	body := r.framed[:len(r.b)]
	got, want := crc32.Checksum(body, castagnoli), binary.LittleEndian.Uint32(r.framed[len(r.b):])
	if got != want {
		return fmt.Errorf("%w: checksum %08x, want %08x", dist.ErrCorrupt, got, want)
	}
	copy(r.b, body)
	return nil
}
