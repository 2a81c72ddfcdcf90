// Package stub is a stand-in for NCCL and the CUDA driver, for tests on machines without GPUs: one library in C, built by the test, that
// has the functions of both that package nccl uses, by their names and layouts.
//
// Its eight devices are host memory at addresses that the host cannot use, and its ranks are threads of one process. Streams run
// one piece of work at a time, in a random legal order, when somebody asks how far they are. What the real ones punish is written down
// and given by Reset: messages of another size, calls in a thread that has no device or another one, a communicator that is used after its
// abort or before it is ready, work put into a stream before the message ahead of it is there, memory that is not the device's or not
// page-locked, a unique id that was changed on its way. A send that nobody receives hangs until it is aborted.
//
// Without the tag ringcuda the package is empty.
package stub
