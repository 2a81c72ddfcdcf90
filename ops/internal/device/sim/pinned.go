package sim

import "fmt"

// Pinned takes host memory and fills it with 0xff.
func (d *Device) Pinned(bytes int) (b []byte, err error) {
	err = d.locked(func() error {
		if bytes < 1 {
			return fmt.Errorf("sim: %d bytes of pinned memory: want at least 1", bytes)
		}
		b = make([]byte, bytes)
		fill(b, poison)
		d.machine.pinned.Add(b)
		return nil
	})
	return b, err
}

// FreePinned gives back what Pinned returned. Copies that are still queued and use it will fail.
func (d *Device) FreePinned(b []byte) error {
	return d.locked(func() error {
		if err := d.machine.pinned.Remove(b); err != nil {
			return fmt.Errorf("sim: FreePinned on %s: %w", d.info.Name, err)
		}
		return nil
	})
}

// hostPlace finds host memory for a transfer.
func (d *Device) hostPlace(b []byte) place {
	return func() ([]byte, error) { return b, d.machine.pinned.Check(b) }
}
