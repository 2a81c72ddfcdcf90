package main

import (
	"context"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
)

// runRanks calls f on n ranks and returns when all have ended, with the first cause if one failed. They are goroutines of this process.
func runRanks(ctx context.Context, n int, opts dist.Options, f func(context.Context, *dist.Comm) error) error {
	return local.Run(ctx, n, opts, f)
}

// ranksPlace tells where n such ranks are: what carries their messages, on how many hosts, and how many are in this process.
func ranksPlace(n int) (engine string, hosts, here int) { return "local", 1, n }
