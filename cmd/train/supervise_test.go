package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// crashing COMMAND...: runs a training, but the first time only to its checkpoint of step 3, and is killed there. A command without
// an output_dir is not run at all.
func crashing() {
	args := os.Args[1:]
	folder := ""
	for _, arg := range args {
		if dir, ok := strings.CutPrefix(arg, "output_dir="); ok {
			folder = dir
		}
	}
	if folder == "" {
		die()
	}
	_, err := os.Stat(filepath.Join(folder, "checkpoint-3"))
	first := err != nil
	if first {
		args = append(args, "--set", "max_steps=3")
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if first {
		die()
	}
}

// die ends this process as kill -9 does.
func die() {
	fmt.Fprintln(os.Stderr, "the end is near")
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {}
}

// asked HOST: a probe that only the host sick does not answer.
func asked() {
	if os.Args[1] == "sick" {
		fmt.Fprintln(os.Stderr, "no route to it")
		os.Exit(255)
	}
}
