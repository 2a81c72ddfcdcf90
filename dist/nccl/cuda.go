//go:build ringcuda && cgo

package nccl

/*
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "libraries.h"

static CUresult get_uuid(const struct cuda_functions *f, int ordinal, CUdevice *device, CUuuid *uuid) {
	CUresult r = f->DeviceGet(device, ordinal);
	return r ? r : f->DeviceGetUuid(uuid, *device);
}
static CUresult init(const struct cuda_functions *f, int *devices) {
	CUresult r = f->Init(0);
	return r ? r : f->DeviceGetCount(devices);
}
static const char *error_name(const struct cuda_functions *f, CUresult error) {
	const char *name = NULL;
	return f->GetErrorName(error, &name) ? NULL : name;
}
static CUresult retain(const struct cuda_functions *f, CUdevice d, CUcontext *c) { return f->DevicePrimaryCtxRetain(c, d); }
static CUresult release(const struct cuda_functions *f, CUdevice d) { return f->DevicePrimaryCtxRelease(d); }
static CUresult set_current(const struct cuda_functions *f, CUcontext c) { return f->CtxSetCurrent(c); }
static CUresult device_memory(const struct cuda_functions *f, CUdeviceptr *p, size_t n) { return f->MemAlloc(p, n); }
static CUresult free_device(const struct cuda_functions *f, CUdeviceptr p) { return f->MemFree(p); }
static CUresult host_memory(const struct cuda_functions *f, void **p, size_t n) { return f->MemHostAlloc(p, n, CU_MEMHOSTALLOC_PORTABLE); }
static CUresult free_host(const struct cuda_functions *f, void *p) { return f->MemFreeHost(p); }
static CUresult to_device(const struct cuda_functions *f, CUdeviceptr to, void *from, size_t n, CUstream s) { return f->MemcpyHtoDAsync(to, from, n, s); }
static CUresult to_host(const struct cuda_functions *f, void *to, CUdeviceptr from, size_t n, CUstream s) { return f->MemcpyDtoHAsync(to, from, n, s); }
static CUresult new_stream(const struct cuda_functions *f, CUstream *s) { return f->StreamCreate(s, CU_STREAM_NON_BLOCKING); }
static CUresult query_stream(const struct cuda_functions *f, CUstream s) { return f->StreamQuery(s); }
static CUresult destroy_stream(const struct cuda_functions *f, CUstream s) { return f->StreamDestroy(s); }
static CUresult new_event(const struct cuda_functions *f, CUevent *e) { return f->EventCreate(e, CU_EVENT_DISABLE_TIMING); }
static CUresult record(const struct cuda_functions *f, CUevent e, CUstream s) { return f->EventRecord(e, s); }
static CUresult query_event(const struct cuda_functions *f, CUevent e) { return f->EventQuery(e); }
static CUresult destroy_event(const struct cuda_functions *f, CUevent e) { return f->EventDestroy(e); }
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"unsafe"
)

// device is a GPU and the driver it is reached by. Its calls need bind in the same thread first.
type device struct {
	f       C.struct_cuda_functions
	number  C.CUdevice
	uuid    [16]byte // the same card has the same one in all processes
	context C.CUcontext
}

// openDevice loads the driver and takes the primary context of a GPU, which the rest of the process has too.
func openDevice(ordinal int) (*device, error) {
	d := &device{}
	library := os.Getenv("RINGGRAD_CUDA_LIBRARY")
	if library == "" {
		library = "libcuda.so.1"
	}
	name, missing := C.CString(library), C.int(0)
	defer C.free(unsafe.Pointer(name))
	if why := C.ringgrad_find_cuda(name, &d.f, &missing); why != nil {
		defer C.free(unsafe.Pointer(why))
		return nil, fmt.Errorf("no CUDA driver: %s", C.GoString(why))
	}
	var count C.int
	if err := d.check("cuInit", C.init(&d.f, &count)); err != nil {
		return nil, err
	}
	if ordinal >= int(count) {
		return nil, fmt.Errorf("device %d does not exist: the driver has %d", ordinal, int(count))
	}
	var uuid C.CUuuid
	if err := d.check("cuDeviceGetUuid", C.get_uuid(&d.f, C.int(ordinal), &d.number, &uuid)); err != nil {
		return nil, err
	}
	d.uuid = *(*[16]byte)(unsafe.Pointer(&uuid))
	if err := d.check("cuDevicePrimaryCtxRetain", C.retain(&d.f, d.number, &d.context)); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *device) close() error {
	return d.check("cuDevicePrimaryCtxRelease", C.release(&d.f, d.number))
}

// check turns a result of the driver into an error with its name.
func (d *device) check(call string, r C.CUresult) error {
	if r == C.CUDA_SUCCESS {
		return nil
	}
	if name := C.error_name(&d.f, r); name != nil {
		return fmt.Errorf("%s: %s (%d)", call, C.GoString(name), int(r))
	}
	return fmt.Errorf("%s: CUDA error %d", call, int(r))
}

// bind makes the device current in this thread, for the driver and for NCCL.
func (d *device) bind() error { return d.check("cuCtxSetCurrent", C.set_current(&d.f, d.context)) }

// slot is a place for one chunk of a message: page-locked memory, memory of the device, and the event after the last work on them.
type slot struct {
	host  unsafe.Pointer
	dev   C.CUdeviceptr
	event C.CUevent
}

// bytes are the first n of the page-locked memory.
func (s *slot) bytes(n int) []byte { return unsafe.Slice((*byte)(s.host), n) }

func (d *device) newSlot(bytes int) (s slot, err error) {
	if err := d.check("cuMemHostAlloc", C.host_memory(&d.f, &s.host, C.size_t(bytes))); err != nil {
		return s, err
	}
	if err := d.check("cuMemAlloc", C.device_memory(&d.f, &s.dev, C.size_t(bytes))); err != nil {
		return s, err
	}
	return s, d.check("cuEventCreate", C.new_event(&d.f, &s.event))
}

// free gives back what a slot has.
func (d *device) free(s slot) error {
	var errs []error
	if s.event != nil {
		errs = append(errs, d.check("cuEventDestroy", C.destroy_event(&d.f, s.event)))
	}
	if s.dev != 0 {
		errs = append(errs, d.check("cuMemFree", C.free_device(&d.f, s.dev)))
	}
	if s.host != nil {
		errs = append(errs, d.check("cuMemFreeHost", C.free_host(&d.f, s.host)))
	}
	return errors.Join(errs...)
}

// stream is a queue of work of a device.
type stream struct {
	d *device
	s C.CUstream
}

func (d *device) newStream() (stream, error) {
	s := stream{d: d}
	return s, d.check("cuStreamCreate", C.new_stream(&d.f, &s.s))
}

func (s stream) destroy() error {
	if s.s == nil {
		return nil
	}
	return s.d.check("cuStreamDestroy", C.destroy_stream(&s.d.f, s.s))
}

// upload starts copying the first n bytes of a slot to the device, download back.
func (s stream) upload(at *slot, n int) error {
	return s.d.check("cuMemcpyHtoDAsync", C.to_device(&s.d.f, at.dev, at.host, C.size_t(n), s.s))
}

func (s stream) download(at *slot, n int) error {
	return s.d.check("cuMemcpyDtoHAsync", C.to_host(&s.d.f, at.host, at.dev, C.size_t(n), s.s))
}

// mark puts the event of a slot behind what was started.
func (s stream) mark(at *slot) error {
	return s.d.check("cuEventRecord", C.record(&s.d.f, at.event, s.s))
}

// reached tells whether the stream has come to the event of a slot.
func (s stream) reached(at *slot) (bool, error) {
	return s.d.ended("cuEventQuery", C.query_event(&s.d.f, at.event))
}

// idle tells whether the stream has nothing to do.
func (s stream) idle() (bool, error) {
	return s.d.ended("cuStreamQuery", C.query_stream(&s.d.f, s.s))
}

func (d *device) ended(call string, r C.CUresult) (bool, error) {
	if r == C.CUDA_ERROR_NOT_READY {
		return false, nil
	}
	return r == C.CUDA_SUCCESS, d.check(call, r)
}
