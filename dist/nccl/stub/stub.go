//go:build ringcuda && cgo

package stub

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

struct functions {
	long (*live)(const char *);
	void (*fail)(const char *, int, int);
	void (*reset)(uint64_t, char *, size_t);
};
static int find(const char *library, struct functions *f) {
	void *stub = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	if (!stub) return 0;
	f->live = dlsym(stub, "stub_live");
	f->fail = dlsym(stub, "stub_fail");
	f->reset = dlsym(stub, "stub_reset");
	return f->live && f->fail && f->reset;
}
static long call_live(const struct functions *f, const char *what) { return f->live(what); }
static void call_fail(const struct functions *f, const char *what, int device, int n) { f->fail(what, device, n); }
static void call_reset(const struct functions *f, uint64_t seed, char *wrong, size_t bytes) { f->reset(seed, wrong, bytes); }
*/
import "C"

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"unsafe"
)

//go:embed library
var sources embed.FS

// ErrNoCompiler says that the library cannot be built here.
var ErrNoCompiler = errors.New("stub: no C compiler")

// Library is the library, in this process.
type Library struct {
	Path string
	f    C.struct_functions
}

// Build compiles the library into a folder and opens it. Header is the text of the header abi.h of package nccl.
func Build(folder string, header []byte) (*Library, error) {
	compiler, err := findCompiler()
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(folder, sources); err != nil {
		return nil, err
	}
	l, from := &Library{Path: filepath.Join(folder, "libstub.so")}, filepath.Join(folder, "library")
	if err := os.WriteFile(filepath.Join(from, "abi.h"), header, 0o600); err != nil {
		return nil, err
	}
	build := exec.Command(compiler, "-std=gnu11", "-O1", "-Wall", "-Werror", "-fPIC", "-shared", "-o", l.Path,
		filepath.Join(from, "cuda.c"), filepath.Join(from, "nccl.c"), "-lpthread") //nolint:gosec // the compiler that cgo uses too
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("stub: %s: %w\n%s", compiler, err, out)
	}
	path := C.CString(l.Path)
	defer C.free(unsafe.Pointer(path))
	if C.find(path, &l.f) == 0 {
		return nil, fmt.Errorf("stub: %s cannot be opened", l.Path)
	}
	return l, nil
}

// findCompiler is the one that cgo uses.
func findCompiler() (string, error) {
	name := os.Getenv("CC")
	if name == "" {
		name = "cc"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoCompiler, err)
	}
	return path, nil
}

// Live is the number of contexts, blocks of memory, pinned blocks, streams, events, communicators or pieces of work that were not given
// back; of messages it is how many have been moved.
func (l *Library) Live(what string) int {
	name := C.CString(what)
	defer C.free(unsafe.Pointer(name))
	return int(C.call_live(&l.f, name))
}

// Fail lets the n-th alloc, unique, init, send or receive from now on, in threads that have the device, fail; "async" lets the n-th poll find
// an error of the communicator, and "hang" the n-th message stay where it is.
func (l *Library) Fail(what string, device, n int) {
	name := C.CString(what)
	defer C.free(unsafe.Pointer(name))
	C.call_fail(&l.f, name, C.int(device), C.int(n))
}

// Reset forgets what is to fail, draws the order of streams from a seed, and gives what was wrong so far, a line each.
func (l *Library) Reset(seed uint64) (wrong string) {
	const bytes = 4096
	text := (*C.char)(C.calloc(1, bytes))
	defer C.free(unsafe.Pointer(text))
	C.call_reset(&l.f, C.uint64_t(seed), text, bytes)
	return C.GoString(text)
}
