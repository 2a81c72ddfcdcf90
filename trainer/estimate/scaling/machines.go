package scaling

// GPUs is a host with eight accelerators, a switch between them, and a card of 400 Gbit/s for each: the rates are what large kernels sustain in
// bfloat16.
func GPUs() Machine {
	return Machine{
		Name: "hosts of 8 GPUs", Devices: 8, Cards: 8, Forward: 500e12, Backward: 400e12, Products: 500e12,
		Inner: 450e9, Outer: 50e9, Message: 10e-6, Launch: 15e-6, Element: 2,
	}
}

// CPUs is a host of 64 cores at 100 Gflop/s in float32 each, one rank, on 100 Gbit/s; a message takes what package dist/mpi takes for
// one.
func CPUs() Machine {
	return Machine{
		Name: "hosts of 64 cores", Devices: 1, Cards: 1, Forward: 6.4e12, Backward: 6.4e12, Products: 6.4e12,
		Inner: 12.5e9, Outer: 12.5e9, Message: 80e-6, Launch: 50e-6, Element: 4,
	}
}

// Llama8B has the shape of Llama 3.1 8B.
func Llama8B() Model {
	return Model{
		Name: "Llama 3.1 8B", Layers: 32, Hidden: 4096, Queries: 4096, Keys: 1024, KVHeads: 8, Intermediate: 14336, Vocab: 128256,
		Parameters: 8.03e9, Tensors: 291,
	}
}
