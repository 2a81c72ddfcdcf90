package cuda

// Launch is how a kernel is started: rows of queries and of keys of a tile, threads of a block, bytes of dynamic shared memory.
type Launch struct{ Queries, Keys, Threads, Shared int }

// Launches are those of the two passes of a family for a padded head dim, for tools that look at kernels without a device.
func Launches(family Family, width int) (forward, backward Launch, ok bool) {
	g, ok := geometries[family][width]
	return g.forward.public(), g.backward.public(), ok
}

func (l launch) public() Launch {
	return Launch{Queries: l.queries, Keys: l.keys, Threads: l.threads, Shared: l.shared}
}
