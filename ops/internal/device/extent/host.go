package extent

import (
	"fmt"
	"unsafe"
)

// Host is the host memory that copies may use, by the addresses of its slices. The zero value is empty.
type Host struct{ table Table[[]byte] }

func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// Add puts in a block.
func (h *Host) Add(b []byte) { h.table.Add(address(b), len(b), b) }

// Remove takes out a block that was added.
func (h *Host) Remove(b []byte) error {
	if e, err := h.table.Find(address(b), 1); err != nil || e.First != address(b) || e.Bytes != len(b) {
		return fmt.Errorf("the %d bytes of host memory are no block that Pinned returned", len(b))
	}
	_, err := h.table.Remove(address(b))
	return err
}

// Check refuses a slice that lies in no block.
func (h *Host) Check(b []byte) error {
	if _, err := h.table.Find(address(b), len(b)); err != nil {
		return fmt.Errorf("the %d bytes of host memory are not pinned: take them from Pinned, and keep them until the copy is done", len(b))
	}
	return nil
}

// Clear empties the table and returns the blocks that were in it.
func (h *Host) Clear() [][]byte {
	var blocks [][]byte
	for _, e := range h.table.Clear() {
		blocks = append(blocks, e.Of)
	}
	return blocks
}
