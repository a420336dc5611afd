package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/redisstore"
)

// startRedis runs a redis-server that keeps nothing, on this computer, and returns a store in it. Without the
// program there is no store.
func startRedis(ctx context.Context) (store *redisstore.Store, stop func(), err error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		log.Print("redis-server is not installed: store redis is not measured")
		return nil, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "caddy-mcp-auth-bench-redis-")
	if err != nil {
		return nil, nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	address := ln.Addr().(*net.TCPAddr)
	_ = ln.Close()
	cmd := exec.CommandContext(ctx, program, "--bind", "127.0.0.1", "--port", fmt.Sprint(address.Port), "--dir", dir, "--save", "", "--appendonly", "no")
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	store, err = redisstore.New(redisstore.Options{Addresses: []string{address.String()}})
	stop = func() {
		if store != nil {
			_ = store.Close()
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	}
	if err == nil {
		err = awaitRedis(ctx, store)
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return store, stop, nil
}

func awaitRedis(ctx context.Context, store *redisstore.Store) error {
	for range 100 {
		if _, err := store.List(ctx, ""); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return errors.New("redis-server does not answer")
}
