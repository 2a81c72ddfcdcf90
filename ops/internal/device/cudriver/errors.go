//go:build ringcuda && cgo

package cudriver

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/cudriver/cudadl"
)

// fatal are the errors after which a context does nothing any more.
var fatal = map[cudadl.Result]bool{
	214: true, // ECC uncorrectable
	220: true, // NVLink uncorrectable
	226: true, // contained
	700: true, // illegal address
	702: true, // launch timeout
	709: true, // context is destroyed
	710: true, // assert
	714: true, // hardware stack error
	715: true, // illegal instruction
	716: true, // misaligned address
	717: true, // invalid address space
	718: true, // invalid pc
	719: true, // launch failed
	721: true, // tensor memory leak
	999: true, // unknown
}

// named turns an error of package cu, whose type is not exported and whose names are its own, into one with the driver's name.
func named(err error) error {
	var known cudadl.Result
	if err == nil || errors.As(err, &known) {
		return err
	}
	if v := reflect.ValueOf(err); v.CanInt() {
		return cudadl.Result(v.Int())
	}
	return err
}

// check wraps an error of the driver, and notes if it ends the device.
func (d *Device) check(what string, err error) error {
	if err == nil {
		return nil
	}
	err = named(err)
	var number cudadl.Result
	if !errors.As(err, &number) || !fatal[number] {
		return fmt.Errorf("cudriver: %s: %s: %w", d.name, what, err)
	}
	lost := fmt.Errorf("cudriver: %s: %w: %s: %w", d.name, device.ErrLost, what, err)
	d.lost.CompareAndSwap(nil, &lost)
	return lost
}

// outOfMemory tells whether an error of the driver says so.
func outOfMemory(err error) bool {
	number, ok := named(err).(cudadl.Result) //nolint:errorlint // straight from the driver
	return ok && number == cudadl.OutOfMemory
}
