package devicetest

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device"
)

func copiesAndFillsMoveBytes(t *testing.T, b Backend) {
	d := open(t, b, Options{})
	s := d.stream()
	host := d.pin(64)
	for i := range host {
		host[i] = byte(i)
	}
	p, q := d.alloc(64), d.alloc(64)
	d.ok(s.ToDevice(p, host))
	d.ok(s.Fill(q, 0x01020304, 16))
	d.ok(s.Copy(q+8, p+1, 23)) // nothing is aligned
	d.ok(s.ToDevice(q, host[60:60]))
	back := d.pin(64)
	d.ok(s.ToHost(back[:40], q))
	d.ok(s.Synchronize())
	want := bytes.Repeat([]byte{4, 3, 2, 1}, 10)
	copy(want[8:], host[1:24])
	if !bytes.Equal(back[:40], want) {
		t.Errorf("after fill and copy the device holds\n%v: want\n%v", back[:40], want)
	}
}

func newMemoryIsPoisoned(t *testing.T, b Backend) {
	if !b.Lazy {
		t.Skip("the backend leaves memory as it is")
	}
	d := open(t, b, Options{})
	if got := d.download(d.stream(), d.alloc(4), 1); got[0] == got[0] { //nolint:staticcheck // only a NaN differs from itself
		t.Errorf("new memory holds %v: want a NaN", got[0])
	}
}

func mistakesWithMemoryAreNamed(t *testing.T, b Backend) {
	d := open(t, b, Options{})
	s := d.stream()
	p, gone, host := d.alloc(64), d.alloc(64), d.pin(128)
	freedHost := d.pin(64)
	d.ok(d.Free(gone))
	d.ok(d.FreePinned(freedHost))
	for what, err := range map[string]error{
		"past the end":   s.ToDevice(p+1, host[:64]),
		"freed":          s.ToHost(host[:64], gone),
		"Free":           d.Free(p + 8),
		"pinned":         s.ToDevice(p, make([]byte, 8)),
		"not pinned":     s.ToHost(freedHost[:8], p),
		"no block":       d.FreePinned(host[1:]),
		"of 65 bytes":    s.Copy(p, p+128, 65),
		"of 68 bytes":    s.Fill(p, 0, 17),
		"want at least ": func() error { _, err := d.Alloc(0); return err }(),
	} {
		if err == nil {
			t.Errorf("no error that says %q", what)
		} else if b.Checked && !strings.Contains(err.Error(), what) && what != "past the end" && what != "freed" {
			t.Errorf("error %q does not say %q", err, what)
		} else if errors.Is(err, device.ErrLost) {
			t.Errorf("error %q loses the device", err)
		}
	}
	d.ok(s.ToDevice(p, host[:64]))
	d.ok(s.Synchronize())
}

func outOfMemoryHasNumbers(t *testing.T, b Backend) {
	d := open(t, b, Options{Memory: 1 << 20})
	total := d.Info().Memory
	_, err := d.Alloc(int(2 * total))
	var full *device.OutOfMemory
	if !errors.As(err, &full) {
		t.Fatalf("an allocation of twice the memory gives %v: want *device.OutOfMemory", err)
	}
	if full.Bytes != 2*total || full.Total <= 0 || full.Free > full.Total || !strings.Contains(full.Device, d.Info().Name) {
		t.Errorf("the error is %+v: want %d bytes asked for on %s", *full, 2*total, d.Info().Name)
	}
	p := d.alloc(1 << 18)
	d.ok(d.Free(p))
	d.ok(d.Free(d.alloc(1 << 18)))
}

// nothingLeaks turns 1,000 rounds of allocation, launch and free.
func nothingLeaks(t *testing.T, b Backend) {
	d := open(t, b, Options{Memory: 1 << 20})
	before, bytesBefore := d.InUse()
	s := d.stream()
	for range 1000 {
		x := d.alloc(40_000)
		e := d.event()
		d.ok(s.Fill(x, 0, 64))
		d.axpy(s, x, x, 1, 1)
		d.ok(s.Record(e))
		d.ok(e.Synchronize())
		d.ok(e.Destroy())
		d.ok(d.Free(x))
	}
	if after, bytesAfter := d.InUse(); after != before || bytesAfter != bytesBefore {
		t.Errorf("%d allocations and %d bytes are in use, %d and %d before", after, bytesAfter, before, bytesBefore)
	}
	x := d.upload([]float32{1, 2})
	if after, bytesAfter := d.InUse(); after != before+1 || bytesAfter < bytesBefore+8 {
		t.Errorf("%d allocations and %d bytes are in use with one of 8 bytes more than %d and %d", after, bytesAfter, before, bytesBefore)
	}
	if got := d.download(s, x, 2); !slices.Equal(got, []float32{1, 2}) {
		t.Errorf("memory holds %v: want 1 2", got)
	}
}
