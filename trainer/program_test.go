package trainer

// programVariable names what a test's child process does; see runProgram.
const programVariable = "RINGGRAD_TRAINER_PROGRAM"
func runProgram(string) {}
