package extent_test

import (
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device/extent"
)

func TestTableNamesWhatAnAddressIs(t *testing.T) {
	var table extent.Table[string]
	table.Add(0x2000, 64, "second")
	table.Add(0x1000, 32, "first")
	table.Add(0x3000, 16, "third")
	if _, err := table.Remove(0x3000); err != nil {
		t.Fatal(err)
	}
	if n, bytes := table.Size(); n != 2 || bytes != 96 {
		t.Errorf("two extents of 96 bytes are %d of %d", n, bytes)
	}
	for _, c := range []struct {
		p    uint64
		n    int
		want string // the extent, or what the error says
	}{
		{0x1000, 32, "first"}, {0x2001, 63, "second"}, {0x2040, 0, "second"},
		{0x2001, 64, "byte 1 of the 64 bytes allocated at 0x2000"},
		{0x1020, 1, "0 bytes past the end of the 32 bytes allocated at 0x1000"},
		{0x3004, 4, "byte 4 of the 16 bytes at 0x3000, which were freed"},
		{0x10, 4, "nothing was allocated there"},
		{0xffff_ffff_ffff_fff0, 64, "past the end"},
	} {
		e, err := table.Find(c.p, c.n)
		if err == nil && e.Of != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d bytes at %#x: %v, %v: want %q", c.n, c.p, e, err, c.want)
		}
	}
	if _, err := table.Remove(0x2001); err == nil {
		t.Error("an address inside an extent was removed")
	}
	table.Add(0x3000, 8, "again")
	if e, err := table.Find(0x3000, 8); err != nil || e.Of != "again" {
		t.Errorf("an address that is used again finds %v, %v", e, err)
	}
	if was := table.Clear(); len(was) != 3 {
		t.Errorf("Clear returns %d extents: want 3", len(was))
	}
}

func TestHostKnowsPinnedSlices(t *testing.T) {
	var host extent.Host
	block, other := make([]byte, 64), make([]byte, 64)
	host.Add(block)
	if err := host.Check(block[8:64]); err != nil {
		t.Error(err)
	}
	if err := host.Check(other[:8]); err == nil {
		t.Error("memory that was not added is taken")
	}
	if err := host.Remove(block[1:]); err == nil {
		t.Error("a part of a block was removed")
	}
	if err := host.Remove(block); err != nil {
		t.Error(err)
	}
	if err := host.Check(block[:8]); err == nil {
		t.Error("a removed block is taken")
	}
}
