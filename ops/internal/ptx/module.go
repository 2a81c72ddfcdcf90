package ptx

import "fmt"

// Module is a parsed PTX file. It is immutable: any number of goroutines may run its functions.
type Module struct {
	target    string
	version   string
	functions []*Function
	vars      []*variable // module-level .shared, .global and .const variables
}

// Target is the architecture the file was compiled for, such as "sm_80" or "sm_90a".
func (m *Module) Target() string { return m.target }

// Functions lists the kernels in the order of the file.
func (m *Module) Functions() []string {
	names := make([]string, len(m.functions))
	for i, f := range m.functions {
		names[i] = f.name
	}
	return names
}

// Function finds a kernel by name.
func (m *Module) Function(name string) (*Function, error) {
	for _, f := range m.functions {
		if f.name == name {
			return f, nil
		}
	}
	return nil, fmt.Errorf("ptx: no kernel %q in the module; it has %q", name, m.Functions())
}

// Function is one decoded kernel.
type Function struct {
	name       string
	mod        *Module
	code       []inst
	argBytes   int
	localBytes int // per thread
	static     int // static shared bytes, before the dynamic array
	dynamic    int // offset of the dynamic shared array, from the start of the CTA's shared memory
	maxThreads int
	n32, n64   int // registers of each bank, without constants
	npred      int
	const32    []uint32 // values of the constant slots that follow the registers
	const64    []uint64
	special32  []specialSlot
	special64  []specialSlot
	globals    []byte // initial image of the module's .global and .const variables
	tracked    bool   // the kernel has asynchronous copies or mbarriers: shared accesses are checked against them
	proxied    bool   // the kernel has async-proxy readers: generic writes of shared memory are tracked
	warpgroups bool   // the kernel has wgmma
}

// Name is the kernel's entry name.
func (f *Function) Name() string { return f.name }

// ArgBytes is the size of the parameter block.
func (f *Function) ArgBytes() int { return f.argBytes }

// SharedBytes is the static shared memory of a CTA; Launch.Shared comes on top of it.
func (f *Function) SharedBytes() int { return f.static }

// MaxThreads is the product of .maxntid (or .reqntid), zero when the kernel has neither.
func (f *Function) MaxThreads() int { return f.maxThreads }

// UsesLocal tells whether the compiler spilled or indexed registers into local memory.
func (f *Function) UsesLocal() bool { return f.localBytes > 0 }

// Memory is the device's global memory.
type Memory interface {
	// At is the n bytes at a device address. The slice aliases the memory. A range that is not wholly inside one
	// allocation is an error.
	At(addr uint64, n int) ([]byte, error)
}

// Launch says what to run: grid and block in threads, dynamic shared bytes, the parameter block.
type Launch struct {
	Grid, Block [3]int
	Shared      int
	Args        []byte
}

// Schedule says in which order the threads of a launch run.
type Schedule struct {
	// Seed chooses among the orders. The same seed and launch give the same bits.
	Seed uint64
	// Adversarial runs warps, parts of warps and asynchronous copies in random legal orders, to find races.
	Adversarial bool
	// Resident is how many CTAs run interleaved; 0 means one after another.
	Resident int
}

// Stats counts what a run executed.
type Stats struct {
	Instructions int64 // thread-instructions: an instruction of a full warp counts 32
}
