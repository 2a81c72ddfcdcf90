package cuda

import (
	"embed"
	"fmt"
	"sync"

	"github.com/ringgrad/ringgrad/ops/internal/device"
)

//go:embed ptx/*.ptx
var sources embed.FS

// launch is how a kernel is started: its tiles, threads of a block, and bytes of dynamic shared memory.
type launch struct {
	tiling
	threads, shared int
}

// geometry is what the sources of a family say of a head dim.
type geometry struct{ forward, backward launch }

// geometries are by family and DP.
var geometries = map[Family]map[int]geometry{
	SIMT: {
		64:  {simtForward(128), simtBackward},
		128: {simtForward(128), simtBackward},
		192: {simtForward(256), simtBackward},
		256: {simtForward(256), simtBackward},
	},
	MMA: {
		64:  {launch{tiling{128, 64}, 128, 16400}, launch{tiling{64, 128}, 128, 74512}},
		128: {launch{tiling{128, 64}, 128, 69648}, launch{tiling{64, 128}, 256, 99088}},
		192: {launch{tiling{128, 64}, 256, 49168}, launch{tiling{64, 64}, 256, 90896}},
		256: {launch{tiling{128, 64}, 256, 81936}, launch{tiling{64, 64}, 256, 98704}},
	},
	WGMMA: {
		64:  {launch{tiling{128, 128}, 384, 82080}, launch{tiling{128, 128}, 384, 198816}},
		128: {launch{tiling{128, 128}, 384, 164000}, launch{tiling{64, 128}, 384, 214176}},
	},
}

// What simt.cu says.
const simtShared = 54272

var simtBackward = launch{tiling{64, 64}, 256, simtShared}

func simtForward(threads int) launch { return launch{tiling{64, 64}, threads, simtShared} }

// kernels are those of one family, format and DP.
type kernels struct {
	geometry
	family Family
	file   string // of PTX
}

// choose picks the kernels for a shape.
func (e *Engine) choose(s Shape) (*kernels, error) {
	family, width := e.options.Family, s.Width()
	info := e.dev.Info()
	hopper := info.Major == 9 && info.Minor == 0
	if family == Best {
		_, wide := geometries[WGMMA][width]
		switch {
		case s.Format == Float32:
			family = SIMT
		case hopper && wide:
			family = WGMMA
		default:
			family = MMA
		}
	}
	unsupported := func(why string) error {
		return fmt.Errorf("cuda: %s kernels of %v and width %d on %s (%s): %s: %w", family, s.Format, width, info.Name, info.Arch(), why, ErrUnsupported)
	}
	g, ok := geometries[family][width]
	switch {
	case info.Major < 8:
		return nil, unsupported("the compute capability must be 8.0 or more")
	case (family == SIMT) != (s.Format == Float32):
		return nil, unsupported("simt multiplies float32 and the others 16-bit types")
	case family == WGMMA && !hopper:
		return nil, unsupported("the compute capability must be 9.0")
	case !ok:
		return nil, unsupported("there are none")
	case max(g.forward.shared, g.backward.shared) > info.SharedMemory:
		return nil, unsupported(fmt.Sprintf("they take %d bytes of shared memory a block, the device has %d",
			max(g.forward.shared, g.backward.shared), info.SharedMemory))
	}
	return &kernels{geometry: g, family: family, file: fileName(family, s.Format, width)}, nil
}

func fileName(family Family, f Format, width int) string {
	if family == SIMT {
		return fmt.Sprintf("%s_d%d", family, width)
	}
	return fmt.Sprintf("%s_%v_d%d", family, f, width)
}

// modules are PTX files loaded on first use.
type modules struct {
	dev       device.Device
	source    func(file string) (ptx string, err error)
	mu        sync.Mutex
	loaded    map[string]device.Module
	functions map[functionKey]device.Function
}

type functionKey struct{ file, name string }

func newModules(dev device.Device) *modules {
	return &modules{dev: dev, source: source, loaded: map[string]device.Module{}, functions: map[functionKey]device.Function{}}
}

// function finds a kernel, which may take so many bytes of dynamic shared memory.
func (m *modules) function(file, name string, shared int) (device.Function, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := functionKey{file, name}
	if f, ok := m.functions[key]; ok {
		return f, nil
	}
	module, err := m.module(file)
	if err != nil {
		return nil, err
	}
	f, err := module.Function(name, shared)
	if err != nil {
		return nil, fmt.Errorf("cuda: %s of %s: %w", name, file, err)
	}
	m.functions[key] = f
	return f, nil
}

func (m *modules) module(file string) (device.Module, error) {
	if module, ok := m.loaded[file]; ok {
		return module, nil
	}
	ptx, err := m.source(file)
	if err != nil {
		return nil, err
	}
	module, err := m.dev.Load(ptx)
	if err != nil {
		return nil, fmt.Errorf("cuda: loading %s: %w", file, err)
	}
	m.loaded[file] = module
	return module, nil
}

func (m *modules) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var first error
	for _, module := range m.loaded {
		if err := module.Unload(); err != nil && first == nil {
			first = err
		}
	}
	clear(m.loaded)
	clear(m.functions)
	return first
}

// source is a PTX file.
func source(file string) (string, error) {
	b, err := sources.ReadFile("ptx/" + file + ".ptx")
	if err != nil {
		return "", fmt.Errorf("cuda: no PTX: %w", err)
	}
	return string(b), nil
}
