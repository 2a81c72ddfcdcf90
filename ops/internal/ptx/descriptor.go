package ptx

// A wgmma descriptor says how an operand tile lies in shared memory (PTX ISA, "matrix descriptor"):
//
//	bits  0-13  start address / 16
//	bits 16-29  leading dimension byte offset (LBO) / 16
//	bits 32-45  stride dimension byte offset (SBO) / 16
//	bits 49-51  base offset
//	bits 62-63  swizzle: 0 none, 1 of 128 bytes, 2 of 64, 3 of 32
//
// Tiles are built of pieces of 16 bytes, 8 elements. K-major: a piece runs along k; rows lie side by side in groups of
// 8, SBO apart, at the width of the swizzle. MN-major: a piece runs along the row index; 8 values of k make a group.
//
//	            K-major, row r, k-piece c         MN-major, row piece j, k
//	none        r%8*16  + r/8*SBO + c*LBO         k%8*16  + k/8*LBO + j*SBO
//	S bytes     r%8*S   + r/8*SBO + c*16          k%8*S   + k/8*SBO + j%(S/16)*16 + j/(S/16)*LBO
//
// The swizzle then exchanges pieces within rows of 128 bytes of the absolute address.
type descriptor struct {
	start, lbo, sbo int
	swizzle         int // bytes, 0 for none
}

var swizzleBytes = [4]int{0, 128, 64, 32}

const descriptorBits = 0x3fff | 0x3fff<<16 | 0x3fff<<32 | 3<<62

// chunks lists the offsets of the 16-byte pieces of a tile of rows x 16 elements, in the order that unpack reads, and
// starts the asynchronous read of each.
func (w *warp) chunks(desc uint64, rows int, mnMajor bool) ([]int32, bool) {
	if desc&^descriptorBits != 0 {
		w.fail(-1, "descriptor %#x has a base offset or reserved bits; not modelled", desc)
		return nil, false
	}
	d := descriptor{int(desc & 0x3fff << 4), int(desc >> 16 & 0x3fff << 4), int(desc >> 32 & 0x3fff << 4), swizzleBytes[desc>>62]}
	out := make([]int32, 0, 2*rows)
	add := func(at int) bool {
		at = d.swizzled(at)
		if w.shared(-1, uint64(at), 16, 16) == nil || !w.asyncRead(-1, at-sharedBase, "wgmma") {
			return false
		}
		out = append(out, int32(at-sharedBase))
		return true
	}
	if mnMajor {
		for j := range rows / 8 {
			for k := range 16 {
				if !add(d.mnMajor(j, k)) {
					return nil, false
				}
			}
		}
		return out, true
	}
	for r := range rows {
		for c := range 2 {
			if !add(d.kMajor(r, c)) {
				return nil, false
			}
		}
	}
	return out, true
}

func (d *descriptor) kMajor(r, c int) int {
	if d.swizzle == 0 {
		return d.start + r%8*16 + r/8*d.sbo + c*d.lbo
	}
	return d.start + r%8*d.swizzle + r/8*d.sbo + c*16
}

func (d *descriptor) mnMajor(j, k int) int {
	if d.swizzle == 0 {
		return d.start + k%8*16 + k/8*d.lbo + j*d.sbo
	}
	across := d.swizzle / 16
	return d.start + k%8*d.swizzle + k/8*d.sbo + j%across*16 + j/across*d.lbo
}

// swizzled exchanges the 16-byte pieces of an address: bits 4 and up are xored with bits 7 and up, as many as the
// swizzle has pieces.
func (d *descriptor) swizzled(at int) int {
	switch d.swizzle {
	case 128:
		return at ^ at>>7&7<<4
	case 64:
		return at ^ at>>7&3<<4
	case 32:
		return at ^ at>>7&1<<4
	}
	return at
}
