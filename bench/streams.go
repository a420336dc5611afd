package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// crowd is many open streams through one edge.
type crowd struct {
	cancel context.CancelFunc
	opened time.Duration
	done   sync.WaitGroup

	received atomic.Int64
	lost     atomic.Int64 // ended before the crowd was closed
	mu       sync.Mutex
	delays   sample // of events, in milliseconds
}

// openCrowd opens n streams and waits until all are there.
func openCrowd(ctx context.Context, e *edge, n int, token string) (*crowd, error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &crowd{cancel: cancel}
	transport := &http.Transport{MaxIdleConnsPerHost: 256, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: strings.HasPrefix(e.origin, "https")}
	client := &http.Client{Transport: transport}
	began := time.Now()
	gate := make(chan struct{}, 64)
	ready := make(chan error, n)
	for range n {
		c.done.Go(func() {
			gate <- struct{}{}
			body, err := openStream(ctx, client, e, token)
			<-gate
			ready <- err
			if err != nil {
				return
			}
			defer body.Body.Close()
			c.read(ctx, body)
		})
	}
	for range n {
		if err := <-ready; err != nil {
			cancel()
			c.done.Wait()
			return nil, fmt.Errorf("opening a stream: %w", err)
		}
	}
	c.opened = time.Since(began)
	return c, nil
}

func openStream(ctx context.Context, client *http.Client, e *edge, token string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.origin+"/mcp", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "text/event-stream")
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, errors.New(response.Status)
	}
	return response, nil
}

func (c *crowd) read(ctx context.Context, response *http.Response) {
	reader := bufio.NewReaderSize(response.Body, 512)
	for {
		line, err := reader.ReadSlice('\n')
		arrived := time.Now()
		if errors.Is(err, bufio.ErrBufferFull) {
			// The beginning of a long event says when it was sent; the rest is only counted as done.
			head := string(line)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = reader.ReadSlice('\n')
			}
			arrived, line = time.Now(), []byte(head)
		}
		if err != nil {
			if ctx.Err() == nil {
				c.lost.Add(1)
			}
			return
		}
		if sent, ok := strings.CutPrefix(string(line), "data: "); ok {
			sent, _, _ = strings.Cut(sent, " ")
			if nanos, err := strconv.ParseInt(strings.TrimSpace(sent), 10, 64); err == nil {
				c.received.Add(1)
				c.mu.Lock()
				c.delays = append(c.delays, float64(arrived.UnixNano()-nanos)/1e6)
				c.mu.Unlock()
			}
		}
	}
}

func (c *crowd) close() {
	c.cancel()
	c.done.Wait()
}

// await waits until n events have arrived in all.
func (c *crowd) await(n int64, most time.Duration) bool {
	for deadline := time.Now().Add(most); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if c.received.Load() >= n {
			return true
		}
	}
	return c.received.Load() >= n
}

// streamCost is what a crowd costs an edge.
type streamCost struct {
	memory       float64 // KiB per stream
	opens        float64 // per second
	p50, p99     float64 // event delay, ms
	perMillion   float64 // CPU seconds per million events
	leftUpstream int     // streams, 5 s after all clients are gone
}

func measureStreams(ctx context.Context, s *settings, e *edge, u *upstream, n, events, size int, token string) (streamCost, error) {
	var cost streamCost
	before, err := e.rss()
	if err != nil {
		return cost, err
	}
	c, err := openCrowd(ctx, e, n, token)
	if err != nil {
		return cost, err
	}
	defer c.close()
	time.Sleep(2 * time.Second)
	after, err := e.rss()
	if err != nil {
		return cost, err
	}
	cost.memory = float64(after-before) / 1024 / float64(n)
	cost.opens = float64(n) / c.opened.Seconds()
	cpu, err := e.cpu()
	if err != nil {
		return cost, err
	}
	for i := range events {
		if err := u.broadcast(size); err != nil {
			return cost, err
		}
		if !c.await(int64((i+1)*n), time.Minute) {
			return cost, fmt.Errorf("%d of %d events arrived", c.received.Load(), (i+1)*n)
		}
	}
	spent, err := e.cpu()
	if err != nil {
		return cost, err
	}
	c.mu.Lock()
	cost.p50, cost.p99 = c.delays.quantile(0.5), c.delays.quantile(0.99)
	c.mu.Unlock()
	cost.perMillion = (spent - cpu).Seconds() / float64(events*n) * 1e6
	c.close()
	time.Sleep(5 * time.Second)
	cost.leftUpstream, err = u.open()
	return cost, err
}
