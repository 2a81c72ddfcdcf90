package ptx

import "math/bits"

const (
	wordWriting  = 1 // an asynchronous copy to this word is in flight
	wordMbarrier = 2 // part of an mbarrier object
)

// hazards tracks what asynchronous work does to the shared memory of a CTA. Words are 4 bytes, granules 16.
type hazards struct {
	words   []uint8
	readers []uint16 // asynchronous reads in flight per granule: wgmma operands, sources of bulk copies
	reading int      // granules with readers, counted with multiplicity
	dirty   []writer // per granule: generic writes that the writing thread has not fenced
	more    map[int32][]writer
	log     [][]agreement // per warpgroup: what its warps must all do
}

// writer is who wrote a granule through the generic proxy: lanes of a warp (index+1, so that zero is nobody).
type writer struct {
	warp  int32
	lanes uint32
}

func (h *hazards) reset(c *cta) {
	if !c.f.tracked {
		return
	}
	n := len(c.smem)
	if h.words == nil {
		h.words, h.readers, h.dirty = make([]uint8, n/4+4), make([]uint16, n/16+1), make([]writer, n/16+1)
	}
	clear(h.words)
	clear(h.readers)
	clear(h.dirty)
	h.more, h.reading = nil, 0
	h.log = make([][]agreement, (len(c.warps)+3)/4)
}

// checkShared faults on a generic access that collides with asynchronous work, and notes generic writes.
func (w *warp) checkShared(l int, at uint64, n int, write bool) bool {
	h := &w.c.hazards
	off := int(at - sharedBase)
	for i := off / 4; i <= (off+n-1)/4; i++ {
		if h.words[i] == 0 {
			continue
		}
		if h.words[i]&wordMbarrier != 0 {
			w.fail(l, "generic access to the mbarrier object at %#x", sharedBase+4*i)
		} else {
			w.fail(l, "shared memory at %#x is the target of an asynchronous copy in flight", sharedBase+4*i)
		}
		return false
	}
	if !write {
		return true
	}
	if h.reading > 0 && h.readers[off/16] > 0 {
		w.fail(l, "shared memory at %#x is overwritten while a wgmma or a bulk copy in flight reads it", at)
		return false
	}
	if w.c.f.proxied {
		h.mark(w, l, off, n)
	}
	return true
}

// mark notes a generic write.
func (h *hazards) mark(w *warp, l, off, n int) {
	for g := off / 16; g <= (off+n-1)/16; g++ {
		d := &h.dirty[g]
		if d.lanes == 0 || d.warp == int32(w.index+1) {
			if d.lanes == 0 {
				w.bulk.dirty = append(w.bulk.dirty, int32(g))
			}
			d.warp = int32(w.index + 1)
			d.lanes |= 1 << l
			continue
		}
		if h.more == nil {
			h.more = map[int32][]writer{}
		}
		h.more[int32(g)] = append(h.more[int32(g)], writer{int32(w.index + 1), 1 << l})
	}
}

// fence makes the generic writes of lanes m visible to the async proxy.
func (h *hazards) fence(w *warp, m uint32) {
	kept := w.bulk.dirty[:0]
	for _, g := range w.bulk.dirty {
		d := &h.dirty[g]
		if d.warp == int32(w.index+1) {
			d.lanes &^= m
			if d.lanes != 0 {
				kept = append(kept, g)
			}
		}
	}
	w.bulk.dirty = kept
	for g, list := range h.more {
		left := list[:0]
		for _, x := range list {
			if x.warp == int32(w.index+1) {
				x.lanes &^= m
			}
			if x.lanes != 0 {
				left = append(left, x)
			}
		}
		if h.more[g] = left; len(left) == 0 {
			delete(h.more, g)
		}
	}
}

// asyncRead starts an asynchronous read of a granule; it must hold data that the async proxy can see.
func (w *warp) asyncRead(l, off int, what string) bool {
	h := &w.c.hazards
	for i := off / 4; i < off/4+4; i++ {
		if h.words[i] != 0 {
			w.fail(l, "%s reads shared memory at %#x, which is the target of an asynchronous copy in flight or an mbarrier", what, sharedBase+4*i)
			return false
		}
	}
	if !w.fenced(l, off, what+" reads") {
		return false
	}
	h.readers[off/16]++
	h.reading++
	return true
}

// fenced faults when a granule that the async proxy is to touch has generic writes without a proxy fence after them.
func (w *warp) fenced(l, off int, what string) bool {
	h := &w.c.hazards
	d := h.dirty[off/16]
	if list := h.more[int32(off/16)]; d.lanes == 0 && len(list) > 0 {
		d = list[0]
	}
	if d.lanes == 0 {
		return true
	}
	w.fail(l, "%s shared memory at %#x, which thread %d wrote through the generic proxy without fence.proxy.async after it",
		what, sharedBase+off, 32*int(d.warp-1)+bits.TrailingZeros32(d.lanes))
	return false
}

func (h *hazards) readDone(off int) {
	h.readers[off/16]--
	h.reading--
}

// asyncWrite starts an asynchronous write: until it completes, nothing may touch its target.
func (w *warp) asyncWrite(l, off, n int) bool {
	h := &w.c.hazards
	for i := off / 4; i < (off+n)/4; i++ {
		switch {
		case h.words[i]&wordMbarrier != 0:
			w.fail(l, "an asynchronous copy overwrites the mbarrier object at %#x", sharedBase+4*i)
			return false
		case h.words[i] != 0:
			w.fail(l, "shared memory at %#x is already the target of an asynchronous copy in flight", sharedBase+4*i)
			return false
		case h.readers[i/4] > 0:
			w.fail(l, "an asynchronous copy overwrites shared memory at %#x while a wgmma or a bulk copy in flight reads it", sharedBase+4*i)
			return false
		}
		h.words[i] = wordWriting
	}
	return true
}

func (h *hazards) writeDone(off, n int) {
	for i := off / 4; i < (off+n)/4; i++ {
		h.words[i] &^= wordWriting
	}
}

// agreement is one step that all warps of a warpgroup must take in the same way.
type agreement struct {
	pc   int
	a, b uint64
}

// agree checks a warp's next step against what the first warp of its warpgroup to come there did.
func (w *warp) agree(m uint32, what string, values ...uint64) {
	step := agreement{pc: w.pc, a: values[0]}
	if len(values) > 1 {
		step.b = values[1]
	}
	if w.index/4*4+4 > len(w.c.warps) {
		w.failMask(m, "%s needs a whole warpgroup; the CTA has %d warps", what, len(w.c.warps))
		return
	}
	log := &w.c.hazards.log[w.index/4]
	at := w.wg.steps
	w.wg.steps++
	if at == len(*log) {
		*log = append(*log, step)
		return
	}
	if got := (*log)[at]; got != step {
		first := &w.c.f.code[got.pc]
		w.failMask(m, "%s differs inside the warpgroup: operands %#x %#x here, %#x %#x in another warp at line %d",
			what, step.a, step.b, got.a, got.b, first.line)
	}
}
