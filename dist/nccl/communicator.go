//go:build ringcuda && cgo

package nccl

/*
#include <stdlib.h>
#include "libraries.h"

static ncclResult_t version(const struct nccl_functions *f, int *v) { return f->GetVersion(v); }
static const char *text(const struct nccl_functions *f, ncclResult_t r) { return f->GetErrorString(r); }
static const char *last(const struct nccl_functions *f, ncclComm_t c) { return f->GetLastError(c); }
static ncclResult_t unique(const struct nccl_functions *f, void *id) { return f->GetUniqueId(id); }
static ncclResult_t poll(const struct nccl_functions *f, ncclComm_t c, ncclResult_t *e) { return f->CommGetAsyncError(c, e); }
static ncclResult_t abort_comm(const struct nccl_functions *f, ncclComm_t c) { return f->CommAbort(c); }
static ncclResult_t send(const struct nccl_functions *f, CUdeviceptr from, size_t n, int peer, ncclComm_t c, CUstream s) {
	return f->Send((const void *)from, n, ncclUint8, peer, c, s);
}
static ncclResult_t receive(const struct nccl_functions *f, CUdeviceptr to, size_t n, int peer, ncclComm_t c, CUstream s) {
	return f->Recv((void *)to, n, ncclUint8, peer, c, s);
}
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// library is NCCL.
type library struct {
	f       C.struct_nccl_functions
	version int // as ncclGetVersion writes it, 10,000·major + 100·minor + patch
}

const oldestLibrary = 21700 // whose configuration of a communicator is ours

// uniqueID is what the two sides of a communicator find each other by.
type uniqueID [C.NCCL_UNIQUE_ID_BYTES]byte

func openLibrary(name string) (*library, error) {
	l := &library{}
	path, missing, version := C.CString(name), C.int(0), C.int(0)
	defer C.free(unsafe.Pointer(path))
	if why := C.ringgrad_find_nccl(path, &l.f, &missing); why != nil {
		defer C.free(unsafe.Pointer(why))
		if missing != 0 {
			return nil, fmt.Errorf("not NCCL, or older than 2.17: %s", C.GoString(why))
		}
		return nil, fmt.Errorf("no NCCL: %s: install it, or set RINGGRAD_NCCL_LIBRARY to its path", C.GoString(why))
	}
	if err := l.check("ncclGetVersion", C.version(&l.f, &version), nil); err != nil {
		return nil, err
	}
	l.version = int(version)
	if l.version < oldestLibrary {
		return nil, fmt.Errorf("%s is NCCL %s: want %s or later", name, versionText(l.version), versionText(oldestLibrary))
	}
	return l, nil
}

func versionText(v int) string { return fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100) }

// check turns a result into an error with NCCL's words. A call that has only begun is no error.
func (l *library) check(call string, r C.ncclResult_t, c C.ncclComm_t) error {
	if r == C.ncclSuccess || r == C.ncclInProgress {
		return nil
	}
	err := fmt.Errorf("%s: %s (%d)", call, C.GoString(C.text(&l.f, r)), int(r))
	if more := C.GoString(C.last(&l.f, c)); more != "" {
		err = fmt.Errorf("%w: %s", err, more)
	}
	return err
}

func (l *library) uniqueID() (id uniqueID, err error) {
	return id, l.check("ncclGetUniqueId", C.unique(&l.f, unsafe.Pointer(&id)), nil)
}

// The ranks of a communicator.
const (
	receiverRank = 0
	senderRank   = 1
)

// communicator joins two ranks for one direction.
type communicator struct {
	l *library
	c C.ncclComm_t
}

// begin starts to make a communicator on the device of this thread; it can be used once settled says so.
func (l *library) begin(id uniqueID, rank int) (communicator, error) {
	c := communicator{l: l}
	r := C.ringgrad_begin(&l.f, &c.c, unsafe.Pointer(&id), C.int(rank))
	return c, l.check("ncclCommInitRankConfig", r, c.c)
}

// settled tells whether the last call has been carried out as far as the host has to do with it, and what went wrong since.
func (c communicator) settled() (bool, error) {
	var state C.ncclResult_t
	if err := c.l.check("ncclCommGetAsyncError", C.poll(&c.l.f, c.c, &state), c.c); err != nil {
		return false, err
	}
	return state == C.ncclSuccess, c.l.check("communicator", state, c.c)
}

// send starts to send the first n bytes of a slot.
func (c communicator) send(at *slot, n int, s stream) error {
	return c.l.check("ncclSend", C.send(&c.l.f, at.dev, C.size_t(n), receiverRank, c.c, s.s), c.c)
}

// receive starts to receive n bytes into a slot.
func (c communicator) receive(at *slot, n int, s stream) error {
	return c.l.check("ncclRecv", C.receive(&c.l.f, at.dev, C.size_t(n), senderRank, c.c, s.s), c.c)
}

// abort frees a communicator and ends what is under way on it.
func (c communicator) abort() error {
	if c.c == nil {
		return nil
	}
	return c.l.check("ncclCommAbort", C.abort_comm(&c.l.f, c.c), nil)
}
