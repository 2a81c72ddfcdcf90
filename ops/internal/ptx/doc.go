// Package ptx runs PTX, the text that a CUDA compiler makes of kernels, on the CPU: it interprets the shipped kernels
// in go test, where there is no GPU, and looks for mistakes that a GPU would hide.
package ptx
