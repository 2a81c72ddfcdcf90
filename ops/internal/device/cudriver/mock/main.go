//go:build ringcuda && cgo

package mock

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device/cudriver/cudadl"
)

//go:embed libcuda
var sources embed.FS

const library = "RINGGRAD_CUDA_LIBRARY"

// Main runs the tests of a package with the mock as the driver. Settings, such as RINGGRAD_MOCK_DEVICES=3, hold unless the environment
// has them.
func Main(m *testing.M, settings ...string) int {
	if os.Getenv(library) != "" {
		register()
		return m.Run()
	}
	folder, err := os.MkdirTemp("", "libcuda")
	if err != nil {
		return failed(err)
	}
	defer os.RemoveAll(folder) //nolint:errcheck // a temporary folder
	path, err := Build(folder)
	if err != nil {
		return failed(err)
	}
	again := exec.Command(os.Args[0], os.Args[1:]...) //nolint:gosec // this program
	again.Env = append(append(settings, os.Environ()...), library+"="+path)
	again.Stdin, again.Stdout, again.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = again.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		return failed(err)
	}
	return 0
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, "mock:", err)
	return 1
}

// Build compiles the mock into a folder and returns the path of its library.
func Build(folder string) (path string, err error) {
	for _, files := range []fs.FS{sources, cudadl.Headers} {
		if err := os.CopyFS(folder, files); err != nil {
			return "", err
		}
	}
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "cc"
	}
	path = filepath.Join(folder, "libcuda.so.1")
	c := filepath.Join(folder, "libcuda")
	build := exec.Command(compiler, "-std=gnu11", "-O1", "-Wall", "-Werror", "-Wno-parentheses", "-fPIC", "-shared",
		"-I", filepath.Join(folder, "include"), "-o", path,
		filepath.Join(c, "devices.c"), filepath.Join(c, "streams.c"), "-lpthread") //nolint:gosec // the compiler that cgo uses too
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", compiler, err, out)
	}
	return path, nil
}
