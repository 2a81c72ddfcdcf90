// Package mock is a CUDA driver for tests on machines without a GPU: a libcuda.so.1 in C, built by the test, whose devices are host memory
// and whose kernels run in package ptx. Package cudriver, gorgonia.org/cu and package cudadl under it run as they do on a GPU.
//
// A test package uses it from its TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(mock.Main(m)) }
//
// The driver is opened before Go starts, so Main builds the mock and runs the test binary again with RINGGRAD_CUDA_LIBRARY set to it. If
// that is set already it names the driver to test with, which may be a real one: RINGGRAD_CUDA_LIBRARY=libcuda.so.1 go test …
//
// The devices are set by RINGGRAD_MOCK_DEVICES (2), RINGGRAD_MOCK_CAPABILITY (9.0; a list, one for each device),
// RINGGRAD_MOCK_MEMORY (bytes), RINGGRAD_MOCK_DRIVER (13000), RINGGRAD_MOCK_INIT (what cuInit returns) and RINGGRAD_MOCK_FAIL
// (launch:3 for the third launch; alloc and ecc likewise).
//
// Without the tag ringcuda the package is empty.
package mock
