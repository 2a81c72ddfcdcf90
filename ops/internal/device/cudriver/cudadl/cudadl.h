// What the Go side of package cudadl sees of the shim.
#ifndef RINGGRAD_CUDADL_H
#define RINGGRAD_CUDADL_H

#include <string.h>

#include "include/cuda.h"

struct cudadl_state {
	const char *name; // of the library that was opened, or tried
	const char *error;   // why it could not be opened; NULL if it was
	CUresult init;       // what its cuInit returned
};
extern struct cudadl_state cudadl;

#endif
