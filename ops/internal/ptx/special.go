package ptx

// specialSlot is a register slot that the interpreter fills: at the start of a warp, or when it is read (clocks).
type specialSlot struct {
	name string
	slot int32
}

// specials lists the special registers and their widths.
var specials = map[string]int{
	"%tid.x": 32, "%tid.y": 32, "%tid.z": 32, "%ntid.x": 32, "%ntid.y": 32, "%ntid.z": 32,
	"%ctaid.x": 32, "%ctaid.y": 32, "%ctaid.z": 32, "%nctaid.x": 32, "%nctaid.y": 32, "%nctaid.z": 32,
	"%laneid": 32, "%warpid": 32, "%nwarpid": 32, "%smid": 32, "%nsmid": 32, "WARP_SZ": 32,
	"%lanemask_eq": 32, "%lanemask_le": 32, "%lanemask_lt": 32, "%lanemask_ge": 32, "%lanemask_gt": 32,
	"%cluster_ctarank": 32, "%cluster_nctarank": 32, "%dynamic_smem_size": 32, "%total_smem_size": 32,
	"%clock": 32, "%clock_hi": 32, "%globaltimer_lo": 32, "%globaltimer_hi": 32,
	"%clock64": 64, "%globaltimer": 64,
	"sink1": 1, "sink32": 32, "sink64": 64,
}

// clocks change while a kernel runs, so that reading one needs a move that asks for it.
var clocks = map[string]bool{
	"%clock": true, "%clock_hi": true, "%globaltimer_lo": true, "%globaltimer_hi": true, "%clock64": true, "%globaltimer": true,
}

// special is the slot of a special register.
func (d *decoder) special(name string, bits int) int32 {
	width, ok := specials[name]
	switch {
	case !ok:
		d.fail("%q is neither a declared register nor a special register the interpreter knows", name)
		return 0
	case width != bits:
		d.fail("special register %s has %d bits, the instruction wants %d", name, width, bits)
		return 0
	case clocks[name] && d.op[0] != "mov":
		d.fail("%s can only be read by mov", name)
		return 0
	}
	if slot, ok := d.b.specials[name]; ok {
		return slot
	}
	f := d.b.f
	var slot int32
	switch width {
	case 1:
		slot = int32(f.npred)
		f.npred++
	case 64:
		slot = int32(f.n64 + len(f.const64))
		f.const64 = append(f.const64, 0)
		f.special64 = append(f.special64, specialSlot{name, slot})
	default:
		slot = int32(f.n32 + len(f.const32))
		f.const32 = append(f.const32, 0)
		f.special32 = append(f.special32, specialSlot{name, slot})
	}
	d.b.specials[name] = slot
	return slot
}

// special32 is the value of a special register in a lane.
func (w *warp) special32(name string, lane int) uint32 {
	c, l := w.c, &w.c.launch
	thread := w.index*32 + lane
	switch name {
	case "%tid.x":
		return uint32(thread % l.Block[0])
	case "%tid.y":
		return uint32(thread / l.Block[0] % l.Block[1])
	case "%tid.z":
		return uint32(thread / l.Block[0] / l.Block[1])
	case "%ntid.x", "%ntid.y", "%ntid.z":
		return uint32(l.Block[name[6]-'x'])
	case "%ctaid.x", "%ctaid.y", "%ctaid.z":
		return uint32(c.id[name[7]-'x'])
	case "%nctaid.x", "%nctaid.y", "%nctaid.z":
		return uint32(l.Grid[name[8]-'x'])
	case "%laneid":
		return uint32(lane)
	case "%warpid":
		return uint32(w.index)
	case "%nwarpid":
		return uint32(len(c.warps))
	case "%nsmid", "%cluster_nctarank":
		return 1
	case "WARP_SZ":
		return 32
	case "%dynamic_smem_size":
		return uint32(l.Shared)
	case "%total_smem_size":
		return uint32(len(c.smem))
	}
	return laneMask(name, lane)
}

// laneMask is %lanemask_*, zero for every other name.
func laneMask(name string, lane int) uint32 {
	eq := uint32(1) << lane
	switch name {
	case "%lanemask_eq":
		return eq
	case "%lanemask_lt":
		return eq - 1
	case "%lanemask_le":
		return eq - 1 | eq
	case "%lanemask_ge":
		return -eq
	case "%lanemask_gt":
		return -eq &^ eq
	}
	return 0
}
