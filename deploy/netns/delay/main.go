//go:build linux

// Command delay carries Ethernet frames between two TAP devices and holds each back for a while, as netem would in a kernel that has it.
//
//	usage: delay DEVICE DEVICE DURATION
package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// frameBytes is the longest frame: the kernel cuts what is longer before it reaches a TAP device without offloads.
const frameBytes = 1 << 16

// queue is how many frames are under way in one direction at most: 100 ms at 1 Gbit/s. More are dropped, as a switch would.
const queue = 1 << 13

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "delay:", err)
		os.Exit(2)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%d arguments, usage: delay DEVICE DEVICE DURATION", len(args))
	}
	wait, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	var taps [2]tap
	for i := range taps {
		if taps[i], err = open(args[i]); err != nil {
			return err
		}
	}
	failed := make(chan error, 2)
	go func() { failed <- carry(taps[0], taps[1], wait) }()
	go func() { failed <- carry(taps[1], taps[0], wait) }()
	return <-failed
}

// tap is the descriptor of a TAP device; a read or a write is one frame.
type tap int

func open(name string) (tap, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("/dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("device %s: %w", name, err)
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return 0, fmt.Errorf("device %s: %w", name, err)
	}
	return tap(fd), nil
}

func (t tap) Read(b []byte) (int, error)  { return unix.Read(int(t), b) }
func (t tap) Write(b []byte) (int, error) { return unix.Write(int(t), b) }
