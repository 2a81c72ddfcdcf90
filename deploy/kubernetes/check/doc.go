// Package check proves that the MPI Operator accepts the manifest beside it, and what its controller makes of it. It is a module of its
// own, so that Kubernetes' modules stay out of the main one.
package check
